"""Who the server is, is always verified; there is no switch against it."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pipelines.extract.client import Client
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.request import Request
from tests.extract.conftest import Shop


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A fresh certificate for 127.0.0.1 that nobody but itself vouches for, its key in the same file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    both = tmp_path / "server.pem"
    both.write_bytes(
        made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
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
                        body = b'{"data": [{"id": 1}]}'
                        leads_away = b"302 Found\r\nLocation: http://127.0.0.1:1/orders"
                        while asked := secure.recv(65536):
                            status = leads_away if asked.startswith(b"GET /plain ") else b"200 OK"
                            secure.sendall(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

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


@pytest.mark.parametrize("content", [b"hello", b"-----BEGIN CERTIFICATE-----\nMIIx\n-----END CERTIFICATE-----\n"])
def test_t21_a_bundle_that_holds_no_certificates_is_told_at_once(
    shop: Shop, secure_url: str, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "bundle.pem").write_bytes(content)
    shop.settings = {"base_url": secure_url, "ca_bundle": str(tmp_path / "bundle.pem")}

    error = shop.one().error("orders")

    assert (error.kind, "`ca_bundle`" in error.hint) == ("TlsError", True)


def test_t21_a_tls_connection_that_breaks_is_asked_again_and_lays_nothing_on_the_certificate(shop: Shop) -> None:
    """The server closes each connection in the middle of the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        met = []

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    met.append(connection.recv(100))
                    connection.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        shop.settings = {"base_url": f"https://127.0.0.1:{server.getsockname()[1]}"}

        error = shop.one().error("orders")
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)

    assert (error.kind, len(met)) == ("HttpError", 3)
    assert "certificate" not in str(error)


def test_a02_no_redirect_leads_from_https_to_http_not_even_where_links_may_lead(
    shop: Shop, secure_url: str, certificate: Path
) -> None:
    shop.settings = {"base_url": secure_url, "ca_bundle": str(certificate), "allow_hosts": ["http://127.0.0.1:1"]}

    error = shop.one(path="/plain").error("orders")

    assert (error.kind, "from HTTPS to HTTP" in error.message) == ("RedirectRefused", True)


def test_pages_over_tls_come_by_one_connection_whose_head_is_repeated(
    shop: Shop, secure_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.settings = {"base_url": secure_url, "ca_bundle": str(certificate)}
    client = Client(shop.connection())
    first, second = (Request("GET", f"{secure_url}/orders", (("page", number),)) for number in "12")
    try:
        page = client.fetch(first, Endpoint(path="/orders", records="data"))
        monkeypatch.delattr(http.client.HTTPConnection, "putrequest")

        again = client.fetch(second, Endpoint(path="/orders", records="data"))
    finally:
        client.close()

    assert page.body == again.body == b'{"data": [{"id": 1}]}'


def test_t21_authorities_named_in_the_environment_are_not_trusted(
    shop: Shop, secure_url: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(certificate))
    shop.settings = {"base_url": secure_url}

    assert shop.one().error("orders").kind == "TlsError"
