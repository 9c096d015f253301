"""json-server from npm: numbered pages, Link headers, filters by time; it tells its total in a header only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from tests.servers.installed import from_npm
from tests.servers.reader import Reader
from tests.servers.started import free_port, started

VERSION = "0.17.4"
ORDERS, CUSTOMERS = 1234, 23
NOW = datetime(2024, 12, 1, tzinfo=UTC)
SOURCE = """\
base_url: {url}
limits: {{in_flight: 4}}
resources:
  by_link:
    path: /orders
    params: {{_page: 1, _limit: 100}}
    paginate: link_header
    incremental: {{cursor: updated, since_param: updated_gte, start: 2024-01-01}}
    key: id
    write: upsert
    partition_by: month(updated)
    columns: {{updated: timestamp, total: "decimal(12,2)"}}
  by_number:
    path: /orders
    paginate: {{page_number: {{param: _page, size: 100, size_param: _limit}}}}
    key: id
    write: replace
    columns: {{updated: timestamp, total: "decimal(12,2)"}}
  customers:
    path: /customers
    paginate: none
    key: id
    write: replace
  of_customer:
    for_each: {{resource: customers}}
    path: /customers/{{customers.id}}/orders
    carry: {{customer_name: name}}
    params: {{_page: 1, _limit: 20}}
    paginate: link_header
    key: id
    write: upsert
    columns: {{updated: timestamp, total: "decimal(12,2)"}}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The server with ORDERS orders of CUSTOMERS customers."""
    rows = {
        "customers": [{"id": number, "name": f"customer {number}"} for number in range(CUSTOMERS)],
        "orders": [order(number) for number in range(ORDERS)],
    }
    file, port = tmp_path / "db.json", free_port()
    file.write_bytes(orjson.dumps(rows))
    command = [from_npm("json-server", VERSION), file, "--host", "127.0.0.1", "--port", str(port), "--quiet"]
    with started(command, port, tmp_path / "server.log", ready="/customers/1") as url:
        yield url


def order(number: int, *, day: int | None = None) -> dict[str, Any]:
    """An order; ten are updated in each hour."""
    updated = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=number // 10, days=day or 0)
    return {
        "id": number,
        "customerId": number % CUSTOMERS,
        "total": number + 0.25,
        "updated": updated.isoformat().replace("+00:00", "Z"),
    }


def test_links_and_numbers_read_every_row_and_the_next_run_asks_from_the_last_update(
    server: str, reader: Reader
) -> None:
    """1,234 orders three ways; then one is changed and one is new."""
    reader.configure(SOURCE.format(url=server))

    first = reader.read(now=NOW)
    again = reader.read(now=NOW + timedelta(hours=1))
    requests.put(f"{server}/orders/7", json=order(7, day=60), timeout=10).raise_for_status()
    requests.post(f"{server}/orders", json=order(ORDERS, day=60), timeout=10).raise_for_status()
    third = reader.read(now=NOW + timedelta(hours=2))

    assert [first[name].new for name in ("by_link", "by_number", "customers", "of_customer")] == [
        *(ORDERS, ORDERS),
        *(CUSTOMERS, ORDERS),
    ]
    assert {name: one.verdict for name, one in first.items()} == {
        "by_link": "unproved",
        "by_number": "unproved",
        "customers": "complete",
        "of_customer": "unproved",
    }
    assert first["by_link"].requests == 13
    assert [again[name].rows_written for name in first] == [0, 0, 0, 0]
    assert (again["by_link"].rows_read, again["by_link"].requests) == (4, 1)
    assert (third["by_link"].new, third["by_link"].updated, third["by_link"].rows_read) == (1, 1, 6)
    for name in ("by_link", "by_number", "of_customer"):
        assert reader.stored(name, "id") == list(range(ORDERS + 1))
