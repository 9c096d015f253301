"""The two pieces of work that an upsert hands to worker processes.

`Match` takes live files and finds the rows that the winners replace: a file
without any stays as it is, another is streamed piece by piece into a new one.
`Settle` takes the staged parts of a partition and leaves in them only the rows
that are new there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct
from msgspec.structs import astuple

from pipelines.batch import Part
from pipelines.load.changes import Place
from pipelines.load.disk import store_errors
from pipelines.load.log import LiveFile
from pipelines.load.parquet import SIZES, PartWriter, Sizes
from pipelines.load.schema import recast
from pipelines.load.stored import groups, pieces
from pipelines.load.versions import ordered
from pipelines.load.winners import GONE, HASH, PART, ROW, VERSION, Winners, key_columns, key_frame, row_hashes

Rows: TypeAlias = np.ndarray[Any, Any]
_WINNER, _LIVE, _READ_VERSION = "·winner", "·live", "·version_right"
_CACHED_BYTES = 256 * 10**6
_SIZES = Sizes(row_group_bytes=24 * 10**6, file_bytes=2 * SIZES.file_bytes)
"""Two such writers side by side hold little; and a file that grows is not cut into a large and a tiny one."""


class Matched(Struct, frozen=True):
    """What a `Match` found: per live file None (untouched) or its new parts; winners that need no place any more."""

    files: tuple[tuple[Part, ...] | None, ...]
    taken: bytes
    updated: int
    unchanged: int
    stale: int
    removed: int


class Match(Struct, frozen=True):
    """Bring the winners that are in *live* already to their rows there.

    `stale` are the paths of those that have an older schema and are written again anyway.
    """

    place: Place
    live: tuple[LiveFile, ...]
    staged: tuple[Part, ...]
    winners: Winners
    schema: pa.Schema
    stale: frozenset[str]

    def work(self) -> Matched:
        """The new files; memory: the winners' keys, a piece of a file, a small row group, and a byte for each row."""
        winners = self.winners.load().with_row_index(_WINNER)
        rows = StagedRows(self.place, self.staged, self.schema)
        taken = np.zeros(self.winners.rows, bool)
        merges = [_FileMerge(self, file, winners, rows, taken) for file in self.live]
        files = tuple(merge.run() for merge in merges)
        return Matched(
            files,
            np.packbits(taken).tobytes(),
            sum(merge.updated for merge in merges),
            sum(merge.unchanged for merge in merges),
            sum(merge.stale for merge in merges),
            sum(merge.removed for merge in merges),
        )


class _Hits(Struct, frozen=True):
    """Winners whose key is in a file, in its order: their place there, their number, and where their row is staged.

    Columns of NumPy, as they are cut for each piece of the file: a frame takes a hundred times as long for it.
    """

    live: Rows
    winner: Rows
    part: Rows
    row: Rows
    hashed: Rows
    gone: Rows

    @classmethod
    def of(cls, found: pl.DataFrame) -> Self:
        """Those of *found*."""
        return cls(*(found[name].to_numpy() for name in (_LIVE, _WINNER, PART, ROW, HASH, GONE)))

    def __len__(self) -> int:
        return len(self.live)

    def at(self, which: slice | Rows) -> _Hits:
        """Those of a slice, or for which a mask is true."""
        return _Hits(*(rows[which] for rows in astuple(self)))


