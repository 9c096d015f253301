"""A mart written in SQL: one DuckDB query over views of its input files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipelines.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import dataset


def run_query(file: Path, views: Mapping[str, dataset.Dataset]) -> pa.Table:
    """The result of the query in *file* over *views*.

    The query sees the views and nothing else: no file, no network, no extension,
    no variable of ours. One thread, so that equal input gives equal rows; their
    order is what the query's `ORDER BY` says.
    """
    try:
        query = file.read_text(encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror}", "correct `sql` of the mart") from error
    with duckdb.connect(":memory:", config={"threads": 1}) as database:
        for view, rows in views.items():
            database.register(view, rows)
        database.execute("SET TimeZone = 'UTC'")
        database.execute("SET python_enable_replacements = false")
        database.execute("SET enable_external_access = false")
        database.execute("SET lock_configuration = true")
        table: pa.Table = database.sql(query).to_arrow_table()
    return table


def files_of(paths: Sequence[str], schema: pa.Schema | None = None) -> dataset.Dataset:
    """Parquet files as one dataset with the columns of *schema*, or of all; nothing is read from folder names.

    Without files it has no rows, and the columns of *schema*.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import dataset

    if schema is not None and not paths:
        return dataset.dataset(schema.empty_table())
    schema = schema or pa.unify_schemas([pq.read_schema(path) for path in paths])
    return dataset.dataset(list(paths), schema=schema, format="parquet")
