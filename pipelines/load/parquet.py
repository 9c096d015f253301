"""Rows become Parquet files in the store, a good size each, one folder per partition.

A `PartWriter` takes tables as they come and holds rows back until a row group
is worth writing. What it writes is immutable, read-only and invisible until a
commit names it; if writing fails, everything it wrote is removed at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipelines.batch import Part
from pipelines.errors import SchemaError
from pipelines.load.disk import DISK, Disk, store_errors
from pipelines.load.duplicates import one_for_each_key
from pipelines.load.open_part import LEAST_ROWS, OpenPart
from pipelines.load.partitions import parse, split
from pipelines.load.schema import recast, unify
from pipelines.load.stored import STAGED
from pipelines.load.target import Target

_MB = 10**6
_THREADS, _WORTH_THREADS = 2, 8
_GROUP_ROWS, _GROUP_BYTES = 10_000, 4 * _MB
"""Rows of a batch that are worth a row group of their own."""
_DEEPEST = 40
"""Lists and objects inside each other: Parquet's readers refuse 50 lists, Arrow's streams 64 of either."""


class Sizes(Struct, frozen=True):
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
        staged: bool = False,
    ) -> None:
        """Parts that are *staged* may be such that only a later step makes files of them that a commit may name.

        They are then quick to write and read, or, where that step will not look at single rows, Parquet already.
        """
        self._is_staged = staged
        self._store, self._dataset, self._target = store, dataset, target
        self._sequence, self._sizes, self._disk = sequence, sizes, disk
        self._grouping = [parse(text).field for text in target.partition_by]
        self._kinds: list[pa.DataType] = []
        self._stats = tuple(dict.fromkeys((*target.key, *filter(None, [target.version]), *self._grouping, *stats)))
        self._held: dict[str, list[pa.Table]] = {}
        self._held_bytes: dict[str, int] = {}
        self._open: dict[str, OpenPart] = {}
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
        row for each key is left first, and tables do not share parts; nor do those
        in which folders are made from columns of other types.

        Raises:
            PartitionError: A value cannot name a partition.
            SchemaError: A column is nested too deeply to be read again, or has no order to sort it by.
            StoreError: The disk is full or refuses.
        """
        kinds = [table.schema.field(name).type for name in self._grouping if name in table.column_names]
        if self._target.order_matters or kinds != self._kinds:
            self.close()
            self._kinds = kinds
        if self._target.order_matters:
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
        for folder in list(self._open):
            if folder in self._held:
                self._flush(folder)
        for folder in list(self._open):
            self._finish(folder)
        self._write_whole()
        return tuple(self._parts)

    def _write_whole(self) -> None:
        """Write each folder that is held back and has no file yet into one, several side by side."""
        held, self._held, self._held_bytes = self._held, {}, {}
        if len(held) < _WORTH_THREADS:
            for folder, tables in held.items():
                self._parts.append(self._whole(folder, tables))
            return
        with ThreadPoolExecutor(_THREADS, "parquet") as threads:
            futures = [threads.submit(self._whole, folder, tables) for folder, tables in held.items()]
        # what was written must be known before an error is raised, so that it can be removed
        self._parts += [future.result() for future in futures if future.exception() is None]
        for future in futures:
            future.result()

    def _whole(self, folder: str, tables: list[pa.Table]) -> Part:
        table = self._sorted(tables)
        with store_errors(f"writing a part of {self._dataset}"):
            part = self._begun(folder, table)
            try:
                part.write(table, self._group_rows(table))
                part.close()
            except BaseException:
                part.abandon()
                self._disk.unlink(part.path)
                raise
        return self._described(folder, part)

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
        table = self._sorted(self._held.pop(folder))
        del self._held_bytes[folder]
        with store_errors(f"writing a part of {self._dataset}"):
            part = self._part(folder, table)
            part.write(table, self._group_rows(table))
        # what is flushed in one go is sorted in itself only, so it is a file of its own
        if self._target.sort_by or part.size_bytes >= self._sizes.file_bytes:
            self._finish(folder)

    def _sorted(self, tables: list[pa.Table]) -> pa.Table:
        schema = _one_schema(tuple(table.schema for table in tables))
        table = pa.concat_tables([recast(table, schema) for table in tables])
        if self._is_staged:
            table = table.combine_chunks()  # a batch for each row group, not for each page
        _refuse_unordered(schema, self._target)
        if order := [(name, "ascending") for name in self._target.sort_by if name in table.column_names]:
            table = table.take(pc.sort_indices(table, order))
        return table

    def _group_rows(self, table: pa.Table) -> int:
        return int(max(LEAST_ROWS, self._sizes.row_group_bytes * len(table) // max(1, table.nbytes)))

    def _begun(self, folder: str, table: pa.Table) -> OpenPart:
        path = self._store / self._dataset / folder / f"{uuid.uuid4().hex}{self._suffix(table)}"
        return OpenPart(path, table, self._stats, self._disk)

    def _suffix(self, first: pa.Table) -> str:
        is_group = len(first) >= _GROUP_ROWS or first.nbytes >= _GROUP_BYTES
        return STAGED if self._is_staged and not (self._target.as_they_come and is_group) else ".parquet"

    def _part(self, folder: str, table: pa.Table) -> OpenPart:
        part = self._open.get(folder)
        if part is not None and part.schema.equals(table.schema):
            self._open[folder] = self._open.pop(folder)
            return part
        if part is not None:
            self._finish(folder)
        elif len(self._open) >= self._sizes.open_files:
            self._finish(next(iter(self._open)))
        self._open[folder] = part = self._begun(folder, table)
        return part

    def _finish(self, folder: str) -> None:
        part = self._open[folder]
        with store_errors(f"writing a part of {self._dataset}"):
            part.close()
        self._parts.append(self._described(folder, part))
        del self._open[folder]

    def _described(self, folder: str, part: OpenPart) -> Part:
        return Part(
            dataset=self._dataset,
            partition=folder,
            path=part.path.relative_to(self._store).as_posix(),
            rows=part.rows,
            size_bytes=part.size_bytes,
            digest=part.digest,
            sequence=self._sequence,
            stats=part.stats,
        )


@lru_cache(maxsize=256)
def _one_schema(schemas: tuple[pa.Schema, ...]) -> pa.Schema:
    """The schema of all; most tables of a writer have the very same one."""
    schema = unify(schemas)
    for field in schema:
        if pa.types.is_nested(field.type) and _depth(field.type) > _DEEPEST:
            raise SchemaError(
                f"{field.name!r} has more than {_DEEPEST} lists or objects inside each other: readers refuse it",
                f"keep it as text with `columns: {{{field.name}: json}}`, or leave it out with `mask`",
            )
    return schema


def _depth(kind: pa.DataType) -> int:
    """How many lists and objects are inside each other at most."""
    deepest, level = 0, [kind]
    while level := [one for one in level if pa.types.is_nested(one)]:
        deepest += 1
        level = [inner.field(number).type for inner in level for number in range(inner.num_fields)]
    return deepest


def _refuse_unordered(schema: pa.Schema, target: Target) -> None:
    for key, names in {"sort_by": target.sort_by, "version": filter(None, [target.version])}.items():
        for name in names:
            if name in schema.names and pa.types.is_nested(kind := schema.field(name).type):
                raise SchemaError(
                    f"{name!r} is {kind}, which no order tells before or after another", f"correct `{key}`"
                )
