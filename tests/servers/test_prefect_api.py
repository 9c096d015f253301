"""Prefect's own REST API: offset and limit in POST bodies, numbered pages with a total, logs asked for by time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from flows.embedded import embedded_api
from tests.servers.reader import Reader

FLOWS = 430
LOGS = 1000
NOW = datetime(2024, 6, 1, tzinfo=UTC)
SOURCE = """\
base_url: {url}
limits: {{in_flight: 4}}
resources:
  flows:
    path: /flows/filter
    body: {{sort: NAME_ASC}}
    idempotent: true
    paginate: {{offset: {{field: offset, size: 150, size_field: limit}}}}
    key: id
    write: upsert
    version: updated
    columns: {{created: timestamp, updated: timestamp, tags: list<string>, labels: json}}
  numbered:
    path: /flows/paginate
    body: {{sort: NAME_ASC}}
    records: results
    idempotent: true
    paginate: {{page_number: {{field: page, size: 150, size_field: limit, total: count}}}}
    key: id
    write: upsert
    version: updated
    columns: {{created: timestamp, updated: timestamp, tags: list<string>, labels: json}}
  logs:
    path: /logs/filter
    body: {{sort: TIMESTAMP_ASC, logs: {{timestamp: {{after_: "{{window.start}}", before_: "{{window.end}}"}}}}}}
    idempotent: true
    paginate: {{offset: {{field: offset, size: 200, size_field: limit}}}}
    incremental: {{cursor: timestamp, start: 2024-01-01}}
    key: id
    write: append
    partition_by: day(timestamp)
    columns: {{timestamp: timestamp}}
"""


@pytest.fixture(scope="module")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a new database that holds FLOWS flows and LOGS logs, ten of which share each second."""
    home = tmp_path_factory.mktemp("prefect")
    environ = {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    with embedded_api(environ, home):
        url = environ["PREFECT_API_URL"]
        for number in range(FLOWS):
            tell(url, "/flows/", {"name": f"flow-{number:04}", "tags": ["even" if number % 2 == 0 else "odd"]})
        write_logs(url, range(LOGS))
        yield url


def tell(url: str, path: str, body: Any) -> None:
    """Make something through the API."""
    requests.post(url + path, json=body, timeout=60).raise_for_status()


def write_logs(url: str, numbers: range) -> None:
    """One log for each number."""
    start = datetime(2024, 3, 1, 23, 59, tzinfo=UTC)
    logs = [
        {
            "name": "mill",
            "level": 20,
            "message": f"log {number}",
            "timestamp": (start + timedelta(seconds=number // 10)).isoformat(),
        }
        for number in numbers
    ]
    tell(url, "/logs/", logs)


def test_offsets_in_post_bodies_read_every_row_and_a_second_run_only_what_is_new(
    prefect_url: str, reader: Reader
) -> None:
    """430 flows in pages of 150, 1,000 logs in pages of 200; then one more flow and 30 more logs."""
    reader.configure(SOURCE.format(url=prefect_url))

    first = reader.read(now=NOW)
    again = reader.read(now=NOW + timedelta(hours=1))
    tell(prefect_url, "/flows/", {"name": "flow-new"})
    write_logs(prefect_url, range(LOGS, LOGS + 30))
    third = reader.read(now=NOW + timedelta(hours=2))

    assert {name: one.new for name, one in first.items()} == {"flows": FLOWS, "numbered": FLOWS, "logs": LOGS}
    assert [first[name].verdict for name in ("flows", "numbered", "logs")] == ["unproved", "complete", "unproved"]
    assert first["numbered"].evidence == "430 of 430 records that the API counts"
    assert {name: one.rows_written for name, one in again.items()} == {"flows": 0, "numbered": 0, "logs": 0}
    assert again["logs"].rows_read == 10
    assert {name: one.new for name, one in third.items()} == {"flows": 1, "numbered": 1, "logs": 30}
    names = [*(f"flow-{number:04}" for number in range(FLOWS)), "flow-new"]
    assert reader.stored("flows", "name") == reader.stored("numbered", "name") == names
    assert reader.stored("logs", "message") == sorted(f"log {number}" for number in range(LOGS + 30))
