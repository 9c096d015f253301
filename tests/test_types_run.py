"""Values that fit and do not fit, in whole runs: what becomes of them does not depend on how pages were cut."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.report.result import SourceReport
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import FakeApi, say

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SHOP = """\
base_url: {url}
resources:
  orders:
    path: /orders
    records: data
    paginate: {{next_url: next}}
    {more}
"""


class Shop:
    """A list of orders, a record to a page."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        (folder / "config").mkdir()

    def configure(self, *lines: str) -> None:
        """Write the source file with *lines* in its resource."""
        key = () if any(line.startswith("key:") for line in lines) else ("key: id",)
        text = SHOP.format(url=self.api.url, more="\n    ".join((*key, *lines)))
        (self.folder / "config" / "shop.yaml").write_text(text)

    def read(self, *values: Any, **settings: str) -> SourceReport:
        """A run that reads an order for each of *values*."""
        orders = [{"id": number, "v": value} for number, value in enumerate(values)]
        self.api.pages("/orders", records=orders, page_size=1)
        return self.run(**settings)

    def run(self, **settings: str) -> SourceReport:
        """A run in this process."""
        project = load_project(settings, root=self.folder, data=self.folder / "data")
        return run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))

    def stored(self, dataset: str = "orders") -> list[dict[str, Any]]:
        """What a plain reader sees."""
        folder = self.folder / "data" / "parquet" / "shop" / dataset
        return pq.read_table(folder, partitioning=None).to_pylist() if folder.exists() else []


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    return Shop(api, tmp_path)


def kinds(report: SourceReport) -> list[str]:
    """The kinds of what went wrong."""
    return [one.problem.kind for one in report.resources if one.problem]


@pytest.mark.parametrize("policy", ["fail", "quarantine"])
@pytest.mark.parametrize("write", ["append", "replace", "upsert", "history"])
def test_g19_an_empty_list_that_is_committed_takes_its_type_from_a_later_run(
    shop: Shop, write: str, policy: str
) -> None:
    shop.configure(f"write: {write}", f"on_mismatch: {policy}")
    empty = {"tags": [], "at": {"zip": None}}
    assert kinds(shop.read(empty)) == []

    report = shop.read(empty, {"tags": ["x"], "at": {"zip": "1"}})

    newest = {row["id"]: row["v"] for row in shop.stored()}
    assert (kinds(report), report.resources[0].rejected) == ([], 0)
    assert newest == {0: empty, 1: {"tags": ["x"], "at": {"zip": "1"}}}


@pytest.mark.parametrize("batch_size", ["1B", "16MB"])
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        pytest.param([1, "n/a"], ["TypeConflict"], id="text-after-integer"),
        pytest.param([1, 1.5], ["TypeConflict"], id="fraction-after-integer"),
        pytest.param([1.5, 1], [], id="integer-after-fraction"),
        pytest.param(["n/a", 1, None], [], id="integer-after-text"),
        pytest.param([None, 1, None, 2], [], id="nulls"),
        pytest.param([[], ["x"], []], [], id="empty-lists"),
        pytest.param([[], ["x"], [{"a": 1}], {"a": 1}], ["TypeConflict"], id="object-after-lists"),
        pytest.param([{"a": None}, {"a": 1}, {"b": 2}], [], id="fields-of-objects"),
        pytest.param([{"a": None}, {"a": 1}, {"a": "x"}], ["TypeConflict"], id="text-in-an-object"),
    ],
)
def test_where_a_mismatch_fails_it_does_so_whatever_the_size_of_batches(
    shop: Shop, values: list[Any], problem: list[str], batch_size: str
) -> None:
    """On the first run, of a column that nobody declared; in batches of one page each, and in one of all."""
    shop.configure("write: append", "on_mismatch: fail")

    report = shop.read(*values, THREADMILL_BATCH_SIZE=batch_size)

    assert kinds(report) == problem
    assert len(shop.stored()) == (0 if problem else len(values))


def test_a_mismatch_between_batches_fails_where_records_are_set_aside(shop: Shop) -> None:
    """Both batches are written when it is found, each with its own type; the next run knows the type of the last."""
    shop.configure("write: append", "on_mismatch: quarantine")

    first = shop.read(1, "n/a", THREADMILL_BATCH_SIZE="1B")
    assert (kinds(first), shop.stored()) == (["TypeConflict"], [])
    assert kinds(shop.read(1)) == []
    last = shop.read(1, "n/a", 2, THREADMILL_BATCH_SIZE="1B")

    assert (kinds(last), last.resources[0].rejected) == ([], 1)


def test_what_parents_give_may_be_of_any_type_in_each_batch(shop: Shop) -> None:
    each = "for_each: {values: {shop: [1, x, 2.5]}}"
    shop.configure("write: replace", "on_mismatch: fail", each, 'params: {shop: "{shop}"}', "carry: {of: shop}")
    shop.api.answer("/orders", say({"data": [{"id": 1}]}))

    report = shop.run(THREADMILL_BATCH_SIZE="1B")

    assert (kinds(report), sorted(row["of"] for row in shop.stored())) == ([], ["1", "2.5", "x"])


def test_records_whose_parent_gives_what_does_not_fit_are_set_aside(shop: Shop) -> None:
    each = "for_each: {values: {shop: [x, 2, 3]}}"
    gives = ('params: {shop: "{shop}"}', "carry: {of: shop}", "columns: {of: int64}")
    shop.configure("write: replace", "on_mismatch: quarantine", each, *gives)
    shop.api.route("/orders", lambda asked: say({"data": [{"id": f"{asked.params['shop']}-1"}]}))

    report = shop.run()

    assert (kinds(report), report.resources[0].rows_read, report.resources[0].rejected) == ([], 3, 1)
    assert sorted((row["id"], row["of"]) for row in shop.stored()) == [("2-1", 2), ("3-1", 3)]
    assert [row["record"] for row in shop.stored("orders__rejects")] == ['{"id":"x-1"}']
