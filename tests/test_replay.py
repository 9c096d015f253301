"""Rows made anew from kept pages of a source that is read whole: what is stored says what it said before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.load.lake import Lake
from pipelines.replay import replay_source
from pipelines.report.result import SourceReport
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import FakeApi, say
from tests.ledger_api import LedgerApi, row

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SHOP = """\
base_url: {url}
retry: {{attempts: 1}}
resources:
  stock: {{path: /stock, records: data, paginate: none, key: id, on_mismatch: quarantine, {how}}}
"""
TEXT, DECIMAL = "columns: {price: string}", "columns: {price: 'decimal(8,2)'}"
MISSING = "deletes: {missing: true}"


class Stock:
    """A list of prices that is read whole each day."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self._api, self._folder, self._days = api, folder, 0
        (folder / "config").mkdir()

    def configure(self, how: str) -> None:
        """Write the source file with *how* in its resource."""
        (self._folder / "config" / "shop.yaml").write_text(SHOP.format(url=self._api.url, how=how))

    def read(self, **prices: str | int) -> SourceReport:
        """What a run makes of these *prices* by id, a day after the one before."""
        return self.take(*({"id": key, "price": price} for key, price in prices.items()))

    def take(self, *records: dict[str, Any]) -> SourceReport:
        """What it makes of these *records*."""
        self._api.answer("/stock", say({"data": records}))
        self._days += 1
        report = run_source(*self._asked())
        assert [report.problem, *(one.problem for one in report.resources)] == [None, None]
        return report

    @property
    def lake(self) -> Lake:
        """Where the rows are."""
        return Lake(self._folder / "data", "shop")

    def forget(self, number: int) -> None:
        """Let the pages of commit *number* be gone."""
        for path in (self._folder / "data" / "spool" / "shop" / "kept" / f"{number:012d}").iterdir():
            path.unlink()

    def replay(self) -> SourceReport:
        """Make all rows anew from kept pages."""
        return replay_source(*self._asked())

    def stored(self) -> list[dict[str, Any]]:
        """What a plain reader sees, by id."""
        folder = self._folder / "data" / "parquet" / "shop" / "stock"
        rows = pq.read_table(folder, partitioning=None).to_pylist() if folder.exists() else []
        return sorted(rows, key=lambda row: (row["id"], str(row.get("valid_from"))))

    def prices(self) -> dict[str, str]:
        """The stored price of each id."""
        return {row["id"]: str(row["price"]) for row in self.stored()}

    def _asked(self) -> Any:
        project = load_project({}, root=self._folder, data=self._folder / "data")
        return project.sources["shop"], Shared("r", NOW + timedelta(days=self._days), project.settings, Here())


@pytest.fixture
def stock(api: FakeApi, tmp_path: Path) -> Stock:
    return Stock(api, tmp_path)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        pytest.param("write: history", "without `version`", id="no-version"),
        pytest.param(f"write: history, version: price, {MISSING}", "`deletes: {missing: true}`", id="missing"),
    ],
)
def test_versions_that_follow_from_when_pages_were_read_are_not_made_anew(stock: Stock, how: str, told: str) -> None:
    """Two days: `a` has another price, and `b` is gone; when that was stands in no page."""
    stock.configure(f"{how}, columns: {{price: timestamp}}")
    stock.read(a="2024-05-01T00:00:00Z", b="2024-05-01T00:00:00Z")
    stock.read(a="2024-05-02T00:00:00Z")
    before = stock.stored()

    report = stock.replay()

    assert report.problem is not None
    assert (report.problem.kind, told in report.problem.message) == ("StoreError", True)
    assert stock.stored() == before
    assert len(before) == 3


