"""Datasette from PyPI: keyset paging by URL, by token and by id, its own counts, CSV and NDJSON of the same table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.servers.installed import from_pypi
from tests.servers.reader import Reader
from tests.servers.started import free_port, started

VERSION = "0.65.5"
ROWS = 2503
NOW = datetime(2024, 12, 1, tzinfo=UTC)
SOURCE = """\
base_url: {url}/known
limits: {{in_flight: 4}}
defaults:
  records: rows
  count: {{path: /readings.json, value: filtered_table_rows_count}}
  key: id
  write: upsert
  columns: {{id: int64, at: timestamp, station: string, value: float64}}
resources:
  by_url:
    path: /readings.json
    params: {{_shape: objects, _size: 100}}
    paginate: {{next_url: next_url}}
  by_token:
    path: /readings.json
    params: {{_shape: objects, _size: 250, _sort: at}}
    paginate: {{cursor: {{from: next, param: _next}}}}
    incremental: {{cursor: at, since_param: at__gte, until_param: at__lte, start: 2024-01-01}}
    partition_by: month(at)
  by_id:
    path: /readings.json
    params: {{_shape: objects, _size: 500}}
    paginate: {{last_id: {{param: id__gt}}}}
  by_link:
    path: /readings.json
    params: {{_shape: array, _size: 400}}
    records: "@"
    count: null
    paginate: link_header
  as_ndjson:
    path: /readings.json
    params: {{_shape: array, _nl: "on", _size: 1000}}
    records: "@"
    count: null
    format: ndjson
    paginate: link_header
  as_csv:
    path: /readings.csv
    params: {{_stream: "on", _size: max}}
    records: "@"
    format: csv
    paginate: none
"""
WAYS = ("by_url", "by_token", "by_id", "by_link", "as_ndjson", "as_csv")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A SQLite database with ROWS rows."""
    file = tmp_path / "known.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE readings (id INTEGER PRIMARY KEY, at TEXT, station TEXT, value REAL)")
    insert(file, range(ROWS))
    return file


@pytest.fixture
def server(database: Path, tmp_path: Path) -> Iterator[str]:
    """The server of that database."""
    port = free_port()
    command = [from_pypi("datasette", VERSION), "serve", database, "--host", "127.0.0.1", "--port", str(port)]
    with started(command, port, tmp_path / "server.log", ready="/-/versions.json") as url:
        yield url


def insert(file: Path, numbers: range) -> None:
    """One row for each number; fifty share each hour, one in seven has no value, one station is not ASCII."""
    start = datetime(2024, 1, 30, tzinfo=UTC)
    rows = [
        (
            number,
            (start + timedelta(hours=number // 50)).isoformat().replace("+00:00", "Z"),
            f"Gävle, {number % 3}",
            None if number % 7 == 0 else number / 8,
        )
        for number in numbers
    ]
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executemany("INSERT INTO readings VALUES (?, ?, ?, ?)", rows)


def test_one_table_read_six_ways_is_the_same_table(server: str, database: Path, reader: Reader) -> None:
    """2,503 rows by URL, token, id, Link header, as NDJSON and as CSV; then ten more."""
    reader.configure(SOURCE.format(url=server))

    first = reader.read(now=NOW)
    again = reader.read(now=NOW + timedelta(hours=1))
    insert(database, range(ROWS, ROWS + 10))
    third = reader.read(now=NOW + timedelta(hours=2))

    assert {name: first[name].new for name in WAYS} == dict.fromkeys(WAYS, ROWS)
    unproved = {name for name in WAYS if first[name].verdict != "complete"}
    assert unproved == {"by_link", "as_ndjson"}
    assert first["by_url"].evidence == "2,503 of 2,503 records that the API counts"
    assert {name: again[name].rows_written for name in WAYS} == dict.fromkeys(WAYS, 0)
    assert again["by_token"].rows_read == 3
    assert {name: (third[name].new, third[name].updated) for name in WAYS} == dict.fromkeys(WAYS, (10, 0))
    tables = [reader.stored(name, "id", "at", "station", "value") for name in WAYS]
    assert {name: table == tables[0] for name, table in zip(WAYS, tables, strict=True)} == dict.fromkeys(WAYS, True)
    assert [row[0] for row in tables[0]] == list(range(ROWS + 10))
