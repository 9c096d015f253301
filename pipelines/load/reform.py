"""Rows that were stored under an older configuration, in the form that the one of now gives.

That is the form of `partition_by`, `write`, `key` and the types in `columns`. Without
it a key would be looked for in folders where it is not, or a key of many stored rows
be taken for one: rows would be there twice, and nobody be told. And a column would
stay text for ever that once came undeclared.
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
from pipelines.errors import KeyMissing, SchemaError, TypeConflict
from pipelines.load.changes import Change, Place, Step, Unit, portions, refuse_unknown
from pipelines.load.duplicates import one_for_each_key
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.partitions import parse, split
from pipelines.load.schema import common_type, encode_schema, recast, record_schema, unify
from pipelines.load.stored import file_schema, groups
from pipelines.load.target import VALIDITY

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
            for table in groups(self.place.store / file.path, columns):
                yield recast(self._as_declared(table), schema)

    def _as_declared(self, table: pa.Table) -> pa.Table:
        """*table*, whose columns may have been written before their types were declared."""
        for one in self.place.declared:
            begins = VALIDITY[:2] if one.name == self.place.target.version else ()
            for name in {one.name, *begins} & {*table.column_names}:
                kind = self.schema.field(name).type
                # what only gets wider, as nulls of an older file do, `recast` knows
                if kind == _plain(one.arrow) and common_type(table[name].type, kind) != kind:
                    try:
                        column = one.again(table[name])
                    except TypeConflict as error:
                        raise TypeConflict(f"{self.place.name}: {error.message}", error.hint) from None
                    table = table.set_column(table.column_names.index(name), name, column)
        return table

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
        TypeConflict: A stored value does not fit the type that is declared now.
    """
    target, known = place.target, dataset.schema
    if not dataset.files or known is None or target.write == "replace":
        return merge(place, dataset)
    _refuse(place, dataset)
    keyed = target.write == "upsert" and (dataset.write != "upsert" or set(dataset.key) != set(target.key))
    stays = not keyed and list(map(parse, dataset.partition_by)) == list(map(parse, target.partition_by))
    if stays and not place.declared:
        return merge(place, dataset)
    if keyed:
        _refuse_rows_without_key(place, dataset, known)
    read = [file_schema(place.store / part.path) for part in staged if part.rows]
    came = unify(read) if read else known
    schema = _as_declared(known, place, came)
    if stays and schema is known:
        return merge(place, dataset)
    # what were two keys as texts may be one number
    keyed = keyed or (target.write == "upsert" and _differ(known, schema, target.key))
    if target.write == "history" and _differ(known, schema, target.key):
        raise SchemaError(
            f"{place.dataset}: the stored history has keys of another type than `columns` declares now",
            "declare the key as it was, or give the resource another name: its rows are read anew",
        )
    schema = _with_columns(schema, target, came)
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


def _as_declared(known: pa.Schema, place: Place, came: pa.Schema) -> pa.Schema:
    """*known* with the types of columns that *came* as they are declared, where those are narrower; else itself."""
    kinds = {one.name: _plain(one.arrow) for one in place.declared}
    kinds = {
        name: kind
        for name, kind in kinds.items()
        if name in came.names and came.field(name).type == kind != common_type(known.field(name).type, kind)
    }
    if place.target.write == "history" and place.target.version in kinds:
        kinds |= dict.fromkeys(VALIDITY[:2], kinds[place.target.version])
    return pa.schema([field.with_type(kinds.get(field.name, field.type)) for field in known]) if kinds else known


def _differ(one: pa.Schema, other: pa.Schema, names: Sequence[str]) -> bool:
    """Whether one of the columns *names* has another type in *other*."""
    return any(one.field(name).type != other.field(name).type for name in names if name in one.names)


def _plain(kind: pa.DataType) -> pa.DataType:
    """*kind* as files have it."""
    return unify([pa.schema([("x", kind)])]).field(0).type


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