class _FileMerge(Struct):
    """One live file on its way to its successor."""

    unit: Match
    file: LiveFile
    winners: pl.DataFrame
    rows: StagedRows
    taken: Rows
    updated: int = 0
    unchanged: int = 0
    stale: int = 0
    removed: int = 0

    def run(self) -> tuple[Part, ...] | None:
        """The new parts; None if the file stays."""
        place, path = self.unit.place, self.unit.place.store / self.file.path
        found = self._hits()
        lost = self._lost(found)
        self.removed += int(lost.sum())
        hits = _Hits.of(self._fresh(found))
        if not len(hits) and not lost.any() and self.file.path not in self.unit.stale:
            return None
        with (
            store_errors("reading the store"),
            path.open("rb") as file,
            pq.ParquetFile(file) as parquet,
            place.writer(sizes=_SIZES) as writer,
        ):
            return writer.close() if self._stream(parquet, hits, lost, writer) else None

    def _stream(self, parquet: pq.ParquetFile, hits: _Hits, lost: Rows, writer: PartWriter) -> bool:
        """Write the successor, from the first piece that differs on; False if none does."""
        changed, first = self.file.path in self.unit.stale, 0
        for group in range(parquet.num_row_groups):
            end = first + parquet.metadata.row_group(group).num_rows
            low, high = np.searchsorted(hits.live, [first, end])
            if not (changed or high > low or lost[first:end].any()):
                first = end
                continue
            for piece in pieces(parquet, group):
                low, high = np.searchsorted(hits.live, [first, first + len(piece)])
                gone = np.flatnonzero(lost[first : first + len(piece)])
                table = recast(piece, self.unit.schema)
                updates = self._updates(table, hits.at(slice(low, high)), first)
                if (len(updates) or len(gone)) and not changed:
                    changed = True
                    self._copy(parquet, first, writer)
                if changed:
                    writer.write_to(self.file.partition, self._patched(table, updates, gone, first))
                first += len(piece)
        return changed

    def _hits(self) -> pl.DataFrame:
        """Winners whose key is in the file, with their place in it, in its order."""
        unit, keys = self.unit, list(self.unit.place.target.key)
        winners = _within(self.winners, keys, self.file)
        found, first = [], 0
        for table in groups(unit.place.store / self.file.path, key_columns(unit.place, unit.schema)):
            frame = key_frame(unit.place, table, unit.schema).with_row_index(_LIVE, first)
            found.append(frame.join(winners, on=keys, how="inner"))
            first += len(table)
        return pl.concat(found).sort(_LIVE)

    def _lost(self, found: pl.DataFrame) -> Rows:
        """For each row of the file whether it is gone because it was not read."""
        lost = np.full(self.file.rows, self.unit.place.drops_missing)
        lost[found[_LIVE].to_numpy()] = False
        return lost

    def _fresh(self, hits: pl.DataFrame) -> pl.DataFrame:
        """The hits without those whose live row has a greater version."""
        if not self.unit.place.target.version:
            return hits
        live, read = ordered(hits[VERSION]), ordered(hits[_READ_VERSION])
        newer = live.is_not_null() & (read.is_null() | (live > read))
        newer = newer.fill_null(value=False)
        self.stale += int((newer & ~hits[GONE]).sum())
        self.taken[hits.filter(newer)[_WINNER].to_numpy()] = True
        return hits.filter(~newer)

    def _updates(self, table: pa.Table, hits: _Hits, first: int) -> _Hits:
        """The hits whose row differs from the live one; the others are done with."""
        if not len(hits):
            return hits
        local = hits.live - first
        sparse = len(hits) < len(table) // 4
        live = row_hashes(table.take(pa.array(local))) if sparse else row_hashes(table)[local]
        same = (live == hits.hashed) & ~hits.gone
        self.unchanged += int(same.sum())
        self.taken[hits.winner[same]] = True
        updates = hits.at(~same)
        self.removed += int(updates.gone.sum())
        self.updated += int((~updates.gone).sum())
        return updates

    def _patched(self, table: pa.Table, updates: _Hits, lost: Rows, first: int) -> pa.Table:
        """*table* with the rows of *updates*: in place, or gone if they moved to another partition or were deleted."""
        if not len(updates) and not len(lost):
            return table
        folders = [part.partition == self.file.partition for part in self.unit.staged]
        here = updates.at(np.array(folders)[updates.part] & ~updates.gone)
        self.taken[here.winner] = True
        order = np.arange(len(table))
        order[lost] = order[updates.live - first] = -1
        order[here.live - first] = len(table) + np.arange(len(here))
        new = self.rows.take(here.part, here.row)
        # Arrow would do so for each column that it takes from more slowly
        return pa.concat_tables([table, new]).combine_chunks().take(pa.array(order[order >= 0]))

    def _copy(self, parquet: pq.ParquetFile, rows: int, writer: PartWriter) -> None:
        """Write the first *rows* as they are."""
        for group in range(parquet.num_row_groups):
            for piece in pieces(parquet, group):
                if rows <= 0:
                    return
                writer.write_to(self.file.partition, recast(piece, self.unit.schema))
                rows -= len(piece)


class StagedRows:
    """Rows of staged parts by number; keeps as many parts in memory as are worth it."""

    def __init__(self, place: Place, staged: Sequence[Part], schema: pa.Schema) -> None:
        self._place, self._staged, self._schema = place, staged, schema
        self._tables: dict[int, pa.Table] = {}

    def take(self, parts: Rows, rows: Rows) -> pa.Table:
        """Row *rows[i]* of part *parts[i]*, for all i in order."""
        order = np.argsort(parts, kind="stable")
        numbers = np.unique(parts).tolist()
        tables = [self._table(number).take(pa.array(rows[parts == number])) for number in numbers]
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_tables([self._schema.empty_table(), *tables]).take(pa.array(back))

    def _table(self, number: int) -> pa.Table:
        if number not in self._tables:
            if sum(table.nbytes for table in self._tables.values()) > _CACHED_BYTES:
                self._tables.clear()
            tables = groups(self._place.store / self._staged[number].path)
            # taking from a table of many chunks puts them together each time
            self._tables[number] = pa.concat_tables([recast(table, self._schema) for table in tables]).combine_chunks()
        return self._tables[number]


class Settle(Struct, frozen=True):
    """Write the rows of *parts* (numbers in *staged*) that still need a place, after those of *joined*."""

    place: Place
    partition: str
    parts: tuple[int, ...]
    staged: tuple[Part, ...]
    joined: str
    winners: Winners
    taken: bytes
    schema: pa.Schema

    def work(self) -> tuple[Part, ...]:
        """The new parts."""
        with self.place.writer(self.staged[self.parts[0]].sequence) as writer:
            for table in self._tables():
                writer.write_to(self.partition, recast(table, self.schema))
            return writer.close()

    def _tables(self) -> Iterator[pa.Table]:
        if self.joined:
            yield from groups(self.place.store / self.joined)
        winners = self.winners.load().select(PART, ROW)
        left = winners.filter(pl.Series(~unpack(self.taken, self.winners.rows)))
        for number in self.parts:
            rows = np.sort(left.filter(pl.col(PART) == number)[ROW].to_numpy())
            first = 0
            for table in groups(self.place.store / self.staged[number].path):
                low, high = np.searchsorted(rows, [first, first + len(table)])
                yield table.take(pa.array(rows[low:high] - first))
                first += len(table)


def unpack(bits: bytes, rows: int) -> Rows:
    """The mask that `Matched.taken` packs."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=rows).astype(bool)


def _within(winners: pl.DataFrame, keys: Sequence[str], file: LiveFile) -> pl.DataFrame:
    """The winners whose keys lie between the file's least and greatest."""
    for key in keys:
        bounds = file.stats.get(key)
        numeric = winners[key].dtype.is_integer()
        if bounds and numeric and all(isinstance(bound, int) for bound in bounds):
            winners = winners.filter(pl.col(key).is_between(*bounds))
    return winners
