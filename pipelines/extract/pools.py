"""Connections that a `Watch` can see, and that ask for one page after another at little cost.

The pages of an API differ in the first line of their request alone, yet http.client
puts each head together line by line, and urllib3 wraps every answer anew: half of
what a page costs its thread. Here a connection that is kept open writes again what
http.client wrote before, for another target; and a plain answer of a known length
is taken as it is. All else takes the usual way: the first request of a connection,
a body, other headers, a target to be quoted, an answer in chunks or without success.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from http.client import HTTPException
from io import BufferedReader
from typing import Any

from msgspec import Struct
from urllib3 import HTTPConnectionPool, HTTPHeaderDict, HTTPResponse, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ProtocolError

from pipelines.extract.heads import Answer, plain_head
from pipelines.extract.watch import in_use

_CHAR = r"[\w.~!$&'()*+,;=:@/-]|%[0-9A-F]{2}"
_TARGET = re.compile(rf"/(?:{_CHAR})*(?:\?(?:{_CHAR}|\?)*)?", re.ASCII)
"""What urllib3 sends as it is."""
_FOLD = re.compile(r"\r?\n[ \t]+")


class PlainAnswer:
    """An answer whose body of `length_remaining` bytes is yet to be read, with the names that urllib3's has."""

    status = 200
    chunked = False

    def __init__(
        self,
        headers: Mapping[str, str],
        file: BufferedReader,
        *,
        release: Callable[[], None],
        close: Callable[[], None],
    ) -> None:
        self.headers = headers
        self.length_remaining = int(headers["content-length"])
        self._file, self._release, self._close = file, release, close

    def read(self, size: int, *, decode_content: bool) -> bytes:
        """*size* bytes as they came; fewer where the connection ended."""
        return self._file.read(size)

    def release_conn(self) -> None:
        """Keep the connection for the next request; the body has been read."""
        self._file.close()
        self._release()

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._close()


class _Opened(Struct, frozen=True):
    """What http.client takes for a socket: a file that is being read already."""

    file: BufferedReader

    def makefile(self, mode: str) -> BufferedReader:
        return self.file


class _Plain(HTTPConnection):
    """Tells the exchange of its thread which socket is in use, and remembers the head of what it sent last."""

    response_class = Answer
    _headers: Mapping[str, str] | None = None
    _head = b""

    def connect(self) -> None:
        super().connect()
        in_use(self.sock)

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **named: Any) -> None:
        in_use(self.sock)
        self._headers, self._head = None, b""
        super().request(method, url, body, headers, **named)
        if method == "GET" and body is None:
            self._headers = headers

    def send(self, data: Any) -> None:
        self._head = self._head or data
        super().send(data)

    def can_repeat(self, headers: Any) -> bool:
        """Whether the connection is open, and sent *headers* before."""
        return self.sock is not None and self._headers == headers

    def repeat(self, target: str, timeout_s: float | None) -> BufferedReader:
        """Send the head of the last request for *target*; the file is to be read from."""
        in_use(self.sock)
        self.sock.settimeout(timeout_s)
        self.sock.sendall(b"GET %b HTTP/1.1%b" % (target.encode("ascii"), self._head[self._head.index(b"\r\n") :]))
        file: BufferedReader = self.sock.makefile("rb")
        return file


class _Secure(_Plain, HTTPSConnection):
    """The same with TLS."""


class _PlainPool(HTTPConnectionPool):
    """Asks by a connection that can repeat its request, where there is one."""

    ConnectionCls = _Plain

    def urlopen(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> Any:  # type: ignore[override]  # called by requests alone, by name
        """The answer, its head read; its body is not."""
        if method == "GET" and body is None and _TARGET.fullmatch(url):
            connection: Any = self._get_conn()
            if connection.can_repeat(headers):
                return self._repeated(connection, url, options["timeout"])
            self._put_conn(connection)
        return super().urlopen(method, url, body, headers, **options)

    def _repeated(self, connection: Any, url: str, timeout: Timeout) -> PlainAnswer | HTTPResponse:
        file = None
        try:
            file = connection.repeat(url, timeout.read_timeout)
            if head := plain_head(file.peek()):
                file.read(head.size)
                release = partial(self._put_conn, connection)
                return PlainAnswer(head.headers, file, release=release, close=connection.close)
            return self._any_answer(connection, url, file)
        except BaseException as error:
            if file is not None:
                file.close()
            connection.close()
            self._put_conn(None)
            if isinstance(error, OSError | HTTPException):
                raise ProtocolError("Connection aborted.", error) from error
            raise

    def _any_answer(self, connection: Any, url: str, file: BufferedReader) -> HTTPResponse:
        answer = Answer(_Opened(file), method="GET")  # type: ignore[arg-type]  # it asks for no more
        answer.begin()
        response = HTTPResponse(
            answer,
            HTTPHeaderDict((name, _FOLD.sub(" ", value)) for name, value in answer.msg.items()),
            answer.status,
            answer.version,
            reason=answer.reason,
            preload_content=False,
            decode_content=False,
            original_response=answer,
            pool=self,
            connection=connection,
            request_method="GET",
            request_url=url,
        )
        if answer.will_close:
            connection.close()
        return response


class _SecurePool(_PlainPool, HTTPSConnectionPool):
    """The same with TLS."""

    ConnectionCls = _Secure


def use_watched_connections(pools: PoolManager) -> None:
    """Make *pools* open connections that a `Watch` can see."""
    pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