def test_a_replay_brings_no_row_back_that_the_newest_read_lacks(stock: Stock) -> None:
    """`b` is gone on the second day; the text of a price becomes a decimal."""
    stock.configure(f"write: upsert, {MISSING}, {TEXT}")
    stock.read(a="1.00", b="1.00")
    stock.read(a="2.00", c="2.00")
    stock.configure(f"write: upsert, {MISSING}, {DECIMAL}")

    report = stock.replay()

    assert [one.problem for one in report.resources] == [None]
    assert report.resources[0].evidence == "made anew from the kept pages of commits 2"
    assert stock.prices() == {"a": "2.00", "c": "2.00"}
    assert {type(row["price"]).__name__ for row in stock.stored()} == {"Decimal"}


def test_a_replay_takes_no_row_for_gone_where_the_newest_read_had_records_set_aside(stock: Stock) -> None:
    """On the second day the price of `b` does not fit: it keeps the one of the first day, as in the run."""
    stock.configure(f"write: upsert, {MISSING}, {DECIMAL}")
    stock.read(a="1.00", b="1.00")
    stock.read(a="2.00", b="a lot")

    report = stock.replay()

    assert [one.problem for one in report.resources] == [None]
    assert stock.prices() == {"a": "2.00", "b": "1.00"}


def test_a_replay_of_the_first_read_makes_all_rows_anew_though_records_were_set_aside(stock: Stock) -> None:
    """The price of `b` fits neither before nor after it has another name."""
    stock.configure(f"write: upsert, {MISSING}, {DECIMAL}")
    stock.read(a="1.00", b="a lot")
    stock.configure(f"write: upsert, {MISSING}, rename: {{price: cost}}, {DECIMAL.replace('price', 'cost')}")

    stock.replay()

    assert [sorted(row) for row in stock.stored()] == [["cost", "id"]]


def test_a_replay_sets_the_same_records_aside_though_nobody_declared_the_type(stock: Stock) -> None:
    """Prices are integers since the first day; on the second the one of `b` is a text."""
    stock.configure("write: upsert")
    stock.read(a=1)
    stock.read(a=2, b="a lot")
    assert stock.prices() == {"a": "2"}

    report = stock.replay()

    assert [(one.problem, one.rejected) for one in report.resources] == [(None, 1)]
    assert stock.prices() == {"a": "2"}


@pytest.mark.parametrize("policy", ["ignore", "fail"])
def test_a_replay_keeps_a_column_that_a_later_run_accepted(stock: Stock, policy: str) -> None:
    """New columns are added on the second day only; no type is declared."""
    stock.configure(f"write: upsert, on_new_column: {policy}")
    stock.read(a=1)
    stock.configure("write: upsert, on_new_column: add")
    stock.take({"id": "b", "price": 2, "stars": 5})
    stock.configure(f"write: upsert, on_new_column: {policy}")
    stock.take({"id": "c", "price": 3, "stars": 4})
    before = stock.stored()

    report = stock.replay()

    assert [one.problem for one in report.resources] == [None]
    assert [row["stars"] for row in stock.stored()] == [None, 5, 4]
    assert stock.stored() == before


def test_a_replay_of_a_newest_read_without_records_leaves_none(stock: Stock) -> None:
    stock.configure(f"write: upsert, allow_empty: true, {MISSING}, {TEXT}")
    stock.read(a="1.00")
    stock.read()

    report = stock.replay()

    assert [one.problem for one in report.resources] == [None]
    assert stock.prices() == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(TEXT, f"{TEXT}, partition_by: price", id="regrouped"),
        pytest.param("columns: {price: int32}", "columns: {price: int64}", id="widened"),
    ],
)
def test_a_replay_refuses_rows_of_kept_pages_that_share_a_file_with_older_ones(
    stock: Stock, before: str, after: str
) -> None:
    """The second commit writes the rows of the first one again; only its own pages are kept."""
    stock.configure(f"write: append, {before}")
    stock.read(a=1)
    stock.configure(f"write: append, {after}")
    stock.read(b=2)
    stock.forget(1)

    report = stock.replay()

    assert report.problem is not None
    assert "rows of kept pages share a file with rows of older ones, since commit 2" in report.problem.message
    assert stock.prices() == {"a": "1", "b": "2"}


