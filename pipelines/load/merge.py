"""What append, replace and upsert make of the live files and the parts just staged.

All modes leave the files of a dataset with one schema, so that a plain glob
reads them as one: files of another schema are written again in the same commit.
With `older_files: cast` those stay that every reader can cast. A change that
changes nothing keeps the very same files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from pipelines.batch import Part
from pipelines.errors import ExpectationFailed, SchemaError
from pipelines.load.casting import outgrown, refuse_regrouping
from pipelines.load.changes import Change, Place, Step, Unit, by_partition, recasts, refuse_unknown, resolve, work
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.partitions import parse
from pipelines.load.reform import reformed
from pipelines.load.schema import OnMismatch, recast, record_schema, same_columns, unify, with_known_types
from pipelines.load.stored import STAGED, file_schema, groups
from pipelines.load.target import VALIDITY, Target

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Change", "Place", "Step", "plan", "resolve", "work"]


def plan(place: Place, dataset: Dataset, staged: Sequence[Part], on_mismatch: OnMismatch = "widen") -> Step | Change:
    """The first step from *dataset*, as it is committed, and the *staged* parts to its change.

    Parts count as read in the order of their `sequence`. Files that were written with another
    `partition_by`, or under another key, are first written again.

    Raises:
        ExpectationFailed: An empty answer would empty a dataset.
        TypeConflict: Columns come as another type and *on_mismatch* does not widen.
        KeyMissing: With upsert, a row has no key.
        SchemaError: What is stored cannot go on with this `write` and `key`.
    """
    return reformed(place, dataset, staged, lambda where, formed: _merge(where, formed, staged, on_mismatch))


def _merge(place: Place, dataset: Dataset, staged: Sequence[Part], on_mismatch: OnMismatch) -> Step | Change:
    staged = sorted((part for part in staged if part.rows), key=lambda part: part.sequence)
    schemas = {part.path: file_schema(place.store / part.path) for part in staged}
    if place.target.write == "replace":
        return _replace(place, dataset, staged, schemas, on_mismatch)
    if not staged and not (place.drops_missing and dataset.files):
        return Change(dataset.files, schema=dataset.schema)
    known = [dataset.schema] if dataset.schema is not None else []
    if not staged:
        _refuse_empty(place, dataset)
    if place.target.write == "history":
        from pipelines.load.history import history

        _refuse_validity(place, schemas.values())
        records = unify([*map(record_schema, known), *schemas.values()], on_mismatch)
        refuse_unknown(place, records.names)
        return history(place, dataset, staged, records)
    schema = unify([*known, *schemas.values()], on_mismatch)
    refuse_unknown(place, schema.names)
    dataset, stale = outgrown(place, dataset, schema)
    odd = [part for part in staged if not same_columns(schemas[part.path], schema)]
    if place.target.write == "upsert":
        # Polars takes 0.1 s to import, and only merging needs it
        from pipelines.load.upsert import upsert

        for found in schemas.values() if place.target.keys_stay else ():
            refuse_regrouping(place, found, schema, schema)
        return upsert(place, dataset, staged, schema, odd=odd, stale=stale)
    rows = {"new": sum(part.rows for part in staged)}
    again = [file for file in dataset.files if file.path in stale]
    return _adopt(place, dataset.files, [*again, *staged], [*again, *odd], schema=schema, counts=rows)


def _refuse_validity(place: Place, schemas: Iterable[pa.Schema]) -> None:
    if taken := [name for schema in schemas for name in schema.names if name in VALIDITY]:
        raise SchemaError(
            f"{place.dataset}: records have a column {taken[0]!r}, which `write: history` makes itself",
            f"rename it: `rename: {{{taken[0]}: api_{taken[0]}}}`",
        )


def _refuse_empty(place: Place, dataset: Dataset) -> None:
    if dataset.rows and not place.target.allow_empty:
        raise ExpectationFailed(
            f"{place.dataset}: the answer is empty, but {dataset.rows} rows are committed; they are kept",
            "say `allow_empty: true` if an empty answer is right",
        )


def _adopt(  # noqa: PLR0913 - the parts that make a change
    place: Place,
    live: Sequence[LiveFile],
    files: Sequence[LiveFile | Part],
    odd: Sequence[LiveFile | Part],
    *,
    schema: pa.Schema,
    counts: dict[str, int],
    unused: tuple[Part, ...] = (),
) -> Step:
    """Keep *live*, add *files*; those that are *odd* are written again first."""
    # what is only staged gets the schema of the dataset when it is encoded
    odd = [file for file in odd if not file.path.endswith(STAGED)]
    rewritten = {file.path for file in odd}
    fine = [part for part in files if isinstance(part, Part) and part.path not in rewritten]
    dropped = (*unused, *(part for part in odd if isinstance(part, Part)))

    def fold(results: Sequence[tuple[Part, ...]]) -> Change:
        kept = tuple(file for file in live if file.path not in rewritten)
        return Change(kept, (*fine, *chain(*results)), dropped, schema, counts)

    return Step(tuple(recasts(place, odd, schema, live)), fold)


class Compare(Struct, frozen=True):
    """How many rows two sets of files have in common, whatever their order."""

    place: Place
    live: tuple[LiveFile, ...]
    staged: tuple[Part, ...]
    schema: pa.Schema

    def work(self) -> int:
        """The size of the common multiset of rows."""
        one, other = self._hashes(self.live), self._hashes(self.staged)
        values, counts = np.unique(one, return_counts=True)
        others, other_counts = np.unique(other, return_counts=True)
        _, left, right = np.intersect1d(values, others, assume_unique=True, return_indices=True)
        return int(np.minimum(counts[left], other_counts[right]).sum())

    def _hashes(self, files: Sequence[LiveFile | Part]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        from pipelines.load.winners import row_hashes

        tables = chain.from_iterable(groups(self.place.store / file.path) for file in files)
        return np.concatenate([row_hashes(recast(table, self.schema)) for table in tables])


def _replace(
    place: Place, dataset: Dataset, staged: list[Part], schemas: dict[str, pa.Schema], on_mismatch: OnMismatch
) -> Step | Change:
    if not staged:
        _refuse_empty(place, dataset)
    known = dataset.schema
    if known is not None and on_mismatch != "widen":
        unify([known, *schemas.values()], on_mismatch)
    schema = with_known_types(unify(schemas.values()), known) if staged else known
    if schema is None or not staged:
        return Change(schema=schema, counts={"removed": dataset.rows})
    schema = _with_named(schema, known, place.target)
    refuse_unknown(place, schema.names)
    odd = [part for part in staged if not same_columns(schemas[part.path], schema)]
    if known is None or not same_columns(known, schema):
        counts = {"new": sum(part.rows for part in staged), "removed": dataset.rows}
        return _adopt(place, (), staged, odd, schema=schema, counts=counts)
    return _compare(place, dataset, staged, odd, schema)


def _with_named(schema: pa.Schema, known: pa.Schema | None, target: Target) -> pa.Schema:
    """*schema* and those columns of *known* that rows are divided or sorted by: an API may leave out what is null."""
    named = {*target.sort_by, *(parse(text).field for text in target.partition_by)}
    for field in known or ():
        if field.name in named and field.name not in schema.names:
            schema = schema.append(field)
    return schema


def _compare(place: Place, dataset: Dataset, staged: list[Part], odd: list[Part], schema: pa.Schema) -> Step:
    """Keep the live files of those partitions that came again as they were, and are in the order that is wanted."""
    live = by_partition(dataset.files)
    new = by_partition(staged)
    both = [folder for folder in new if folder in live]
    units: list[Unit] = [Compare(place, tuple(live[folder]), tuple(new[folder]), schema) for folder in both]

    def fold(common: Sequence[int]) -> Step:
        rows = dict(zip(both, common, strict=True))
        equal = {folder for folder in both if rows[folder] == _rows(live[folder]) == _rows(new[folder])}
        same = equal if dataset.sort_by == place.target.sort_by else set()
        counts = {"new": _rows(staged) - sum(common), "unchanged": sum(common), "removed": dataset.rows - sum(common)}
        kept = [file for file in dataset.files if file.partition in same]
        parts = [part for part in staged if part.partition not in same]
        unused = tuple(part for part in staged if part.partition in same)
        odd_parts = [part for part in odd if part.partition not in same]
        return _adopt(place, kept, parts, odd_parts, schema=schema, counts=counts, unused=unused)

    return Step(tuple(units), fold)


def _rows(files: Sequence[LiveFile | Part]) -> int:
    return sum(file.rows for file in files)
