"""Rows that come and go while a resource is paged, in whole runs: every row that stays is stored once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config.loading import load
from pipelines.config.project import load_project
from pipelines.errors import ConfigError
from pipelines.records import Records
from pipelines.replay import replay_source
from pipelines.report.result import ResourceReport
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, say

SOURCE = """\
base_url: {url}
limits: {{in_flight: 2}}
resources:
  items:
    path: /items
    records: "{records}"
    paginate: {{offset: {{overlap: 1}}}}
    write: {write}
    {key}
  details:
    for_each: {{resource: items}}
    path: /items/{{items.id}}
    carry: {{item: id}}
    paginate: none
    write: replace
"""
SIZE = 10
ENVELOPES: dict[str, Callable[[Any], Any]] = {
    "@": lambda rows: rows,
    "data": lambda rows: {"page": {"of": 3}, "data": rows, "kind": "items"},
    "result.items": lambda rows: {"result": {"items": rows, "more": [1]}},
    "[1]": lambda rows: [{"page": 1}, rows],
}


class Moving:
    """35 items; what `change` does to them happens before the third request."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.items = [{"id": number, "text": "x" * 500} for number in range(35)]
        self.change: Callable[[list[Any]], Any] = lambda items: None
        self.records = "data"
        self._asked = 0
        api.route("/items", self._page)
        api.route_all(lambda asked: say([{"of": asked.path}]))

    def configure(self, *, write: str = "append", key: str = "", records: str = "data") -> None:
        """Write the source file."""
        self.records = records
        (self.folder / "config").mkdir()
        text = SOURCE.format(url=self.api.url, write=write, key=key, records=records)
        (self.folder / "config" / "moving.yaml").write_text(text)

    def run(self, work: Callable[..., Any] = run_source) -> dict[str, ResourceReport]:
        """One run; nothing may go wrong."""
        project = load_project({}, root=self.folder, data=self.folder / "data")
        report = work(project.sources["moving"], Shared("r", datetime.now(UTC), project.settings, Here()))
        assert [report.problem, *(one.problem for one in report.resources if one.problem)] == [None]
        return {one.resource: one for one in report.resources}

    def stored(self, dataset: str, column: str) -> list[Any]:
        """The sorted values of a column, as a plain reader sees them."""
        table = pq.read_table(self.folder / "data" / "parquet" / "moving" / dataset, partitioning=None)
        return sorted(table[column].to_pylist())

    def _page(self, asked: Asked) -> Answer:
        self._asked += 1
        if self._asked == 3:
            self.change(self.items)
        start = int(asked.params["offset"])
        return say(ENVELOPES[self.records](self.items[start : start + SIZE]))


@pytest.fixture
def moving(api: FakeApi, tmp_path: Path) -> Moving:
    """35 items in pages of ten."""
    return Moving(api, tmp_path)


@pytest.mark.parametrize("records", ENVELOPES)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda items: items.insert(0, {"id": 99, "text": ""}), id="g07-inserted"),
        pytest.param(lambda items: items.pop(0), id="g08-deleted"),
    ],
)
def test_g07_g08_rows_that_move_while_paging_are_stored_once_without_a_key(
    moving: Moving, change: Callable[[list[Any]], Any], records: str
) -> None:
    """35 rows of `append`, 35 children, whatever the envelope; kept pages give the same again."""
    moving.change = change
    moving.configure(records=records)

    report = moving.run()
    first = (moving.stored("items", "id"), moving.stored("details", "item"))
    moving.run(replay_source)

    assert first == (list(range(35)), list(range(35)))
    assert (moving.stored("items", "id"), moving.stored("details", "item")) == first
    assert "each page was joined to the one before it" in report["items"].evidence


@pytest.mark.parametrize("write", ["append", "replace", "upsert"])
def test_pages_that_overlap_by_key_store_every_row_once(moving: Moving, write: str) -> None:
    moving.configure(write=write, key="key: id")

    report = moving.run()

    assert moving.stored("items", "id") == list(range(35))
    assert (report["items"].rows_read, report["details"].rows_read) == (35, 35)


def test_overlap_is_refused_where_records_cannot_be_compared(moving: Moving) -> None:
    moving.configure()
    source = moving.folder / "config" / "moving.yaml"
    source.write_text(source.read_text().replace("path: /items\n", "path: /items\n    format: csv\n", 1))

    with pytest.raises(ConfigError, match="must be a list of JSON objects"):
        load(moving.folder / "config", env={})


def test_overlap_beside_a_total_is_refused(moving: Moving) -> None:
    """It would do nothing, and nobody would know."""
    moving.configure()
    source = moving.folder / "config" / "moving.yaml"
    source.write_text(source.read_text().replace("{overlap: 1}", "{overlap: 1, total: total}"))

    with pytest.raises(ConfigError, match="give `overlap` or the total, not both"):
        load(moving.folder / "config", env={})


def test_what_is_left_of_a_page_has_its_shape() -> None:
    body = b'{"a": [0, {"rows": [{"n": 1.10}, {"n": 2}, {"n": 3}], "b": 1}]}'

    left = Records(rows="a[1].rows").leave_out(body, (0, 2))

    assert left == b'{"a":[null,{"rows":[{"n": 2}]}]}'
