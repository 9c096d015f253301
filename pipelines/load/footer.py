"""The footer of a Parquet file, read and written field by field: what is needed to move row groups.

A footer is one Thrift struct, `FileMetaData`, in the compact protocol. It is kept here as it
is encoded, field number by field number, so that nothing is lost that this module does not
know; only byte offsets change. Sources: "Apache Parquet: File Format" (parquet.thrift) and
"Thrift compact protocol encoding" of the Apache Software Foundation.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_SHORT = 15
"""More of a list's elements than this, less one, are counted in a number of their own; so are field numbers' steps."""

Fields = dict[int, tuple[int, Any]]
"""A struct: field number > (type, value). A list is (element type, values)."""

# parquet.thrift: numbers of fields
SCHEMA, NUM_ROWS, ROW_GROUPS = 2, 3, 4
_COLUMNS, _GROUP_BYTES, _GROUP_ROWS, _GROUP_OFFSET, _GROUP_PACKED, _ORDINAL = 1, 2, 3, 5, 6, 7
_CHUNK_OFFSET, _CHUNK = 2, 3
_CHUNK_POINTERS = (_CHUNK_OFFSET, 4, 6)
"""Of a column chunk: where it was, its offset index, its column index."""
_PAGE_POINTERS = (9, 10, 11, 14)
"""Of a chunk's metadata: its first data page, index page, dictionary page, Bloom filter."""


class FooterError(ValueError):
    """The bytes are no footer of a Parquet file that is not encrypted."""


def footer_size(tail: bytes) -> int:
    """How many bytes the footer has, by the last eight of the file; they stand right before those.

    Raises:
        FooterError: It is no Parquet file, or its footer is encrypted.
    """
    if len(tail) != _TAIL.size:
        raise FooterError("the file is too short")
    size, magic = _TAIL.unpack(tail)
    if magic != MAGIC:
        raise FooterError(f"it ends with {magic!r}")
    return int(size)


def decode(data: bytes) -> Fields:
    """The struct that *data* holds.

    Raises:
        FooterError: It holds none, or something after it.
    """
    reader = _Reader(data)
    try:
        fields = reader.struct()
    except (IndexError, KeyError, struct.error) as error:
        raise FooterError(f"byte {reader.at}: {error}") from error
    if reader.at != len(data):
        raise FooterError(f"{len(data) - reader.at} bytes are left over")
    return fields


def encode(fields: Fields) -> bytes:
    """The bytes of a struct, with the length and magic that end a file."""
    out = bytearray()
    _put_struct(out, fields)
    return bytes(out) + _TAIL.pack(len(out), MAGIC)


def row_groups(fields: Fields) -> list[Fields]:
    """The row groups of a file, in order."""
    kind, groups = fields[ROW_GROUPS][1]
    if groups and kind != _STRUCT:
        raise FooterError("row groups are no structs")
    return list(groups)


def moved(group: Fields, by: int, ordinal: int) -> Fields:
    """*group* when its bytes stand *by* further, as number *ordinal* of its file."""
    kind, columns = group[_COLUMNS][1]
    moved_columns = [_moved_chunk(chunk, by) for chunk in columns]
    new = {**_shifted(group, (_GROUP_OFFSET,), by), _COLUMNS: (_LIST, (kind, moved_columns))}
    return {**new, _ORDINAL: (_I16, ordinal)} if _ORDINAL in group and ordinal < 2**15 else _without(new, _ORDINAL)


def joined(first: Fields, groups: list[Fields]) -> Fields:
    """The footer of a file with *groups*; all else as in *first*."""
    rows = sum(group[_GROUP_ROWS][1] for group in groups)
    return {**first, NUM_ROWS: (_I64, rows), ROW_GROUPS: (_LIST, (_STRUCT, groups))}


def _moved_chunk(chunk: Fields, by: int) -> Fields:
    kind, pages = chunk[_CHUNK]
    return {**_shifted(chunk, _CHUNK_POINTERS, by), _CHUNK: (kind, _shifted(pages, _PAGE_POINTERS, by))}


def _shifted(fields: Fields, numbers: tuple[int, ...], by: int) -> Fields:
    """Zero points nowhere, and stays."""
    new = {number: (fields[number][0], fields[number][1] + by) for number in numbers if fields.get(number, (0, 0))[1]}
    return {**fields, **new}


def _without(fields: Fields, number: int) -> Fields:
    return {one: value for one, value in fields.items() if one != number}


class _Reader:
    """Goes through the bytes of a struct once."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0
        self._values: dict[int, Callable[[], Any]] = {
            _TRUE: lambda: True,
            _FALSE: lambda: False,
            _BYTE: self._byte,
            _I16: self._zigzag,
            _I32: self._zigzag,
            _I64: self._zigzag,
            _DOUBLE: lambda: self._bytes(8),
            _BINARY: lambda: self._bytes(self._varint()),
            _LIST: self._list,
            _SET: self._list,
            _STRUCT: self.struct,
        }

    def struct(self) -> Fields:
        fields: Fields = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = (kind, self._values[kind]())
        return fields

    def _list(self) -> tuple[int, list[Any]]:
        head = self._byte()
        size, kind = head >> 4, head & 15
        size = self._varint() if size == _SHORT else size
        if kind in {_TRUE, _FALSE}:
            return kind, [self._byte() for _ in range(size)]
        value = self._values[kind]
        return kind, [value() for _ in range(size)]

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _bytes(self, size: int) -> bytes:
        if self.at + size > len(self._data):
            raise IndexError("it ends too early")
        self.at += size
        return self._data[self.at - size : self.at]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _put_struct(out: bytearray, fields: Fields) -> None:
    before = 0
    for number, (kind, value) in sorted(fields.items()):
        step = number - before
        if 0 < step <= _SHORT:
            out.append(step << 4 | kind)
        else:
            out.append(kind)
            _put_zigzag(out, number)
        _put(out, kind, value)
        before = number
    out.append(0)


def _put(out: bytearray, kind: int, value: Any) -> None:
    if kind == _STRUCT:
        _put_struct(out, value)
    elif kind in {_I16, _I32, _I64}:
        _put_zigzag(out, value)
    elif kind == _BINARY:
        _put_varint(out, len(value))
        out += value
    elif kind in {_LIST, _SET}:
        _put_list(out, *value)
    elif kind == _DOUBLE:
        out += value
    elif kind == _BYTE:
        out.append(value)


def _put_list(out: bytearray, kind: int, values: list[Any]) -> None:
    if len(values) < _SHORT:
        out.append(len(values) << 4 | kind)
    else:
        out.append(_SHORT << 4 | kind)
        _put_varint(out, len(values))
    if kind in {_TRUE, _FALSE}:
        out += bytes(values)
        return
    for value in values:
        _put(out, kind, value)


def _put_varint(out: bytearray, value: int) -> None:
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)


def _put_zigzag(out: bytearray, value: int) -> None:
    _put_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)
