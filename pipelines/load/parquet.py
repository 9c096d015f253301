"""Rows become Parquet files in the store, a good size each, one folder per partition.

A `PartWriter` takes tables as they come and holds rows back until a row group
is worth writing. What it writes is immutable, read-only and invisible until a
commit names it; if writing fails, everything it wrote is removed at once.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipelines.batch import Json, Part
from pipelines.load.disk import DISK, Disk, store_errors
from pipelines.load.duplicates import one_for_each_key
from pipelines.load.partitions import parse, split
from pipelines.load.schema import recast, unify
from pipelines.load.stored import bounds
from pipelines.load.target import Target

_LEAST_ROWS = 100_000
_SAMPLE = 10_000
_MB = 10**6


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large things may grow: a row group and all held-back rows in memory, a file on disk."""

    row_group_bytes: int = 64 * _MB
    held_bytes: int = 128 * _MB
    file_bytes: int = 32 * _MB
    open_files: int = 64


SIZES = Sizes()


class PartWriter:
    """Writes tables of one dataset into parts, split by partition.

    Use it as a context manager: an exception removes what was written.
    """

    def __init__(  # noqa: PLR0913 - one writer is told once all that it writes by
        self,
        store: Path,
        dataset: str,
        target: Target,
        *,
        sequence: int = 0,
        stats: Sequence[str] = (),
        sizes: Sizes = SIZES,
        disk: Disk = DISK,
    ) -> None:
        self._store, self._dataset, self._target = store, dataset, target
        self._sequence, self._sizes, self._disk = sequence, sizes, disk
        fields = [parse(text).field for text in target.partition_by]
        self._stats = tuple(dict.fromkeys((*target.key, *filter(None, [target.version]), *fields, *stats)))
        self._held: dict[str, list[pa.Table]] = {}
        self._held_bytes: dict[str, int] = {}
        self._open: dict[str, _OpenPart] = {}
        self._parts: list[Part] = []
        self.duplicates = 0

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()

    def write(self, table: pa.Table) -> None:
        """Take the rows of *table*; each goes to the folder of its partition.

        With an upsert whose rows lose their order by being split or sorted, one
        row for each key is left first, and tables do not share parts.

        Raises:
            PartitionError: A value cannot name a partition.
            StoreError: The disk is full or refuses.
        """
        if self._target.order_matters:
            self.close()
            before, table = len(table), one_for_each_key(table, self._target)
            self.duplicates += before - len(table)
        for folder, rows in split(table, self._target.partition_by):
            self.write_to(folder, rows)

    def write_to(self, folder: str, rows: pa.Table) -> None:
        """Take rows that are known to belong to *folder*."""
        if not len(rows):
            return
        self._held.setdefault(folder, []).append(rows)
        self._held_bytes[folder] = self._held_bytes.get(folder, 0) + rows.nbytes
        sizes = self._sizes
        if self._held_bytes[folder] >= (sizes.held_bytes if self._target.sort_by else sizes.row_group_bytes):
            self._flush(folder)
        while sum(self._held_bytes.values()) > sizes.held_bytes:
            self._flush(max(self._held_bytes, key=self._held_bytes.__getitem__))

    def close(self) -> tuple[Part, ...]:
        """Write what is left; the finished parts in the order they were begun."""
        for folder in list(self._held):
            self._flush(folder)
        for folder in list(self._open):
            self._finish(folder)
        return tuple(self._parts)

    def abort(self) -> None:
        """Remove everything that was written."""
        for part in self._open.values():
            part.abandon()
        paths = [part.path for part in self._open.values()] + [self._store / part.path for part in self._parts]
        for path in paths:
            with suppress(OSError):
                self._disk.unlink(path)
        self._held, self._held_bytes, self._open, self._parts = {}, {}, {}, []

    def _flush(self, folder: str) -> None:
        tables = self._held.pop(folder)
        del self._held_bytes[folder]
        schema = unify(table.schema for table in tables)
        table = pa.concat_tables([recast(table, schema) for table in tables])
        if self._target.sort_by:
            table = table.take(pc.sort_indices(table, [(name, "ascending") for name in self._target.sort_by]))
        with store_errors(f"writing a part of {self._dataset}"):
            part = self._part(folder, table)
            part.write(table, max(_LEAST_ROWS, self._sizes.row_group_bytes * len(table) // max(1, table.nbytes)))
        # what is flushed in one go is sorted in itself only, so it is a file of its own
        if self._target.sort_by or part.size_bytes >= self._sizes.file_bytes:
            self._finish(folder)

    def _part(self, folder: str, table: pa.Table) -> _OpenPart:
        part = self._open.get(folder)
        if part is not None and part.schema.equals(table.schema):
            self._open[folder] = self._open.pop(folder)
            return part
        if part is not None:
            self._finish(folder)
        elif len(self._open) >= self._sizes.open_files:
            self._finish(next(iter(self._open)))
        path = self._store / self._dataset / folder / f"{uuid.uuid4().hex}.parquet"
        self._open[folder] = part = _OpenPart(path, table, self._stats, self._disk)
        return part

    def _finish(self, folder: str) -> None:
        part = self._open[folder]
        with store_errors(f"writing a part of {self._dataset}"):
            part.close()
        self._parts.append(
            Part(
                dataset=self._dataset,
                partition=folder,
                path=part.path.relative_to(self._store).as_posix(),
                rows=part.rows,
                size_bytes=part.size_bytes,
                digest=part.digest,
                sequence=self._sequence,
                stats=part.stats,
            )
        )
        del self._open[folder]


class _OpenPart:
    """One Parquet file while it grows; knows its rows, bytes, digest and min/max.

    *first* are the rows that it begins with: they show what its values are like.
    """

    def __init__(self, path: Path, first: pa.Table, stats: tuple[str, ...], disk: Disk) -> None:
        self.path, self.schema, self.rows = path, first.schema, 0
        self.stats: dict[str, tuple[Json, Json]] = {}
        self._names = [name for name in stats if name in first.column_names]
        self._sink = _HashedFile(disk.create(path), disk)
        try:
            self._writer = _writer(self._sink, first)
        except OSError:
            self._sink.close()
            disk.unlink(path)
            raise

    @property
    def size_bytes(self) -> int:
        return self._sink.size

    @property
    def digest(self) -> str:
        return self._sink.hash.hexdigest()

    def write(self, table: pa.Table, rows_per_group: int) -> None:
        self._writer.write_table(table, row_group_size=rows_per_group)
        for name in self._names:
            self._widen(name, bounds(table[name]))
        self.rows += len(table)

    def close(self) -> None:
        self._writer.close()
        self._sink.close()

    def abandon(self) -> None:
        with suppress(OSError, pa.ArrowException):
            self._writer.close()
        with suppress(OSError):
            self._sink.close()

    def _widen(self, name: str, new: tuple[Json, Json] | None) -> None:
        known = self.stats.get(name)
        if new is None or (known is None and self.rows):
            # unknown for some rows is unknown for the file
            self.stats.pop(name, None)
            self._names = [other for other in self._names if other != name]
        else:
            self.stats[name] = new if known is None else (min(known[0], new[0]), max(known[1], new[1]))


class _HashedFile(io.RawIOBase):
    """What pyarrow writes into: bytes go to the disk and through the hash."""

    def __init__(self, file: int, disk: Disk) -> None:
        self._file, self._disk, self.size, self.hash = file, disk, 0, xxhash.xxh3_128()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._disk.write(self._file, view)
        self.hash.update(view)
        self.size += len(view)
        return len(view)

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()


def _writer(sink: _HashedFile, first: pa.Table) -> pq.ParquetWriter:
    encodings = _encodings(first)
    return pq.ParquetWriter(
        pa.PythonFile(sink, mode="w"),
        first.schema,
        version="2.6",
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in _leaves(first.schema) if name not in encodings] if encodings else True,
        column_encoding=encodings or None,
        write_statistics=True,
        write_page_checksum=True,
    )


def _encodings(table: pa.Table) -> dict[str, str]:
    """For columns of many different numbers or times an encoding that is smaller and twice as fast as a dictionary."""
    if len(table) < _LEAST_ROWS:
        return {}
    some = table.take(pa.array(np.linspace(0, len(table) - 1, _SAMPLE, dtype=np.int64)))
    found = {}
    for field in table.schema:
        kind = field.type
        whole = pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        if (whole or kind in (pa.float32(), pa.float64())) and pc.count_distinct(
            some[field.name]
        ).as_py() > _SAMPLE // 4:
            found[field.name] = "DELTA_BINARY_PACKED" if whole else "BYTE_STREAM_SPLIT"
    return found


def _leaves(schema: pa.Schema) -> list[str]:
    """The names by which Parquet knows the columns of *schema*, nested ones by their path."""
    sink = pa.BufferOutputStream()
    pq.write_metadata(schema, sink)
    columns = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return [columns.column(number).path for number in range(len(columns))]
