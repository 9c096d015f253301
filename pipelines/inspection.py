"""The checks of `expect` that only make sense of a whole dataset, before it is committed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from pipelines.errors import ExpectationFailed
from pipelines.load.target import IS_CURRENT, Write
from pipelines.milled import describe
from pipelines.transform.checks import Expectation, Expectations, enforce, violations

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.load.changes import Change
    from pipelines.load.draft import Draft

_ROW = "·row"
EXPECTATIONS: TypeAdapter[Expectations] = TypeAdapter(Expectations)
"""Reads the checks of a mart, whose model knows them as plain mappings only."""


def to_inspect(checks: Iterable[Expectation], draft: Draft, name: str, change: Change) -> Expectations:
    """Those of *checks* that *change* of dataset *name* may break; age breaks `freshness` without one.

    All of them, if the last commit was made with another configuration: they may be new.
    """
    files = draft.dataset(name).files
    is_same = bool(files) and not change.added and len(change.kept) == len(files)
    is_same = is_same and draft.head is not None and draft.head.config_hash == draft.commit.config_hash
    return tuple(one for one in checks if not is_same or one.freshness is not None)


def inspect(
    files: Sequence[Path], checks: Expectations, name: str, now: datetime, write: Write = "replace"
) -> tuple[str, ...]:
    """Check the dataset in *files*; a sentence for each check that only warns. For a worker.

    Only columns that checks look at are read. Without a row every check holds but `min_rows`.
    Of a history only the current rows count: a key comes again with each of its versions.

    Raises:
        ExpectationFailed: A check of severity fail does not hold.
    """
    columns = {column for one in checks for column in one.columns}
    table = _current(files, columns) if write == "history" else _table(files, columns)
    checks = checks if table.num_rows else tuple(one for one in checks if one.min_rows is not None)
    try:
        found = violations(table, checks, now)
    except ExpectationFailed as error:
        raise describe(error, name) from None
    enforce(found, name)
    return tuple(f"{name}: {one.message}" for one in found if one.severity == "warn")


def _current(files: Sequence[Path], columns: set[str]) -> pa.Table:
    table = _table(files, {*columns, IS_CURRENT})
    return table.filter(table[IS_CURRENT]) if files else table


def _table(files: Sequence[Path], columns: set[str]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines.load.schema import recast, unify

    if not columns:
        return pa.table({_ROW: pa.nulls(sum(pq.read_metadata(file).num_rows for file in files))})
    tables = []
    for file in files:
        with pq.ParquetFile(file) as opened:
            names = [name for name in opened.schema_arrow.names if name in columns]
            # a table without columns would have no rows either
            tables.append(opened.read(names) if names else pa.table({_ROW: pa.nulls(opened.metadata.num_rows)}))
    schema = unify(table.schema for table in tables)
    return pa.concat_tables([recast(table, schema) for table in tables]) if tables else pa.table({})