def test_a_replay_that_widened_older_rows_is_not_made_anew_as_if_it_had_none(stock: Stock) -> None:
    """The first replay writes the row of the first commit again, beside that of the second."""
    stock.configure("write: append, columns: {price: int32}")
    stock.read(a=1)
    stock.read(b=2)
    stock.forget(1)
    stock.configure("write: append, columns: {price: int64}")

    first, second = stock.replay(), stock.replay()

    assert [first.problem, *(one.problem for one in first.resources)] == [None, None]
    assert second.problem is not None
    assert "since commit 3" in second.problem.message
    assert stock.prices() == {"a": "1", "b": "2"}


def test_appended_rows_of_kept_pages_are_made_anew_more_than_once(stock: Stock) -> None:
    """The row of the first commit stays as it is, those of the others are made anew twice."""
    stock.configure(f"write: append, {TEXT}")
    for key in "abc":
        stock.read(**{key: key})
    stock.forget(1)

    reports = [stock.replay(), stock.replay()]

    assert [report.problem or report.resources[0].problem for report in reports] == [None, None]
    assert {report.resources[0].evidence for report in reports} == {"made anew from the kept pages of commits 2, 3"}
    assert stock.prices() == {"a": "a", "b": "b", "c": "c"}


def test_a_replay_leaves_appended_rows_of_a_commit_alone_if_the_one_before_is_forgotten(stock: Stock) -> None:
    """Nothing tells whether the second commit wrote rows of the first one again; the third did not."""
    stock.configure(f"write: append, {TEXT}")
    for key in "abc":
        stock.read(**{key: key})
    stock.forget(1)
    stock.lake.log.forget([1])

    report = stock.replay()
    stock.lake.log.forget([2, 3])
    refused = stock.replay()

    assert report.resources[0].evidence == "made anew from the kept pages of commits 3"
    assert refused.problem is not None
    assert "as the commit before 3 is forgotten" in refused.problem.message
    assert stock.prices() == {"a": "a", "b": "b", "c": "c"}


@pytest.mark.parametrize(("zone", "hour"), [("America/New_York", 15), ("Asia/Tokyo", 1)])
@pytest.mark.parametrize("noted", [True, False], ids=["zone-noted", "of-an-older-version"])
@pytest.mark.parametrize("write", ["append", "upsert"])
def test_pages_are_found_though_the_cursor_is_in_another_zone_now(
    api: FakeApi, tmp_path: Path, write: str, zone: str, hour: int, *, noted: bool
) -> None:
    """Ten o'clock was taken for that of UTC, and is that of *zone*; an older version noted no zone and meant UTC."""
    ledger, layout = LedgerApi(api, tmp_path), ", format: '%Y-%m-%d %H:%M:%S'"
    columns = "    columns: {{at: {{type: timestamp, zone: {}}}}}\n"
    rows = [row(1, "2024-03-01 10:00:00")]
    api.route("/rows", lambda asked: say({"data": rows, "total": len(rows)}))
    ledger.configure(write=write, incremental=layout, more=columns.format("UTC"))
    ledger.read()
    rows.append(row(2, "2024-03-01 10:30:00"))
    ledger.read()
    for plan in ledger.data.glob("spool/ledger/kept/*/plan.json"):
        told = orjson.loads(plan.read_bytes())
        plan.write_bytes(orjson.dumps({key: value for key, value in told.items() if noted or key != "zones"}))
    ledger.configure(write=write, incremental=layout, more=columns.format(zone))
    project = load_project({}, root=tmp_path, data=ledger.data)

    report = replay_source(project.sources["ledger"], Shared("r", NOW, project.settings, Here()))

    assert [report.problem, *(one.problem for one in report.resources)] == [None, None]
    assert [f"{at.astimezone(UTC):%H:%M}" for at in ledger.stored("at")] == [f"{hour:02}:00", f"{hour:02}:30"]
    assert len(api.asked) == 2
