"""One file of the store while it is written: its encodings, its hash, its least and greatest values."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipelines.batch import Json
from pipelines.load.disk import Disk
from pipelines.load.stored import STAGED, bounds

LEAST_ROWS = 100_000
_SAMPLE = 10_000
_LEAST_SAMPLE = 250
_HARDLY_REPEATED = 0.9
_BLOCK = 256 * 1024


class OpenPart:
    """One file while it grows, Parquet or staged; knows its rows, bytes, digest and min/max.

    *first* are the rows that it begins with: they show what its values are like.
    """

    def __init__(self, path: Path, first: pa.Table, stats: tuple[str, ...], disk: Disk) -> None:
        self.path, self.schema, self.rows = path, first.schema, 0
        self.stats: dict[str, tuple[Json, Json]] = {}
        self._names = [name for name in stats if name in first.column_names]
        self._sink = _HashedFile(disk.create(path), disk)
        try:
            sink = pa.PythonFile(self._sink, mode="w")
            self._writer = _stager(sink, first) if path.suffix == STAGED else _writer(sink, first)
        except OSError:
            self._sink.close()
            disk.unlink(path)
            raise

    @property
    def size_bytes(self) -> int:
        """Bytes so far."""
        return self._sink.size

    @property
    def digest(self) -> str:
        """The hash of all bytes, once it is closed."""
        return self._sink.hash.hexdigest()

    def write(self, table: pa.Table, rows_per_group: int) -> None:
        """Add the rows of *table*, so many to a row group at most."""
        self._writer.write_table(table, rows_per_group)
        for name in self._names:
            self._widen(name, bounds(table[name]))
        self.rows += len(table)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
        self._sink.close()

    def abandon(self) -> None:
        """Close what is there, whole or not."""
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


def stage(path: Path, table: pa.Table, disk: Disk) -> None:
    """Write *table* as an Arrow file that this run alone reads."""
    part = OpenPart(path, table, (), disk)
    try:
        part.write(table, max(len(table), 1))
        part.close()
    except BaseException:
        part.abandon()
        raise


class _HashedFile(io.RawIOBase):
    """What pyarrow writes into: bytes go to the disk and through the hash, small pieces together."""

    def __init__(self, file: int, disk: Disk) -> None:
        self._file, self._disk, self.size, self.hash = file, disk, 0, xxhash.xxh3_128()
        self._small = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self.size += len(view)
        self._small += view
        if len(self._small) >= _BLOCK:
            self._put()
        return len(view)

    def _put(self) -> None:
        data, self._small = self._small, bytearray()
        self._disk.write(self._file, memoryview(data))
        self.hash.update(data)

    def tell(self) -> int:
        return self.size

    def close(self) -> None:
        if not self.closed:
            try:
                self._put()
            finally:
                os.close(self._file)
                super().close()


def encoded_bytes(table: pa.Table) -> memoryview:
    """A Parquet file of *table* in memory: one row group, encoded as all files of the store are."""
    sink = pa.BufferOutputStream()
    with _writer(sink, table) as writer:
        writer.write_table(table, len(table))
    return memoryview(sink.getvalue())


def _writer(sink: pa.NativeFile, first: pa.Table) -> pq.ParquetWriter:
    encodings = _encodings(first)
    return pq.ParquetWriter(
        sink,
        first.schema,
        version="2.6",
        compression="zstd",
        compression_level=1,
        use_dictionary=[name for name in _leaves(first.schema) if name not in encodings] if encodings else True,
        column_encoding=encodings or None,
        write_statistics=True,
        write_page_checksum=True,
    )


def _stager(sink: pa.NativeFile, first: pa.Table) -> pa.ipc.RecordBatchFileWriter:
    """Not compressed: that would take longer than Parquet saves, and the file is gone before it reaches the disk."""
    return pa.ipc.new_file(sink, first.schema)


def _encodings(table: pa.Table) -> dict[str, str]:
    """For columns of numbers or times that hardly repeat an encoding that is smaller and faster than a dictionary.

    A sample tells: where nine of ten values of it differ, a dictionary would be about as long as the column.
    """
    sample = min(len(table) // 4, _SAMPLE)
    if sample < _LEAST_SAMPLE:
        return {}
    rows = pa.array(np.linspace(0, len(table) - 1, sample, dtype=np.int64))
    found = {}
    for field in table.schema:
        kind = field.type
        whole = pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        if not whole and kind not in (pa.float32(), pa.float64()):
            continue
        some = table[field.name].take(rows).drop_null()
        if pc.count_distinct(some).as_py() > len(some) * _HARDLY_REPEATED:
            found[field.name] = "DELTA_BINARY_PACKED" if whole else "BYTE_STREAM_SPLIT"
    return found


def _leaves(schema: pa.Schema) -> list[str]:
    """The names by which Parquet knows the columns of *schema*, nested ones by their path."""
    sink = pa.BufferOutputStream()
    pq.write_metadata(schema, sink)
    columns = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    return [columns.column(number).path for number in range(len(columns))]
