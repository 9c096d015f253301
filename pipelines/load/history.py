"""Every version of every key, each with the time it held (`write: history`, SCD type 2).

One unit reads the keys and versions of the rows that may be concerned and works
out the timeline; then every file that holds a row that ends, or is replaced, is
streamed into a new one, and new versions join the files of their partition.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batch import Part
from pipelines.errors import KeyMissing, SchemaError
from pipelines.load.changes import Change, Place, Step, Unit, by_partition
from pipelines.load.disk import store_errors
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.rewrite import StagedRows
from pipelines.load.schema import recast, record_schema, same_columns
from pipelines.load.stored import groups
from pipelines.load.target import IS_CURRENT, VALID_FROM, VALID_TO
from pipelines.load.timeline import FILE, FROM, GONE, HASH, PART, ROW, TO, timeline
from pipelines.load.winners import row_hashes

_SMALL_BYTES, _JOIN_FACTOR = 64 * 10**3, 4
_RUN_TIME = pa.timestamp("us", "UTC")


def history(place: Place, dataset: Dataset, staged: Sequence[Part], records: pa.Schema) -> Step | Change:
    """The first step of bringing *staged*, whose columns and those stored are *records*, into *dataset*.

    Raises:
        SchemaError: Records have a column that a history makes itself, or versions are of no use.
    """
    target, known = place.target, dataset.schema
    kind = _kind(place, records)
    fields = [(VALID_FROM, kind), (VALID_TO, kind), (IS_CURRENT, pa.bool_())]
    schema = pa.schema([*records, *(pa.field(name, type_) for name, type_ in fields)])
    gone = place.full and target.deletes is not None and target.deletes.missing
    if gone and not pa.types.is_temporal(kind):
        raise SchemaError(
            f"{place.dataset}: versions are {kind}, so it cannot be said when a missing row ended",
            "use a `version` that is a time, or none, with `deletes: {missing: true}`",
        )
    older = known is not None and not same_columns(known, schema)
    unit = Decide(place, dataset.files, tuple(staged), schema)
    return Step((unit,), lambda results: _rewrites(place, dataset, staged, schema, results[0], older=older))


def _kind(place: Place, records: pa.Schema) -> pa.DataType:
    version = place.target.version
    for name in (*place.target.key, *([version] if version else [])):
        if name not in records.names:
            raise KeyMissing(
                f"{place.dataset}: no row has the column {name!r}", f"columns: {', '.join(records.names[:20])}"
            )
    return records.field(version).type if version else _RUN_TIME


@dataclass(frozen=True, slots=True)
class Decided:
    """The timeline, in files that every unit reads its part of; rows that change, by live file and staged part."""

    path: str
    touched: tuple[int, ...]
    added: tuple[int, ...]
    counts: dict[str, int]

    def table(self, what: str) -> pl.DataFrame:
        """`ended`, `gone` or `added` of the timeline."""
        with store_errors("reading the timeline of this run"), pa.memory_map(f"{self.path}-{what}.arrow") as file:
            return pl.DataFrame(pl.from_arrow(pa.ipc.open_file(file).read_all()))


@dataclass(frozen=True, slots=True)
class Decide:
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
        whole = place.full and target.deletes is not None and target.deletes.missing
        live = self._live(None if whole else read)
        missing = live.filter(pl.col(TO).is_null()).join(read, on=keys, how="anti").select(keys) if whole else None
        known = self._hashed(live.join(read.select(keys).unique(), on=keys, how="semi"))
        if whole:
            known = pl.concat([known, live.join(read, on=keys, how="anti").with_columns(_no_hash())])
        found = timeline(known, read, keys, versioned=target.version is not None, now=place.now, missing=missing)
        path = place.tmp / f"timeline-{uuid.uuid4().hex}"
        for what in ("ended", "gone", "added"):
            _write(Path(f"{path}-{what}.arrow"), getattr(found, what))
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
        return pl.Series(GONE, deletes.marked(table) if deletes else np.zeros(len(table), bool))

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


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Write the rows of a live file (or none) as the timeline has them, then the new versions of *parts*."""

    place: Place
    partition: str
    live: tuple[LiveFile, int] | None
    parts: tuple[int, ...]
    staged: tuple[Part, ...]
    decided: Decided
    schema: pa.Schema

    def work(self) -> tuple[Part, ...]:
        """The new parts."""
        sequence = self.staged[self.parts[0]].sequence if self.parts else 0
        with self.place.writer(sequence) as writer:
            for table in chain(self._kept(), self._new()):
                writer.write_to(self.partition, table)
            return writer.close()

    def _kept(self) -> Iterator[pa.Table]:
        if self.live is None:
            return
        file, number = self.live
        ended = self.decided.table("ended").filter(pl.col(FILE) == number).sort(ROW)
        gone = self.decided.table("gone").filter(pl.col(FILE) == number)[ROW].to_numpy()
        first = 0
        for raw in groups(self.place.store / file.path):
            table = recast(raw, self.schema)
            here = ended.filter(pl.col(ROW).is_between(first, first + len(table) - 1))
            if len(here):
                table = _ended(table, here[ROW].to_numpy() - first, here[TO].to_arrow())
            keep = np.ones(len(table), bool)
            keep[gone[(gone >= first) & (gone < first + len(table))] - first] = False
            yield table if keep.all() else table.filter(pa.array(keep))
            first += len(table)

    def _new(self) -> Iterator[pa.Table]:
        added = self.decided.table("added").filter(pl.col(PART).is_in(list(self.parts))).sort(PART, ROW)
        if not len(added):
            return
        rows = StagedRows(self.place, self.staged, record_schema(self.schema))
        table = rows.take(added[PART].to_numpy(), added[ROW].to_numpy())
        times = {
            VALID_FROM: added[FROM].to_arrow(),
            VALID_TO: added[TO].to_arrow(),
            IS_CURRENT: added[TO].is_null().to_arrow(),
        }
        for name, values in times.items():
            table = table.append_column(
                self.schema.field(name), pa.chunked_array([values]).cast(self.schema.field(name).type)
            )
        yield table


