"""Every version of every key, each with the time it held (`write: history`, SCD type 2).

One unit reads the keys and versions of the rows that may be concerned and works
out the timeline; then every file that holds a row that ends, or is replaced, is
streamed into a new one, and new versions join the files of their partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipelines.batch import Part
from pipelines.errors import KeyMissing, SchemaError
from pipelines.load.casting import outgrown
from pipelines.load.changes import Change, Place, Step, Unit, by_partition
from pipelines.load.decide import WHAT, Decide, Decided
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.rewrite import StagedRows
from pipelines.load.schema import recast, record_schema
from pipelines.load.stored import groups
from pipelines.load.target import IS_CURRENT, VALID_FROM, VALID_TO
from pipelines.load.timeline import FILE, FROM, PART, ROW, TO

_SMALL_BYTES, _JOIN_FACTOR = 64 * 10**3, 4
_RUN_TIME = pa.timestamp("us", "UTC")


def history(place: Place, dataset: Dataset, staged: Sequence[Part], records: pa.Schema) -> Step | Change:
    """The first step of bringing *staged*, whose columns and those stored are *records*, into *dataset*.

    Raises:
        SchemaError: Records have a column that a history makes itself, or versions are of no use.
    """
    kind = _kind(place, records)
    fields = [(VALID_FROM, kind), (VALID_TO, kind), (IS_CURRENT, pa.bool_())]
    schema = pa.schema([*records, *(pa.field(name, type_) for name, type_ in fields)])
    if place.drops_missing and not pa.types.is_temporal(kind):
        raise SchemaError(
            f"{place.dataset}: versions are {kind}, so it cannot be said when a missing row ended",
            "use a `version` that is a time, or none, with `deletes: {missing: true}`",
        )
    now, stale = outgrown(place, dataset, schema)
    unit = Decide(place, now.files, tuple(staged), schema)
    return Step((unit,), lambda results: _rewrites(place, now, staged, schema, results[0], stale=stale))


def _kind(place: Place, records: pa.Schema) -> pa.DataType:
    version = place.target.version
    for name in (*place.target.key, *([version] if version else [])):
        if name not in records.names:
            raise KeyMissing(
                f"{place.dataset}: no row has the column {name!r}", f"columns: {', '.join(records.names[:20])}"
            )
    return records.field(version).type if version else _RUN_TIME


class Rewrite(Struct, frozen=True):
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
    place: Place,
    dataset: Dataset,
    staged: Sequence[Part],
    schema: pa.Schema,
    decided: Decided,
    *,
    stale: frozenset[str],
) -> Step:
    """A unit for each file that changes; new versions go to one of them, or to a small or new file."""
    live = dict(enumerate(dataset.files))
    touched = {*decided.touched, *(number for number, file in live.items() if file.path in stale)}
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
        for what in WHAT:
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
