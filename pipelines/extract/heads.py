"""The head of an answer, read without Python's e-mail package where it is as plain as nearly all are.

`http.client` reads headers as it would read those of a mail: 0.1 to 0.25 ms a
page, a tenth of what a page costs. Here a line `name: value` is taken for what it
is. A head with anything else in it, such as a folded line, goes to the e-mail
package as ever; all that follows from headers is decided by `http.client`.
"""

from __future__ import annotations

import http.client
import io
import re
from types import FunctionType
from typing import Any, BinaryIO, NamedTuple

_PLAIN = re.compile(rb"HTTP/1\.1 200(?: [^\r\n]*)?\r\n((?:[!#-'*+.0-9A-Z^_`a-z|~-]+:[^\r\n]*\r\n)+)\r\n")
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)
_LINE = re.compile(rb"([!#-'*+.0-9A-Z^_`a-z|~-]+):[ \t]*([^\r\n]*)\r?\n")
_ENDS = (b"\r\n", b"\n", b"")
_LONGEST_LINE, _MOST_LINES = 65_536, 100  # as http.client has them


class PlainHead(NamedTuple):
    """The headers of an answer by their names in lower case, and how many bytes its head has."""

    headers: dict[str, str]
    size: int


def plain_head(start: bytes) -> PlainHead | None:
    """The head that *start* begins with, where all of it is there and it leaves nothing to decide.

    That is: success, each header once, the body's length known, and the connection stays open.
    """
    match = _PLAIN.match(start)
    if match is None:
        return None
    lines = match[1].decode("iso-8859-1").split("\r\n")[:-1]
    named = (line.partition(":") for line in lines)
    headers = {name.lower(): value.lstrip(" \t") for name, _, value in named}
    is_plain = (
        len(headers) == len(lines) < _MOST_LINES
        and "transfer-encoding" not in headers
        and headers.get("connection", "keep-alive").lower() == "keep-alive"
        and _LENGTH.fullmatch(headers.get("content-length", ""))
    )
    return PlainHead(headers, match.end()) if is_plain else None


def read_head(file: BinaryIO, *args: Any, **named: Any) -> http.client.HTTPMessage:
    """What `http.client.parse_headers` gives for the lines up to an empty one.

    Raises:
        http.client.HTTPException: There are too many lines, or one is too long.
    """
    lines = _lines(file)
    found = [_LINE.fullmatch(line) for line in lines[:-1]]
    if not all(found):
        whole: http.client.HTTPMessage = http.client.parse_headers(io.BytesIO(b"".join(lines)), *args, **named)
        # urllib3 logs what that package found odd, and the whole URL with it
        whole.defects.clear()
        whole.set_payload("")
        return whole
    message = http.client.HTTPMessage()
    for line in filter(None, found):
        message[line[1].decode("ascii")] = line[2].decode("iso-8859-1")
    return message


def _lines(file: BinaryIO) -> list[bytes]:
    lines: list[bytes] = []
    while True:
        line = file.readline(_LONGEST_LINE + 1)
        if len(line) > _LONGEST_LINE:
            raise http.client.LineTooLong("header line")
        lines.append(line)
        if len(lines) > _MOST_LINES:
            raise http.client.HTTPException(f"got more than {_MOST_LINES} headers")
        if line in _ENDS:
            return lines


class Answer(http.client.HTTPResponse):
    """Python's own response; its head is read by `read_head`, and interim answers are passed over, as RFC 9110 wants.

    Python itself knows 100 alone: it takes another, such as 103, for the answer, and what follows for that of the next
    request.
    """

    # the method as it is, where one of the names that it looks up is ours
    begin = FunctionType(
        http.client.HTTPResponse.begin.__code__, {**vars(http.client), "parse_headers": read_head}, "begin"
    )

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # its stub leaves out what is private
            if not 101 < status < 200:
                return version, status, reason
            _lines(self.fp)
