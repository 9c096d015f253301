"""Rows that were stored under an older configuration, in the form that `partition_by`, `write` and `key` give now.

Without it a key would be looked for in folders where it is not, or a key of many
stored rows be taken for one: rows would be there twice, and nobody be told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from pipelines.batch import Part
from pipelines.errors import KeyMissing, SchemaError
from pipelines.load.changes import Change, Place, Step, Unit
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.partitions import parse
from pipelines.load.schema import recast
from pipelines.load.stored import groups

if TYPE_CHECKING:
    import pyarrow as pa

Merge = Callable[[Dataset], Step | Change]


class Regroup(Struct, frozen=True):
    """Write the rows of a stored file again, each into the folder that it belongs to now."""

    place: Place
    file: LiveFile
    number: int
    schema: pa.Schema

    def work(self) -> tuple[Part, ...]:
        """The new parts; memory: what a writer holds back."""
        with self.place.writer(self.number) as writer:
            for table in groups(self.place.store / self.file.path):
                writer.write(recast(table, self.schema))
            return writer.close()


def reformed(place: Place, dataset: Dataset, merge: Merge) -> Step | Change:
    """*merge* of *dataset*, whose files are first written again where they are not as `place.target` says.

    Raises:
        SchemaError: A history of its rows cannot be made, or one cannot go on as something else.
    """
    target, schema = place.target, dataset.schema
    if not dataset.files or schema is None or target.write == "replace":
        return merge(dataset)
    _refuse(place, dataset)
    keyed = target.write == "upsert" and (dataset.write != "upsert" or set(dataset.key) != set(target.key))
    if not keyed and list(map(parse, dataset.partition_by)) == list(map(parse, target.partition_by)):
        return merge(dataset)
    if keyed:
        _refuse_rows_without_key(place, dataset, schema)

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
        return _then(merge(replace(dataset, files=files, **form)), lambda change: _with(change, made))

    units: list[Unit] = [Regroup(place, file, number, schema) for number, file in enumerate(dataset.files)]
    return Step(tuple(units), regrouped)


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


def _refuse_rows_without_key(place: Place, dataset: Dataset, schema: pa.Schema) -> None:
    """Raise `KeyMissing` where the rows that are stored have no such key at all."""
    if missing := [name for name in place.target.key if name not in schema.names]:
        raise KeyMissing(
            f"{place.dataset}: {dataset.rows:,} stored rows have no column {missing[0]!r}, which is the key now",
            "say `key` as it was, or give the resource another name: its rows are read anew",
        )
