"""Reading one answer: whole, in time, and no larger than allowed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import brotli  # type: ignore[import-untyped]  # it has no stubs
from backports import zstd
from isal import isal_zlib
from msgspec import Struct

from pipelines.errors import BodyTooLarge, DecodeError, Timeout, Truncated
from pipelines.extract.wire import received

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

_PIECE = 1 << 18
_SUCCESS, _MORE = 200, 300
_MAX_CODINGS = 2
_MOST_MEMBERS = 10_000
_ISAL_ERROR: Any = isal_zlib.error  # its stub takes the class for an instance
_NO_FRAME = "run again; a server that says how long its answers are (Content-Length, chunks) leaves no doubt"
_TOO_LARGE = "raise `max_response`, or ask for smaller pages"


class Answer(Struct, frozen=True):
    """One that is complete, its body with all encodings undone; `headers` by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    wire_bytes: int


class _Member(NamedTuple):
    """What one compressed member held, how many bytes it is, and whether its end was seen."""

    inflated: bytes
    size: int
    is_whole: bool


def whole(raw: HTTPResponse, *, cap: int, deadline: float, needs_frame: bool) -> Answer:
    """All of the answer that begins with *raw*; on any failure its connection is closed, not reused.

    One that *needs_frame* may have been cut where only the end of its connection ends it, as may an empty one.

    Raises:
        BodyTooLarge: It is larger than *cap*.
        DecodeError: It is not encoded as it says.
        Timeout: It is not complete at *deadline*.
        Truncated: It ended too early, or may have.
    """
    try:
        headers = received(raw.headers)
        names = codings(headers.get("content-encoding", ""))
        wire = read(raw, cap=cap, deadline=deadline)
        is_framed = raw.length_remaining is not None or raw.chunked
        if raw.status < _MORE and not is_framed and (not wire.strip() or (needs_frame and not names)):
            what = "an answer of lines" if wire else "an empty answer"
            raise Truncated(f"{what} without length may have been cut", _NO_FRAME)
        inflated = inflate(wire, names, cap)
        if raw.status < _SUCCESS:
            raw.close()  # the answer proper may follow, and nobody shall take it for that of another request
        else:
            raw.release_conn()
        return Answer(raw.status, headers, inflated, len(wire))
    except BaseException:
        raw.close()
        raise


def read(raw: HTTPResponse, *, cap: int, deadline: float, clock: Callable[[], float] = time.monotonic) -> bytes:
    """The body as it came over the wire; what ends too early raises urllib3's errors.

    Raises:
        BodyTooLarge: It is, or will be, larger than *cap*.
        Timeout: It is not complete at *deadline*, on *clock*.
    """
    expected = raw.length_remaining
    if expected is not None and expected > cap:
        raise BodyTooLarge(f"the answer has {expected:,} bytes, more than {cap:,}", _TOO_LARGE)
    if expected is not None:
        # one read into one buffer, half the cost of pieces; the watch keeps the deadline
        whole = raw.read(expected, decode_content=False) if expected else b""
        if len(whole) < expected:
            raise Truncated(f"the answer ended after {len(whole):,} of {expected:,} bytes", "run again")
        return whole
    pieces: list[bytes] = []
    size = 0
    while piece := raw.read1(_PIECE, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if size > cap:
            raise BodyTooLarge(f"the answer has more than {cap:,} bytes", _TOO_LARGE)
        if clock() > deadline:
            break
    if clock() > deadline:  # where no length is told, it also seems to end when the watch lets go of its socket
        raise Timeout("the answer was not complete in time", "raise `timeout: {total: ...}`")
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def codings(header: str) -> list[str]:
    """The Content-Encodings that *header* names, in the order they were applied.

    Raises:
        DecodeError: One is unknown, or there are too many.
    """
    names = [name for name in header.lower().replace(" ", "").split(",") if name not in ("", "identity")]
    if len(names) > _MAX_CODINGS:
        raise DecodeError(f"the answer is encoded {len(names)} times over", "at most two encodings are undone")
    unknown = [name[:20] for name in names if name not in _STREAMS]
    if unknown:
        raise DecodeError(
            f"the answer has the unknown Content-Encoding {unknown[0]!r}", f"known: {', '.join(_STREAMS)}"
        )
    return names


def inflate(wire: bytes, names: Sequence[str], cap: int) -> bytes:
    """*wire* with its encodings undone, each of which must reach its end.

    Raises:
        DecodeError: The bytes are not what the encoding says.
        Truncated: A compressed stream ended in the middle.
        BodyTooLarge: It inflates to more than *cap*.
    """
    for name in reversed(names):
        wire = _undo(name, wire, cap) if wire else wire
    return wire


def _undo(name: str, data: bytes, cap: int) -> bytes:
    pieces: list[bytes] = []
    size, rest = 0, memoryview(data)
    while rest:
        if len(pieces) == _MOST_MEMBERS:
            raise DecodeError(f"the answer is over {_MOST_MEMBERS:,} {name} streams in a row", "look at the answer")
        try:
            # what follows a member is copied for it: no more than a piece, once it is seen that there are several
            step = _PIECE if pieces else len(rest)
            member = _member(_STREAMS[name](rest), rest, room=cap + 1 - size, step=step)
        except (_ISAL_ERROR, zlib.error, brotli.error, zstd.ZstdError) as error:
            raise DecodeError(f"the answer is not valid {name}: {error}", "the server sent damaged data") from None
        pieces.append(member.inflated)
        size += len(member.inflated)
        if size > cap:
            raise BodyTooLarge(f"the answer inflates to more than {cap:,} bytes", _TOO_LARGE)
        if not member.is_whole:
            raise Truncated(f"the {name} stream ended in the middle", "the connection was cut; run again")
        rest = rest[member.size :]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _member(stream: Any, data: memoryview, *, room: int, step: int) -> _Member:
    """The member that *data* begins with, up to *room* bytes of what it holds, taken in *step* bytes at a time."""
    pieces: list[bytes] = []
    taken = 0
    while taken < len(data) and room > 0 and not stream.eof:
        piece = data[taken : taken + step]
        pieces.append(stream.decompress(piece, room))
        room -= len(pieces[-1])
        taken += len(piece)
    inflated = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return _Member(inflated, taken - len(stream.unused_data), stream.eof)


def _gzip(data: memoryview) -> Any:
    return isal_zlib.decompressobj(31)  # half the time of zlib's; what it lets pass, the checksum of gzip does not


def _deflate(data: memoryview) -> Any:
    # RFC 9110 means zlib's format; some servers send the bare stream
    return zlib.decompressobj(15 if data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0 else -15)


def _zstd(data: memoryview) -> Any:
    return zstd.ZstdDecompressor()


class _Brotli:
    """A brotli stream with the names that the others have; nothing follows it."""

    unused_data = b""

    def __init__(self, data: memoryview) -> None:
        self._stream = brotli.Decompressor()

    @property
    def eof(self) -> bool:
        """Whether the end was seen."""
        return bool(self._stream.is_finished())

    def decompress(self, data: memoryview, room: int) -> bytes:
        """Up to *room* bytes of what *data* holds."""
        return bytes(self._stream.process(data, output_buffer_limit=room))


_STREAMS: dict[str, Callable[[memoryview], Any]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _Brotli,
    "zstd": _zstd,
}
