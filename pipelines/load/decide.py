"""Reads what a history must know of its rows, and keeps what `timeline` makes of it for the units that write."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Struct

from pipelines.batch import Part
from pipelines.errors import KeyMissing
from pipelines.load.changes import Place
from pipelines.load.disk import store_errors
from pipelines.load.log import LiveFile
from pipelines.load.open_part import stage
from pipelines.load.schema import recast, record_schema
from pipelines.load.stored import groups
from pipelines.load.target import VALID_FROM, VALID_TO
from pipelines.load.timeline import FILE, FROM, GONE, HASH, PART, ROW, TO, timeline
from pipelines.load.versions import Texts, ordered
from pipelines.load.winners import row_hashes

WHAT = ("ended", "gone", "added")
_OWN = "·own"


class Decided(Struct, frozen=True):
    """The timeline, in files that every unit reads its part of; rows that change, by live file and staged part."""

    path: str
    touched: tuple[int, ...]
    added: tuple[int, ...]
    counts: dict[str, int]

    def table(self, what: str) -> pl.DataFrame:
        """`ended`, `gone` or `added` of the timeline."""
        with store_errors("reading the timeline of this run"), pa.memory_map(f"{self.path}-{what}.arrow") as file:
            return pl.DataFrame(pl.from_arrow(pa.ipc.open_file(file).read_all()))


class Decide(Struct, frozen=True):
    """Work out the timeline of every key that was read."""

    place: Place
    live: tuple[LiveFile, ...]
    staged: tuple[Part, ...]
    schema: pa.Schema

    def work(self) -> Decided:
        """The decisions, written to `tmp/`; memory: keys and versions of what was read and of its stored versions.

        Raises:
            KeyMissing: A row has no value for its key or version.
        """
        place, target = self.place, self.place.target
        keys = list(target.key)
        read = self._read()
        whole = place.drops_missing
        live = self._live(None if whole else read)
        missing = live.filter(pl.col(TO).is_null()).join(read, on=keys, how="anti").select(keys) if whole else None
        known = self._hashed(live.join(read.select(keys).unique(), on=keys, how="semi"))
        if whole:
            known = pl.concat([known, live.join(read, on=keys, how="anti").with_columns(_no_hash())])
        texts = Texts.of(read[FROM], known[FROM], known[TO]) if read[FROM].dtype == pl.String else None
        own = read.select(PART, ROW, pl.col(FROM).alias(_OWN))
        if texts:
            read = read.with_columns(ordered(read[FROM]))
            known = known.with_columns(ordered(known[FROM]), ordered(known[TO]))
        found = timeline(known, read, keys, versioned=target.version is not None, now=place.now, missing=missing)
        path = place.tmp / f"timeline-{uuid.uuid4().hex}"
        with store_errors("writing the timeline of this run"):
            for what in WHAT:
                rows = getattr(found, what)
                if texts:
                    rows = texts.written(rows)
                    rows = _in_own_words(rows, own) if what == "added" else rows
                stage(Path(f"{path}-{what}.arrow"), rows.to_arrow(), place.disk)
        touched = pl.concat([found.ended[FILE], found.gone[FILE]]).unique().sort().to_list()
        added = np.bincount(found.added[PART].to_numpy(), minlength=len(self.staged)).tolist()
        return Decided(str(path), tuple(touched), tuple(added), found.counts)

    def _read(self) -> pl.DataFrame:
        records = record_schema(self.schema)
        frames = [
            self._nothing()
            .drop(TO, FILE)
            .with_columns(pl.lit(0, pl.Int32).alias(PART), pl.lit(value=False).alias(GONE))
        ]
        for number, part in enumerate(self.staged):
            first = 0
            for raw in groups(self.place.store / part.path):
                table = recast(raw, records)
                frame = self._keys(table, first).with_columns(
                    pl.Series(HASH, row_hashes(table)), pl.lit(number, pl.Int32).alias(PART), self._marks(table)
                )
                frames.append(frame.select(frames[0].columns))
                first += len(table)
        read = pl.concat(frames)
        needed = [*self.place.target.key, FROM] if self.place.target.version else list(self.place.target.key)
        empty = read.select(pl.any_horizontal(pl.col(needed).is_null()).sum()).item()
        if empty:
            raise KeyMissing(
                f"{self.place.dataset}: {empty} rows have no value for {' or '.join(self.place.target.identity)}",
                "choose a key and version that every record has",
            )
        return read

    def _marks(self, table: pa.Table) -> pl.Series:
        deletes = self.place.target.deletes
        return pl.Series(GONE, deletes.marked(table, table.column_names) if deletes else np.zeros(len(table), bool))

    def _keys(self, table: pa.Table, first: int) -> pl.DataFrame:
        version, now = self.place.target.version, self.place.now
        kind = self.schema.field(VALID_FROM).type
        begin = table[version] if version else pa.chunked_array([pa.array([now] * len(table), kind)])
        columns = {**{name: table[name] for name in self.place.target.key}, FROM: begin}
        rows = pl.int_range(first, first + len(table), dtype=pl.Int64, eager=True).alias(ROW)
        return _frame(pa.table(columns)).with_columns(rows)

    def _live(self, read: pl.DataFrame | None) -> pl.DataFrame:
        """Key, times and place of the stored rows whose key was read, of all rows without *read*."""
        keys = list(self.place.target.key)
        names = [*keys, VALID_FROM, VALID_TO]
        narrow = pa.schema([self.schema.field(name) for name in names])
        frames = [self._nothing().drop(HASH)]
        wanted = None if read is None else read.select(keys).unique()
        for number, file in enumerate(self.live):
            first = 0
            for table in groups(self.place.store / file.path, names):
                frame = _frame(recast(table, narrow)).rename({VALID_FROM: FROM, VALID_TO: TO})
                rows = pl.int_range(first, first + len(frame), dtype=pl.Int64, eager=True).alias(ROW)
                frame = frame.with_columns(rows, pl.lit(number, pl.Int32).alias(FILE)).select(frames[0].columns)
                frames.append(frame if wanted is None else frame.join(wanted, on=keys, how="semi"))
                first += len(table)
        return pl.concat(frames)

    def _hashed(self, live: pl.DataFrame) -> pl.DataFrame:
        """*live* with the hash of each row as a record."""
        records, frames = record_schema(self.schema), [live.head(0).with_columns(_no_hash())]
        for number in live[FILE].unique().sort().to_list():
            rows, first = live.filter(pl.col(FILE) == number).sort(ROW), 0
            positions = rows[ROW].to_numpy()
            hashes = []
            for table in groups(self.place.store / self.live[number].path):
                low, high = np.searchsorted(positions, [first, first + len(table)])
                if high > low:
                    hashes.append(row_hashes(recast(table.take(pa.array(positions[low:high] - first)), records)))
                first += len(table)
            frames.append(rows.with_columns(pl.Series(HASH, np.concatenate(hashes), pl.UInt64)))
        return pl.concat(frames)

    def _nothing(self) -> pl.DataFrame:
        """No rows, with the columns of a stored row."""
        keys, kind = list(self.place.target.key), self.schema.field(VALID_FROM).type
        fields = [*(self.schema.field(name) for name in keys), pa.field(FROM, kind), pa.field(TO, kind)]
        more = [pa.field(FILE, pa.int32()), pa.field(ROW, pa.int64()), pa.field(HASH, pa.uint64())]
        return _frame(pa.schema([*fields, *more]).empty_table())


def _in_own_words(added: pl.DataFrame, own: pl.DataFrame) -> pl.DataFrame:
    """*added* rows that begin with their own version as that is written: another key may have it in other words."""
    joined = added.join(own, on=[PART, ROW], how="left", maintain_order="left")
    is_own = ordered(joined[_OWN]) == ordered(joined[FROM])
    return joined.with_columns(pl.when(is_own).then(pl.col(_OWN)).otherwise(pl.col(FROM)).alias(FROM)).drop(_OWN)


def _no_hash() -> pl.Expr:
    return pl.lit(0, pl.UInt64).alias(HASH)


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))
