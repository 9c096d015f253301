"""`catalog.duckdb`: a view of each dataset, so that SQL finds them by name."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.load.casting import sql_type
from pipelines.load.lake import Lake
from pipelines.load.log import Dataset
from pipelines.load.stores import Remote
from pipelines.patterns import literal
from pipelines.reading import quoted, select

DATABASE = "catalog.duckdb"
_WAS_EMPTY = "this dataset was empty when its view was made: `threadmill catalog` makes it anew"


def write_database(data: Path, statements: Sequence[str], remote: Remote | None) -> None:
    """A view of each dataset over the folder that analysts read: it shows the newest commit, whenever it is asked.

    Over a bucket it shows the commit that was the newest when the catalog was written.
    """
    import duckdb

    aside = data / f".{DATABASE}-{uuid.uuid4().hex}"
    try:
        with duckdb.connect(str(aside)) as connection:
            if remote is not None:
                from pipelines.load.bucket import for_duckdb

                connection.register_filesystem(for_duckdb(remote))
            connection.begin()  # or each statement would be synced to disk by itself
            for statement in statements:
                connection.execute(statement)
            connection.commit()
        aside.replace(data / DATABASE)
    except duckdb.Error as error:
        raise OSError(None, f"DuckDB: {str(error).splitlines()[0]}", str(data / DATABASE)) from error
    finally:
        for path in data.glob(f"{aside.name}*"):
            path.unlink(missing_ok=True)


def statements_of(
    name: str, lake: Lake, dataset: Dataset, description: str, columns: Mapping[str, tuple[str, str]]
) -> Iterator[str]:
    """What makes the view of *dataset*, with what is known of it and its *columns* (text and unit) as comments."""
    view = f"{quoted(lake.source)}.{quoted(name)}"
    shown = Path(literal(lake.shown.resolve()), name, "**", "*.parquet")
    if lake.remote is not None:
        # in a bucket old files lie beside new ones, so the view names those of this commit
        rows = select([f"s3://{path}" for path in lake.addresses(dataset).paths], dataset)
    else:
        rows = select([shown], dataset) if dataset.files else _none_yet(shown, dataset)
    yield f"CREATE SCHEMA IF NOT EXISTS {quoted(lake.source)}"
    yield f"CREATE VIEW {view} AS {rows}"
    yield f"COMMENT ON VIEW {view} IS {_literal(description)}"
    for column in dataset.schema or ():
        text, unit = columns.get(column.name, ("", ""))
        if told := " ".join(filter(None, (text, f"[{unit}]" if unit else ""))):
            yield f"COMMENT ON COLUMN {view}.{quoted(column.name)} IS {_literal(told)}"


def _none_yet(shown: Path, dataset: Dataset) -> str:
    """No rows while no file is *shown*, and an error from then on: that there are none must not be told of new ones.

    Each column and the condition are the error, so that no question is answered without asking one of them.
    """
    refused = f"error({_literal(_WAS_EMPTY)})"
    columns = ", ".join(f"{refused}::{sql_type(one.type)} AS {quoted(one.name)}" for one in dataset.schema or ())
    files = f"glob({_literal(str(shown))})"
    return f"SELECT {columns or 'NULL AS nothing'} FROM {files} WHERE {refused}::BOOLEAN"  # noqa: S608 - quoted


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
