"""A real S3 server on 127.0.0.1 (moto's, a process of its own), and a way to it that loses answers."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import obstore
from obstore.store import S3Store

from pipelines.load.stores import Remote
from tests.processes import eventually

KEY, SECRET = "AKIAEXAMPLEKEY7", "wJalrSesameOpen/7341EXAMPLE"
_DOCUMENT = re.compile(rb"^PUT \S*/log/\d{12}\.json")
_REQUEST = re.compile(rb"^(GET|HEAD|PUT|POST|DELETE) /")


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own for a test."""

    name: str
    endpoint: str

    @property
    def url(self) -> str:
        """What the setting `lake` says."""
        return f"s3://{self.name}/team/lake"

    @property
    def env(self) -> dict[str, str]:
        """The variables that lead there."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "eu-south-2",
        }

    @property
    def remote(self) -> Remote:
        """The same for a `Lake`."""
        return Remote(self.url, self.env)

    @property
    def settings(self) -> dict[str, str]:
        """The same for a process."""
        return {"THREADMILL_LAKE": self.url, **self.env}

    def keys(self, part: str = "") -> list[str]:
        """The objects that are there, below the lake, whose name holds *part*."""
        found = [one["path"] for some in obstore.list(self.client()) for one in some]
        return sorted(path for path in found if part in path)

    def client(self) -> S3Store:
        """Straight into the lake's prefix."""
        return S3Store(
            self.name,
            prefix="team/lake",
            config={
                "endpoint": self.endpoint,
                "access_key_id": KEY,
                "secret_access_key": SECRET,
                "region": "us-east-1",
            },
            client_options={"allow_http": True},
        )

    def behind(self, way: Way) -> Bucket:
        """The same bucket, reached by *way*."""
        return replace(self, endpoint=way.endpoint)


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a running server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: _answers(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def new_bucket(endpoint: str) -> Bucket:
    """An empty bucket."""
    bucket = Bucket(f"b-{uuid.uuid4().hex[:12]}", endpoint)
    sign = f"AWS4-HMAC-SHA256 Credential={KEY}/20240101/us-east-1/s3/aws4_request"
    request = urllib.request.Request(f"{endpoint}/{bucket.name}", method="PUT", headers={"Authorization": sign})
    with urllib.request.urlopen(request) as answer:
        answer.read()
    return bucket


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@dataclass
class Way:
    """Passes requests on to *server*; what happens to some of them, a test says.

    When as many `requests` came as `at` says, `event` happens: before the last one reaches
    the server, or with `passes` just after. Of those that put a commit's document, `lose` so
    many answers, and with `breaks` everything after the first; `hold` them until it is told
    otherwise, `held` tells how many wait, `forget` lets them never arrive. `careless` hides
    from the server that objects must not be overwritten.
    """

    server: str
    lose: int = 0
    lost: int = 0
    breaks: bool = False
    careless: bool = False
    hold: threading.Event = field(default_factory=threading.Event)
    held: int = 0
    forget: bool = False
    endpoint: str = ""
    at: int = 0
    event: Callable[[], None] = lambda: None
    passes: bool = False
    requests: int = 0
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.hold.set()

    def serve(self, listener: socket.socket) -> None:
        """Accept until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        host, _, port = self.server.rpartition("/")[2].partition(":")
        loses = threading.Event()
        if self.breaks and self.lost:
            client.close()
            return
        with suppress(OSError), client, socket.create_connection((host, int(port))) as server:
            threading.Thread(target=self._requests, args=(client, server, loses), daemon=True).start()
            while data := server.recv(65536):
                if loses.is_set():
                    self.lost += 1
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)

    def _requests(self, client: socket.socket, server: socket.socket, loses: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if _REQUEST.match(data) and self._is_the_last():
                    if self.passes:
                        server.sendall(data)
                    self.event()
                    return
                if _DOCUMENT.match(data):
                    if not self.hold.is_set():
                        with self._counting:
                            self.held += 1
                        self.hold.wait(60)
                        if self.forget:
                            return
                    if self.lose > self.lost:
                        loses.set()
                if self.careless:
                    data = data.replace(b"if-none-match:", b"if-none-there:")
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _is_the_last(self) -> bool:
        with self._counting:
            self.requests += 1
            return self.requests == self.at


@contextmanager
def way_to(server: str) -> Iterator[Way]:
    """A running way to *server*."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way = Way(server, endpoint=f"http://127.0.0.1:{listener.getsockname()[1]}")
        threading.Thread(target=way.serve, args=(listener,), daemon=True).start()
        try:
            yield way
        finally:
            way.hold.set()
            listener.shutdown(socket.SHUT_RDWR)
