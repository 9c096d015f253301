"""What lies between two commits: rows, files, columns and states of each dataset.

Only files that one commit has and the other has not are read. With a key, rows
are told apart by it; without one, a row that changed is one gone and one new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from msgspec import Struct

from pipelines.batch import Json
from pipelines.load.log import Commit, Dataset, LiveFile
from pipelines.load.schema import recast, unify
from pipelines.load.stored import groups
from pipelines.load.winners import row_hashes

if TYPE_CHECKING:
    import pyarrow as pa

_KEY, _ROW = "key", "row"


class Difference(Struct, frozen=True):
    """How a dataset got from one commit to another.

    `columns` says "+ name type", "- name type" or "name: type > type".
    """

    dataset: str
    rows_before: int
    rows_after: int
    added: int
    removed: int
    changed: int
    files_added: int
    files_removed: int
    columns: tuple[str, ...] = ()
    state_before: Json = None
    state_after: Json = None


Bring = Callable[[Iterable[LiveFile]], None]
"""Sees to it that files can be read in the store."""


def differences(one: Commit, other: Commit, store: Path, bring: Bring) -> list[Difference]:
    """What became of each dataset that is not the same in both commits.

    Raises:
        StoreError: A file of one of them is gone.
    """
    names = dict.fromkeys((*one.datasets, *other.datasets))
    pairs = ((name, one.datasets.get(name, Dataset()), other.datasets.get(name, Dataset())) for name in names)
    return [_difference(name, before, after, store, bring) for name, before, after in pairs if not _same(before, after)]


def _same(before: Dataset, after: Dataset) -> bool:
    paths = [{file.path for file in dataset.files} for dataset in (before, after)]
    return paths[0] == paths[1] and before.state == after.state and before.columns == after.columns


def _difference(name: str, before: Dataset, after: Dataset, store: Path, bring: Bring) -> Difference:
    gone, new = _only(before, after), _only(after, before)
    bring([*gone, *new])
    added, removed, changed = _rows(gone, new, after.key or before.key, store)
    return Difference(
        dataset=name,
        rows_before=before.rows,
        rows_after=after.rows,
        added=added,
        removed=removed,
        changed=changed,
        files_added=len(new),
        files_removed=len(gone),
        columns=tuple(_columns(before.schema, after.schema)),
        state_before=before.state,
        state_after=after.state,
    )


def _only(one: Dataset, other: Dataset) -> list[LiveFile]:
    paths = {file.path for file in other.files}
    return [file for file in one.files if file.path not in paths]


def _rows(gone: Sequence[LiveFile], new: Sequence[LiveFile], key: Sequence[str], store: Path) -> tuple[int, int, int]:
    """How many rows of *new* are added, of *gone* removed, and of both changed."""
    tables = [[table for file in files for table in groups(store / file.path)] for files in (gone, new)]
    schemas = [table.schema for table in (*tables[0], *tables[1])]
    if not schemas:
        return 0, 0, 0
    schema = unify(schemas)
    key = key if set(key) <= set(schema.names) else ()
    old, young = (_hashes(each, schema, key) for each in tables)
    # equal rows cancel each other out, however often each is there
    joined = old.join(young, on=[_KEY, _ROW], how="full", coalesce=True, nulls_equal=True)
    counts = joined.with_columns(pl.col("len", "len_right").fill_null(0))
    less = counts.filter(pl.col("len") > pl.col("len_right")).with_columns(left=pl.col("len") - pl.col("len_right"))
    more = counts.filter(pl.col("len") < pl.col("len_right")).with_columns(left=pl.col("len_right") - pl.col("len"))
    changed = len(set(less[_KEY]) & set(more[_KEY])) if key else 0
    return int(more["left"].sum()) - changed, int(less["left"].sum()) - changed, changed


def _hashes(tables: Iterable[pa.Table], schema: pa.Schema, key: Sequence[str]) -> pl.DataFrame:
    """How often each pair of key and row occurs."""
    frames = [pl.DataFrame(schema={_KEY: pl.UInt64, _ROW: pl.UInt64})]
    for table in tables:
        whole = recast(table, schema)
        rows = row_hashes(whole)
        keys = row_hashes(whole.select(list(key))) if key else rows
        frames.append(pl.DataFrame({_KEY: keys, _ROW: rows}))
    return pl.concat(frames).group_by(_KEY, _ROW).len()


def _columns(before: pa.Schema | None, after: pa.Schema | None) -> Iterator[str]:
    old, new = ({field.name: field.type for field in schema or ()} for schema in (before, after))
    yield from (f"- {name} {kind}" for name, kind in old.items() if name not in new)
    yield from (f"+ {name} {kind}" for name, kind in new.items() if name not in old)
    yield from (f"{name}: {old[name]} > {kind}" for name, kind in new.items() if name in old and old[name] != kind)
