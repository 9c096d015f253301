"""Reading one answer's body: whole, in time, and no larger than allowed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import brotli  # type: ignore[import-untyped]  # it has no stubs
from backports import zstd
from isal import isal_zlib

from pipelines.errors import BodyTooLarge, DecodeError, Timeout, Truncated

if TYPE_CHECKING:
    from urllib3 import HTTPResponse

_PIECE = 1 << 18
_MAX_CODINGS = 2
_ISAL_ERROR: Any = isal_zlib.error  # its stub takes the class for an instance
_TOO_LARGE = "raise `max_response`, or ask for smaller pages"


class _Member(NamedTuple):
    """What one compressed member held, what follows it, and whether its end was seen."""

    inflated: bytes
    rest: bytes
    is_whole: bool


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
    unknown = [name[:20] for name in names if name not in _MEMBERS]
    if unknown:
        raise DecodeError(
            f"the answer has the unknown Content-Encoding {unknown[0]!r}", f"known: {', '.join(_MEMBERS)}"
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
    size = 0
    while data:
        try:
            member = _MEMBERS[name](data, cap + 1 - size)
        except (_ISAL_ERROR, zlib.error, brotli.error, zstd.ZstdError) as error:
            raise DecodeError(f"the answer is not valid {name}: {error}", "the server sent damaged data") from None
        pieces.append(member.inflated)
        size += len(member.inflated)
        if size > cap:
            raise BodyTooLarge(f"the answer inflates to more than {cap:,} bytes", _TOO_LARGE)
        if not member.is_whole:
            raise Truncated(f"the {name} stream ended in the middle", "the connection was cut; run again")
        data = member.rest
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _gzip(data: bytes, room: int) -> _Member:
    stream = isal_zlib.decompressobj(31)  # half the time of zlib's; what it lets pass, the checksum of gzip does not
    return _Member(stream.decompress(data, room), stream.unused_data, stream.eof)


def _deflate(data: bytes, room: int) -> _Member:
    # RFC 9110 means zlib's format; some servers send the bare stream
    stream = zlib.decompressobj(15 if data[0] & 0x0F == 8 and data[:2] and int.from_bytes(data[:2]) % 31 == 0 else -15)
    return _Member(stream.decompress(data, room), stream.unused_data, stream.eof)


def _brotli(data: bytes, room: int) -> _Member:
    stream = brotli.Decompressor()
    return _Member(stream.process(data, output_buffer_limit=room), b"", stream.is_finished())


def _zstd(data: bytes, room: int) -> _Member:
    stream = zstd.ZstdDecompressor()
    return _Member(stream.decompress(data, max_length=room), stream.unused_data, stream.eof)


_MEMBERS = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "br": _brotli, "zstd": _zstd}
