"""What analysts call: committed datasets as DataFrame, Arrow dataset or SQL.

    import pipelines
    quakes = pipelines.read("usgs.events", columns=["time", "mag"])
    before = pipelines.read("usgs.events", at=41)
    pipelines.sql("SELECT type, count(*) FROM usgs.events GROUP BY type")

Each answer is of one commit: its files are named by the log and never change,
so a run that commits meanwhile neither disturbs it nor shows through.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from pipelines.config.problems import nearest
from pipelines.errors import ConfigError
from pipelines.load.casting import sql_type
from pipelines.load.lake import Lake
from pipelines.load.log import Commit, Dataset
from pipelines.load.stores import sources_of
from pipelines.patterns import literal

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    import pyarrow.dataset

    from pipelines.config.settings import Settings

At = int | datetime | str | None


def read(
    name: str, *, columns: Sequence[str] | None = None, at: At = None, data: Path | str | None = None
) -> pd.DataFrame:
    """The rows of a dataset as a DataFrame whose columns are Arrow's: integers with nulls stay integers.

    *name* is `source.dataset`, or the dataset alone where no other source has
    one of that name. *at* is a commit number or a time (as text: ISO, in UTC
    where it names no zone), *data* the data folder (by default that of the settings).

    Raises:
        ConfigError: No such dataset or column; the message names those that are there.
        StoreError: No commit that is kept is so old, or a file is damaged.
    """
    import pandas as pd

    from pipelines.load.stored import read_errors

    found = scan(name, at=at, data=data)
    unknown = [column for column in columns or () if column not in found.schema.names]
    if unknown:
        raise ConfigError(
            f"{name} has no column {unknown[0]!r}{nearest(unknown[0], found.schema.names)}",
            f"columns: {', '.join(found.schema.names)}",
        )
    with read_errors():
        table = found.to_table(columns=list(columns) if columns is not None else None)
    return table.to_pandas(types_mapper=pd.ArrowDtype)  # type: ignore[no-any-return] # pyarrow has no types


def scan(name: str, *, at: At = None, data: Path | str | None = None) -> pyarrow.dataset.Dataset:
    """The same rows as a pyarrow dataset: nothing is read before it is asked, and only what is asked.

        import pyarrow.compute as pc
        found = pipelines.scan("usgs.events")
        strong = found.to_table(columns=["time", "mag"], filter=pc.field("mag") >= 6)

    Raises:
        ConfigError: No such dataset.
        StoreError: No commit that is kept is so old.
    """
    return snapshot(name, at=at, data=data).rows


class Snapshot(Struct, frozen=True):
    """A dataset as of one commit; `rows` reads nothing before it is asked."""

    source: str
    name: str
    commit: Commit
    dataset: Dataset
    rows: pyarrow.dataset.Dataset


def snapshot(name: str, *, at: At = None, data: Path | str | None = None) -> Snapshot:
    """What `scan` reads, and what is known of it.

    Raises:
        ConfigError: No such dataset.
        StoreError: No commit that is kept is so old.
    """
    return snapshot_in(_lakes(data), name, at=at)


def snapshot_in(lakes: Mapping[str, Lake], name: str, *, at: At = None) -> Snapshot:
    """The same, of *lakes*."""
    source, dataset_name = _resolved(name, lakes)
    lake = lakes[source]
    commit = _commit(lake, at)
    dataset = commit.datasets.get(dataset_name) if commit else None
    if commit is None or dataset is None:
        known = ", ".join(commit.datasets) if commit else "none"
        raise ConfigError(
            f"commit {commit.n if commit else '-'} of {source} has no {dataset_name!r}", f"it has: {known}"
        )
    return Snapshot(source, dataset_name, commit, dataset, _scanned(lake, dataset))


def sql(query: str, *, at: At = None, data: Path | str | None = None) -> duckdb.DuckDBPyRelation:
    """The answer of a DuckDB query, in which every dataset is a table: `usgs.events`, or `events` where that is clear.

    All tables of a source are of the same commit.

    Raises:
        StoreError: With *at*, no commit of some source that is kept is so old.
    """
    return answer_in(_lakes(data), query, at=at)


def answer_in(lakes: Mapping[str, Lake], query: str, *, at: At = None) -> duckdb.DuckDBPyRelation:
    """The same, of *lakes*."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    commits = {source: commit for source, lake in lakes.items() if (commit := _commit(lake, at))}
    names = [name for commit in commits.values() for name in commit.datasets]
    for source, commit in commits.items():
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(source)}")
        for name, dataset in commit.datasets.items():
            # in full, as a source called `temp` has the name of a catalog
            table = f"memory.{quoted(source)}.{quoted(name)}"
            rows = _select(connection, lakes[source], dataset)
            connection.execute(f"CREATE VIEW {table} AS {rows}")
            if names.count(name) == 1 and name not in commits:
                connection.execute(f"CREATE VIEW {quoted(name)} AS {rows}")
    return connection.sql(query)


