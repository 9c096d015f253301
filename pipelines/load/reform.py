"""Rows that were stored under an older configuration, in the form that `partition_by`, `write` and `key` give now.

Without it a key would be looked for in folders where it is not, or a key of many
stored rows be taken for one: rows would be there twice, and nobody be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from pipelines.batch import Part
from pipelines.errors import KeyMissing, SchemaError
from pipelines.load.changes import Change, Place, Step, Unit, portions, refuse_unknown
from pipelines.load.duplicates import one_for_each_key
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.partitions import parse, split
from pipelines.load.schema import encode_schema, recast, record_schema, unify
from pipelines.load.stored import file_schema, groups

if TYPE_CHECKING:
    from pipelines.load.target import Target

Merge = Callable[[Place, Dataset], Step | Change]
_ROW = "·row"


class Regroup(Struct, frozen=True):
    """Write the rows of stored files again, each into the folder it belongs to now; if *keyed*, one of each key."""

    place: Place
    files: tuple[LiveFile, ...]
    sequence: int
    schema: pa.Schema
    keyed: bool

    def work(self) -> tuple[Part, ...]:
        """The new parts; memory: what a writer holds back, and the keys of the files."""
        kept = self._kept() if self.keyed else None
        with self.place.writer(self.sequence) as writer:
            first = 0
            for table in self._tables():
                here = table if kept is None else table.filter(pa.array(kept[first : first + len(table)]))
                for folder, rows in split(here, self.place.target.partition_by) if len(here) else ():
                    writer.write_to(folder, rows)
                first += len(table)
            return writer.close()

    def _tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        for file in self.files:
            yield from (recast(table, schema) for table in groups(self.place.store / file.path, columns))

    def _kept(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """For each row whether it stands for its key: once rows are split and sorted, their order tells no more."""
        target = self.place.target
        named = dict.fromkeys((*target.key, *filter(None, [target.version])))
        columns = [name for name in named if name in self.schema.names]  # without a version the merge says so
        keys = pa.concat_tables(self._tables(columns))
        numbered = keys.append_column(_ROW, pa.array(np.arange(len(keys))))
        kept = np.zeros(len(keys), bool)
        kept[one_for_each_key(numbered, target)[_ROW].to_numpy()] = True
        return kept


def reformed(place: Place, dataset: Dataset, staged: Sequence[Part], merge: Merge) -> Step | Change:
    """*merge* of *dataset*, whose files are first written again where they are not as `place.target` says.

    Columns that the target names, and only the rows just *staged* have, are null in those that are stored.

    Raises:
        SchemaError: A history of its rows cannot be made, or one cannot go on as something else.
        KeyMissing: No stored row has the key that is to tell them apart.
    """
    target, known = place.target, dataset.schema
    if not dataset.files or known is None or target.write == "replace":
        return merge(place, dataset)
    _refuse(place, dataset)
    keyed = target.write == "upsert" and (dataset.write != "upsert" or set(dataset.key) != set(target.key))
    if not keyed and list(map(parse, dataset.partition_by)) == list(map(parse, target.partition_by)):
        return merge(place, dataset)
    if keyed:
        _refuse_rows_without_key(place, dataset, known)
    read = [file_schema(place.store / part.path) for part in staged if part.rows]
    schema = _with_columns(known, target, unify(read) if read else known)
    refuse_unknown(place, schema.names)
    # all files are written again, so none has to be cast by its readers
    place = replace(place, target=target.model_copy(update={"older_files": "rewrite"}))

    def regrouped(results: Sequence[tuple[Part, ...]]) -> Step | Change:
        parts = list(chain(*results))
        if not keyed:
            return go_on(parts, parts)
        from pipelines.load.upsert import upsert

        once = upsert(place, Dataset(), parts, schema, odd=(), stale=frozenset())
        return _then(once, lambda change: go_on(change.added, (*parts, *change.added)))

    def go_on(parts: Sequence[Part], made: Sequence[Part]) -> Step | Change:
        files = tuple(LiveFile.of(part, 0, number) for number, part in enumerate(parts))
        form = {"key": target.key, "write": target.write, "partition_by": target.partition_by}
        formed = replace(dataset, files=files, columns=tuple(encode_schema(schema)), **form)
        return _then(merge(place, formed), lambda change: _with(change, made))

    piles = list(portions(dataset.files))
    # they come before what was just read, whose batches count from 0
    numbered = enumerate(piles, -len(piles))
    units: list[Unit] = [Regroup(place, files, number, schema, keyed) for number, files in numbered]
    return Step(tuple(units), regrouped)


def _with_columns(known: pa.Schema, target: Target, read: pa.Schema) -> pa.Schema:
    """*known* and what *target* names beside it, as it was *read*; what a history adds stays last."""
    named = [*(parse(text).field for text in target.partition_by), *target.sort_by, *filter(None, [target.version])]
    more = [read.field(name) for name in dict.fromkeys(named) if name in read.names and name not in known.names]
    records = record_schema(known)
    return pa.schema([*records, *more, *(one for one in known if one.name not in records.names)])


def _then(step: Step | Change, follow: Callable[[Change], Step | Change]) -> Step | Change:
    """*step*, and what *follow* makes of the change that it ends with."""
    if isinstance(step, Change):
        return follow(step)
    return Step(step.units, lambda results: _then(step.fold(results), follow))


def _with(change: Change, made: Sequence[Part]) -> Change:
    """*change*, in which files that it keeps are among the parts just *made*, and the rest of these is of no use."""
    kept = {file.path for file in change.kept}
    gone = {part.path for part in (*change.added, *change.dropped)}
    named = {part.path: part for part in made}
    unused = tuple(part for path, part in named.items() if path not in kept and path not in gone)
    added = (*(part for path, part in named.items() if path in kept), *change.added)
    return replace(change, kept=(), added=added, dropped=(*change.dropped, *unused))


def _refuse(place: Place, dataset: Dataset) -> None:
    was, write = dataset.write, place.target.write
    if (was == "history") != (write == "history"):
        raise SchemaError(
            f"{place.dataset}: {dataset.rows:,} rows are stored by `write: {was}`, which cannot go on as `{write}`",
            f"say `write: {was}` again, or give the resource another name: its rows are read anew",
        )
    if write == "history" and set(dataset.key) != set(place.target.key):
        raise SchemaError(
            f"{place.dataset}: the stored history is that of the key {', '.join(dataset.key)}, "
            f"not of {', '.join(place.target.key)}",
            "say `key` as it was, or give the resource another name: its rows are read anew",
        )
    if write == "history" and dataset.version != place.target.version:
        before, now = (version or "runs without `version`" for version in (dataset.version, place.target.version))
        raise SchemaError(
            f"{place.dataset}: the stored history has the times of {before}, not of {now}",
            "say `version` as it was, or give the resource another name: its rows are read anew",
        )


def _refuse_rows_without_key(place: Place, dataset: Dataset, schema: pa.Schema) -> None:
    """Raise `KeyMissing` where the rows that are stored have no such key at all."""
    if missing := [name for name in place.target.key if name not in schema.names]:
        raise KeyMissing(
            f"{place.dataset}: {dataset.rows:,} stored rows have no column {missing[0]!r}, which is the key now",
            "say `key` as it was, or give the resource another name: its rows are read anew",
        )
