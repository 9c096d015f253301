"""An HTTP API on 127.0.0.1 that does as it is told: pages, or faults byte by byte.

Every answer is written to a raw socket, so that a test can cut it anywhere.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Json = Any


@dataclass(frozen=True)
class Asked:
    """One request as the API saw it; header names in lower case."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes
    at: float
    query: str = ""
    """As it came, with parameters that were given twice."""


@dataclass(frozen=True)
class Answer:
    """What to send, and how to get it wrong.

    A header of several values is sent on as many lines. `cut` sends only so many bytes
    of what follows the headers, then closes; `drip_s` waits after each byte; `reset`
    ends the connection with a RST.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    framing: str = "length"
    cut: int | None = None
    delay_s: float = 0.0
    drip_s: float = 0.0
    drip_from: str = "body"
    reset: bool = False
    endless: bytes = b""

    def wire(self) -> tuple[bytes, bytes]:
        """The head and the body as they go over the wire."""
        head: dict[str, str | tuple[str, ...]] = {"Content-Type": "application/json", **self.headers}
        body = self.body
        if self.framing == "length":
            head.setdefault("Content-Length", str(len(body)))
        elif self.framing == "chunked":
            head["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        else:
            head["Connection"] = "close"
        lines = "".join(
            f"{name}: {value}\r\n"
            for name, values in head.items()
            for value in ((values,) if isinstance(values, str) else values)
        )
        return f"HTTP/1.1 {self.status} Scripted\r\n{lines}\r\n".encode(), body


def say(document: Json, status: int = 200, **more: Any) -> Answer:
    """An answer with *document* as its JSON body."""
    return Answer(status, json.dumps(document).encode(), **more)


Route = Callable[[Asked], Answer]


class FakeApi:
    """Routes by path; `calls` counts requests by path, `asked` keeps them all."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._server = socket.create_server((host, 0), backlog=128)
        self.port = self._server.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        self.calls: Counter[str] = Counter()
        self.asked: list[Asked] = []
        self.connections = 0
        self.running = self.most_running = 0
        self._routes: dict[str, Route] = {}
        self._elsewhere: Route = _unknown
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._gone = threading.Event()
        threading.Thread(target=self._accept, name="fake-api", daemon=True).start()

    def route(self, path: str, route: Route) -> None:
        """Let *route* answer requests for *path*."""
        self._routes[path] = route

    def routed(self, path: str) -> Route:
        """What answers requests for *path*, to put something around it."""
        return self._routes[path]

    def route_all(self, route: Route) -> None:
        """Let *route* answer every path that has no route of its own."""
        self._elsewhere = route

    def answer(self, path: str, *answers: Answer) -> None:
        """Answer requests for *path* by *answers* in turn; the last one stays."""
        waiting = list(answers)
        self.route(path, lambda asked: waiting.pop(0) if len(waiting) > 1 else waiting[0])

    def pages(self, path: str, *, records: int | Sequence[Json], page_size: int = 10, style: str = "next_url") -> None:
        """Serve *records* in pages: `next_url`, `link_header`, `page_number` or `offset`; with a total."""
        rows = (
            [{"id": number, "name": f"row {number}"} for number in range(records)]
            if isinstance(records, int)
            else records
        )

        def page(asked: Asked) -> Answer:
            if style == "offset":
                start = int(asked.params.get("offset", 0))
            else:
                start = (int(asked.params.get("page", 1)) - 1) * page_size
            part = list(rows[start : start + page_size])
            document: dict[str, Json] = {"data": part, "total": len(rows), "pages": -(-len(rows) // page_size)}
            headers = {}
            if start + page_size < len(rows):
                following = f"{self.url}{path}?page={start // page_size + 2}"
                document["next"] = following if style == "next_url" else None
                headers = {"Link": f'<{following}>; rel="next"'} if style == "link_header" else {}
            return say(document, headers=headers)

        self.route(path, page)

    def times(self, path: str) -> list[float]:
        """When requests for *path* came, on the monotonic clock."""
        return [asked.at for asked in self.asked if asked.path == path]

    @property
    def connected(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._sockets)

    def close(self) -> None:
        """Stop answering and cut all connections."""
        self._gone.set()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for connection in self._sockets:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._gone.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._sockets.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
            while (asked := _read(stream)) is not None:
                with self._lock:
                    self.calls[asked.path] += 1
                    self.asked.append(asked)
                    self.running += 1
                    self.most_running = max(self.most_running, self.running)
                try:
                    answer = self._routes.get(asked.path, self._elsewhere)(asked)
                    self._gone.wait(answer.delay_s)
                finally:
                    with self._lock:
                        self.running -= 1
                if not self._send(connection, answer):
                    break
        with self._lock:
            self._sockets.discard(connection)

    def _send(self, connection: socket.socket, answer: Answer) -> bool:
        """Send *answer*; whether the connection may be used again."""
        if answer.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if answer.reset and answer.cut is None:
            return False
        head, body = answer.wire()
        if answer.drip_s and answer.drip_from == "head":
            return self._drip(connection, head, answer.drip_s)
        connection.sendall(head)
        if answer.drip_s:
            return self._drip(connection, body, answer.drip_s)
        if answer.cut is not None:
            connection.sendall(body[: answer.cut])
            return False
        connection.sendall(body)
        while answer.endless and not self._gone.is_set():
            connection.sendall(answer.endless)
        return answer.framing != "close"

    def _drip(self, connection: socket.socket, data: bytes, pause_s: float) -> bool:
        for byte in data:
            connection.sendall(bytes([byte]))
            if self._gone.wait(pause_s):
                break
        return False


def _unknown(asked: Asked) -> Answer:
    return say({"message": f"nothing at {asked.path}"}, 404)


@contextmanager
def fake_api(host: str = "127.0.0.1") -> Iterator[FakeApi]:
    """A fake API that is gone after the block."""
    api = FakeApi(host)
    try:
        yield api
    finally:
        api.close()


def _read(stream: Any) -> Asked | None:
    """The next request on a connection; None at its end."""
    line = stream.readline()
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while (header := stream.readline().strip()) != b"":
        name, _, value = header.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    params = dict(parse_qsl(url.query, keep_blank_values=True))
    return Asked(method, url.path, params, headers, body, time.monotonic(), url.query)