def select(files: Sequence[Path | str], dataset: Dataset) -> str:
    """The SQL that reads *files* of *dataset*, older ones with its columns; no rows where there is no file.

    DuckDB takes each as a pattern: see `literal`.
    """
    columns = ", ".join(f"NULL::{sql_type(one.type)} AS {quoted(one.name)}" for one in dataset.schema or ())
    nothing = f"SELECT {columns or 'NULL AS nothing'} WHERE false"
    if not files:
        return nothing
    listed = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    if not dataset.is_mixed:
        return f"SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"  # noqa: S608 - quoted
    return f"{nothing} UNION ALL BY NAME FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"


def quoted(name: str) -> str:
    """*name* as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _select(connection: duckdb.DuckDBPyConnection, lake: Lake, dataset: Dataset) -> str:
    if lake.remote is not None and dataset.files:
        # what DuckDB reads buckets with is an extension that is downloaded; Arrow needs nothing more
        name = dataset.files[0].path
        connection.register(name, _scanned(lake, dataset))
        return f"FROM {quoted(name)}"
    return select([literal(lake.store / file.path) for file in dataset.files], dataset)


def _scanned(lake: Lake, dataset: Dataset) -> pyarrow.dataset.Dataset:
    import pyarrow as pa
    import pyarrow.dataset

    schema = dataset.schema or pa.schema([])
    if not dataset.files:
        return pyarrow.dataset.dataset(schema.empty_table())
    found = lake.addresses(dataset)
    return pyarrow.dataset.dataset(list(found.paths), schema=schema, format="parquet", filesystem=found.filesystem)


def _commit(lake: Lake, at: At) -> Commit | None:
    if at is None:
        return lake.head()
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at)
        except ValueError:
            raise ConfigError(f"at={at!r} is no time", "write it as 2024-05-01 or 2024-05-01T12:00+02:00") from None
    if isinstance(at, datetime):
        return lake.log.at(at if at.tzinfo else at.replace(tzinfo=UTC))
    return lake.log.read(at)


def _lakes(data: Path | str | None) -> dict[str, Lake]:
    """The lake of each source: below the folder *data*, in the bucket that it names, or where the settings say."""
    from pipelines.config.settings import environment, read_settings

    folder = Path(data or "")
    if data is None or str(data).startswith("s3://"):
        settings = read_settings(environment(Path(), os.environ), lake=data)
        return lakes_of(settings)
    return {source: Lake(folder, source) for source in sources_of(folder, None)}


def lakes_of(settings: Settings) -> dict[str, Lake]:
    """The lake of each source where *settings* say."""
    folder, remote = settings.data, settings.remote
    return {source: Lake(folder, source, remote) for source in sources_of(folder, remote)}


def _resolved(name: str, lakes: Mapping[str, Lake]) -> tuple[str, str]:
    """Source and dataset that *name* means."""
    heads = {source: lake.head() for source, lake in lakes.items()}
    known = [f"{source}.{dataset}" for source, head in heads.items() for dataset in (head.datasets if head else ())]
    source, dot, dataset = name.partition(".")
    if dot and source in heads:
        return source, dataset
    found = [one for one in known if one.partition(".")[2] == name]
    if len(found) == 1:
        source, _, dataset = found[0].partition(".")
        return source, dataset
    told = f"{name!r} may be {' or '.join(found)}" if found else f"no dataset {name!r}{nearest(name, known)}"
    raise ConfigError(told, f"datasets: {', '.join(known) or 'none yet, run `threadmill run` first'}")
