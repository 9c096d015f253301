"""Parquet parts put into one file as they are: row groups are moved, not written again.

A worker encodes each batch while pages still come. What a batch gave is a row
group or some; a file of a good size is many of them, one after the other, and a
footer that says where they are. That is a copy: a fraction of what encoding costs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import reduce
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pyarrow as pa
import xxhash
from msgspec import Struct

from pipelines.batch import Json, Part
from pipelines.load import footer
from pipelines.load.disk import Disk, store_errors
from pipelines.load.footer import Fields
from pipelines.load.open_part import encoded_bytes
from pipelines.load.parquet import SIZES
from pipelines.load.schema import recast
from pipelines.load.stored import STAGED, file_schema, groups

if TYPE_CHECKING:
    from pipelines.load.changes import Place

_BLOCK = 4 * 2**20
_TAIL = 8
Stats = dict[str, tuple[Json, Json]]


class Splice(Struct, frozen=True):
    """Put *parts* of one partition into one file, in their order; those that are staged are encoded on the way."""

    place: Place
    parts: tuple[Part, ...]
    schema: pa.Schema

    def work(self) -> tuple[Part, ...]:
        """The new part; memory: a block, or a row group of staged rows.

        Raises:
            StoreError: A part is gone, or the disk is full.
        """
        first = self.parts[0]
        path = self.place.store / self.place.dataset / first.partition / f"{uuid4().hex}.parquet"
        with store_errors(f"writing a part of {self.place.dataset}"):
            file = _Growing(path, self.place.disk)
            try:
                file.begin()
                for is_staged, some in groupby(self.parts, lambda part: part.path.endswith(STAGED)):
                    self._add(file, [*some], is_staged=is_staged)
                file.close()
            except BaseException:
                file.abandon()
                raise
        return (
            Part(
                dataset=self.place.dataset,
                partition=first.partition,
                path=path.relative_to(self.place.store).as_posix(),
                rows=sum(part.rows for part in self.parts),
                size_bytes=file.size,
                digest=file.digest,
                sequence=first.sequence,
                stats=reduce(_wider, map(self._bounds, self.parts)),
            ),
        )

    def _add(self, file: _Growing, parts: Sequence[Part], *, is_staged: bool) -> None:
        for part in parts if not is_staged else ():
            if not file.add(self.place.store / part.path):
                file.add_rows(self._tables([part]))
        if is_staged:
            file.add_rows(self._tables(parts))

    def _bounds(self, part: Part) -> Stats:
        """What is known of the columns of *part* that keep their type; those of another type are in another order."""
        if not part.stats:
            return {}
        held = file_schema(self.place.store / part.path)
        return {
            name: found for name, found in part.stats.items() if held.field(name).type == self.schema.field(name).type
        }

    def _tables(self, parts: Iterable[Part]) -> Iterator[pa.Table]:
        for part in parts:
            for table in groups(self.place.store / part.path):
                yield recast(table, self.schema)


class _Growing:
    """A Parquet file that takes row groups of others."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path, self._disk = path, disk
        self._file = disk.create(path)
        self._hash = xxhash.xxh3_128()
        self._first: Fields | None = None
        self._groups: list[Fields] = []
        self.size = 0

    @property
    def digest(self) -> str:
        """The hash of all bytes so far."""
        return self._hash.hexdigest()

    def begin(self) -> None:
        """Write what each file begins with."""
        self._put(footer.MAGIC)

    def add(self, path: Path) -> bool:
        """Add the row groups of a file; False, and nothing is added, where its columns are stored otherwise."""
        source = os.open(path, os.O_RDONLY)
        try:
            length = os.fstat(source).st_size
            size = footer.footer_size(os.pread(source, _TAIL, length - _TAIL))
            end = length - _TAIL - size
            fields = footer.decode(os.pread(source, size, end))
            if not self._takes(fields):
                return False
            begin = self.size
            for at in range(len(footer.MAGIC), end, _BLOCK):
                self._put(os.pread(source, min(_BLOCK, end - at), at))
            self._note(fields, begin - len(footer.MAGIC))
        finally:
            os.close(source)
        return True

    def add_rows(self, tables: Iterator[pa.Table]) -> None:
        """Add rows, encoded in memory, a row group of a good size at a time."""
        held: list[pa.Table] = []
        for table in tables:
            held.append(table)
            if sum(one.nbytes for one in held) >= SIZES.row_group_bytes:
                self._add_encoded(held)
                held = []
        if held:
            self._add_encoded(held)

    def close(self) -> None:
        """Write the footer."""
        if self._first is None:
            raise AssertionError("a file has rows")
        self._put(footer.encode(footer.joined(self._first, self._groups)))
        os.close(self._file)

    def abandon(self) -> None:
        """Remove what is there."""
        with suppress(OSError):
            os.close(self._file)
        self._disk.unlink(self._path)

    def _add_encoded(self, held: list[pa.Table]) -> None:
        data = encoded_bytes(pa.concat_tables(held).combine_chunks())
        size = footer.footer_size(bytes(data[-_TAIL:]))
        end = len(data) - _TAIL - size
        begin = self.size
        self._put(data[len(footer.MAGIC) : end])
        self._note(footer.decode(bytes(data[end:-_TAIL])), begin - len(footer.MAGIC))

    def _takes(self, fields: Fields) -> bool:
        return self._first is None or fields[footer.SCHEMA] == self._first[footer.SCHEMA]

    def _note(self, fields: Fields, by: int) -> None:
        if self._first is None:
            self._first = fields
        for group in footer.row_groups(fields):
            self._groups.append(footer.moved(group, by, len(self._groups)))

    def _put(self, data: bytes | memoryview) -> None:
        self._disk.write(self._file, data)
        self._hash.update(data)
        self.size += len(data)


def _wider(one: Stats, other: Stats) -> Stats:
    """Least and greatest of both; what is unknown of either is unknown."""
    known = [name for name in one if name in other]
    return {name: (min(one[name][0], other[name][0]), max(one[name][1], other[name][1])) for name in known}
