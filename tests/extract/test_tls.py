"""Who the server is, is always verified; there is no switch against it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.extract.conftest import Shop


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A fresh certificate for 127.0.0.1 that nobody but itself vouches for, its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    both = tmp_path / "server.pem"
    key = tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", both],
        check=True,
        capture_output=True,
    )
    both.write_bytes(both.read_bytes() + key.read_bytes())
    return both


@pytest.fixture
def secure_url(certificate: Path) -> Iterator[str]:
    """The URL of an HTTPS server with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(65536)
                        body = b'{"data": [{"id": 1}]}'
                        secure.sendall(
                            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
                        )

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_t21_a_certificate_that_nobody_vouches_for_is_refused(shop: Shop, secure_url: str) -> None:
    shop.settings = {"base_url": secure_url}

    error = shop.one().error("orders")

    assert error.kind == "TlsError"
    assert "ca_bundle" in error.hint


def test_t21_a_certificate_of_the_configured_authority_is_accepted(
    shop: Shop, secure_url: str, certificate: Path
) -> None:
    shop.settings = {"base_url": secure_url, "ca_bundle": str(certificate)}

    assert len(shop.one().rows("orders")) == 1


def test_t21_authorities_named_in_the_environment_are_not_trusted(
    shop: Shop, secure_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(certificate))
    shop.settings = {"base_url": secure_url}

    assert shop.one().error("orders").kind == "TlsError"