def _ended(table: pa.Table, rows: Any, until: pa.Array) -> pa.Table:
    """*table* where *rows* end at *until*."""
    mask = np.zeros(len(table), bool)
    mask[rows] = True
    names = table.column_names
    kind = table.schema.field(VALID_TO).type
    ends = pc.replace_with_mask(table[VALID_TO].combine_chunks(), pa.array(mask), until.cast(kind))
    table = table.set_column(names.index(VALID_TO), table.schema.field(VALID_TO), ends)
    return table.set_column(names.index(IS_CURRENT), table.schema.field(IS_CURRENT), pc.is_null(ends))


def _rewrites(  # noqa: PLR0913 - what the rewriting follows from
    place: Place, dataset: Dataset, staged: Sequence[Part], schema: pa.Schema, decided: Decided, *, older: bool
) -> Step:
    """A unit for each file that changes; new versions go to one of them, or to a small or new file."""
    live = dict(enumerate(dataset.files))
    touched = set(live) if older else set(decided.touched)
    parts = by_partition([part for part, rows in zip(staged, decided.added, strict=True) if rows])
    numbers = {part.path: number for number, part in enumerate(staged)}
    joined: dict[int, tuple[int, ...]] = {}
    units: list[Unit] = []
    for folder, new in parts.items():
        chosen = tuple(numbers[part.path] for part in new)
        number = _joined(live, touched, folder, sum(part.size_bytes for part in new))
        if number is None:
            units.append(Rewrite(place, folder, None, chosen, tuple(staged), decided, schema))
        else:
            joined[number] = chosen
            touched.add(number)
    for number in sorted(touched):
        file = live[number]
        units.append(
            Rewrite(place, file.partition, (file, number), joined.get(number, ()), tuple(staged), decided, schema)
        )

    def fold(results: Sequence[tuple[Part, ...]]) -> Change:
        for what in ("ended", "gone", "added"):
            Path(f"{decided.path}-{what}.arrow").unlink(missing_ok=True)
        kept = tuple(file for number, file in live.items() if number not in touched)
        return Change(kept, tuple(chain(*results)), tuple(staged), schema, decided.counts)

    return Step(tuple(units), fold)


def _joined(live: dict[int, LiveFile], touched: set[int], folder: str, new_bytes: int) -> int | None:
    """The file of *folder* that new versions join: the smallest, if it is small or written anyway."""
    here = [number for number, file in live.items() if file.partition == folder]
    if not here:
        return None
    least = min(here, key=lambda number: (number not in touched, live[number].size_bytes))
    small = live[least].size_bytes <= max(_SMALL_BYTES, _JOIN_FACTOR * new_bytes)
    return least if small or least in touched else None


def _no_hash() -> pl.Expr:
    return pl.lit(0, pl.UInt64).alias(HASH)


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


def _write(path: Path, frame: pl.DataFrame) -> None:
    table = frame.to_arrow()
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        store_errors("writing the timeline of this run"),
        path.open("xb") as file,
        pa.ipc.new_file(file, table.schema) as writer,
    ):
        writer.write_table(table)
