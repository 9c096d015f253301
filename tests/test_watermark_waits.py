"""The watermark of a parent waits for its children: what they were not asked for is named again by the next run."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.load.lake import Lake
from pipelines.replay import replay_source
from pipelines.report.result import ResourceReport
from pipelines.report.spans import Span, watermark_of
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, say

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SHOP = """\
base_url: {url}
limits: {{in_flight: 1}}
retry: {{attempts: 1}}
resources:
  orders:
    path: /orders
    records: data
    paginate: {{next_url: next}}
    incremental: {{cursor: updated, since_param: since, start: 2024-01-01}}
    key: id
    write: {write}
    columns: {{updated: timestamp}}
  lines:
    for_each: {{resource: orders}}
    path: /orders/{{orders.id}}/lines
    carry: {{order: id}}
    records: data
    paginate: {{offset: {{total: total}}}}
    key: [order, id]
    write: upsert
  notes:
    for_each: {{resource: lines}}
    path: /orders/{{orders.id}}/lines/{{lines.id}}/notes
    carry: {{order: order, line: id}}
    paginate: none
    key: [order, line, id]
    write: upsert
"""
LINE = {"id": 1, "at": "2024-03-04T00:00:00Z"}
DOWN = say({"message": "down"}, 500)


class Orders:
    """Six orders, two a page, each with a line that has a note; `answers` holds other answers by path."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.answers: dict[str, Answer] = {}
        self.stop = threading.Event()
        self.orders = [order(number, number) for number in range(1, 7)]
        (folder / "config").mkdir()
        self.configure("upsert")
        api.route_all(self.answer)

    def configure(self, write: str) -> None:
        """Write the source file; orders are written so."""
        (self.folder / "config" / "shop.yaml").write_text(SHOP.format(url=self.api.url, write=write))

    def run(self, *, days: int = 0, span: Span | None = None) -> dict[str, ResourceReport]:
        """One run so many days later, or a backfill; what became of each resource."""
        project = load_project({}, root=self.folder, data=self.folder / "data")
        shared = Shared("r", NOW + timedelta(days=days), project.settings, Here(), stop=self.stop)
        return {one.resource: one for one in run_source(project.sources["shop"], shared, span).resources}

    def replay(self) -> list[Any]:
        """Make all rows anew from kept pages; what went wrong."""
        project = load_project({}, root=self.folder, data=self.folder / "data")
        report = replay_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))
        return [one for one in (report.problem, *(each.problem for each in report.resources)) if one]

    def stored(self, name: str, column: str) -> list[Any]:
        """The values of one column, sorted, as a plain reader sees them."""
        folder = self.folder / "data" / "parquet" / "shop" / name
        return sorted(pq.read_table(folder, partitioning=None)[column].to_pylist())

    def watermark(self) -> str:
        """That of orders, as a day; nothing where there is none."""
        mark = watermark_of(Lake(self.folder / "data", "shop").begin(""), "orders")
        return mark.value[:10] if mark else ""

    def asked(self, after: int = 0) -> Counter[str]:
        """How often each path was asked for, after so many requests."""
        return Counter(one.path for one in self.api.asked[after:])

    def done(self, name: str) -> list[str]:
        """Where the windows of backfills begin that are done for the resource *name*."""
        state = Lake(self.folder / "data", "shop").begin("").state(name) or {}
        return list(state.get("backfill", {}).get("done", []))

    def answer(self, asked: Asked) -> Answer:
        """What the API says."""
        if asked.path in self.answers:
            return self.answers[asked.path]
        if asked.path.endswith("/lines"):
            return say({"data": [LINE] if asked.params.get("offset", "0") == "0" else [], "total": 1})
        return say([{"id": 1}]) if asked.path.endswith("/notes") else self._page(asked)

    def _page(self, asked: Asked) -> Answer:
        since, number = asked.params["since"], int(asked.params.get("page", 0))
        due = [one for one in self.orders if one["updated"][:10] >= since[:10]]
        more = f"{self.api.url}/orders?since={since}&page={number + 1}" if len(due) > 2 * number + 2 else None
        return say({"data": due[2 * number : 2 * number + 2], "next": more})


def order(number: int, day: int) -> dict[str, Any]:
    return {"id": number, "updated": f"2024-03-{day:02}T00:00:00Z"}


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Orders:
    return Orders(api, tmp_path)


@pytest.mark.parametrize("write", ["upsert", "append", "history"])
@pytest.mark.parametrize("path", ["/orders/4/lines", "/orders/4/lines/1/notes"], ids=["child", "grandchild"])
def test_orders_whose_lines_failed_are_named_again(shop: Orders, path: str, write: str) -> None:
    """The fourth breaks: its orders are stored, the next run asks for none of them again, and all lines are there."""
    shop.configure(write)
    shop.answers[path] = DOWN
    first = shop.run()
    waited, stored = shop.watermark(), shop.stored("orders", "id")
    shop.answers.clear()
    before = len(shop.api.asked)

    second = shop.run(days=1)
    again = shop.asked(before)
    third = shop.run(days=2)

    name = path.rpartition("/")[2]
    told = f"shop.orders: its watermark stays where it was, because {name} failed; the next run goes on"
    assert told in first["orders"].warnings
    assert (waited, stored, first["orders"].problem) == ("", [1, 2, 3, 4, 5, 6], None)
    assert (second["orders"].requests, second["orders"].resumed, second["orders"].warnings) == (0, 3, ())
    assert again[path] == 1
    assert again["/orders/1/lines"] == 0
    assert shop.stored("orders", "id") == [1, 2, 3, 4, 5, 6]
    assert shop.stored("lines", "order") == shop.stored("notes", "order") == [1, 2, 3, 4, 5, 6]
    assert (shop.watermark(), third["orders"].rows_read) == ("2024-03-06", 1)


@pytest.mark.parametrize("write", ["upsert", "append"])
def test_orders_whose_lines_are_incomplete_are_named_again(shop: Orders, write: str) -> None:
    """A line is told and none given; orders are read anew the day after: one has changed, one is new, none twice."""
    shop.configure(write)
    shop.answers["/orders/4/lines"] = say({"data": [], "total": 1})
    first = shop.run()
    waited = shop.watermark()
    shop.answers.clear()
    shop.orders = [*shop.orders[:2], *shop.orders[3:], order(3, 8), order(7, 9)]

    second = shop.run(days=1)
    third = shop.run(days=2)

    assert [first["lines"].verdict, first["notes"].verdict, waited] == ["incomplete", "incomplete", ""]
    assert [one for one in first["orders"].warnings if "because lines is incomplete" in one]
    assert [one.verdict for one in second.values()] == ["unproved"] * 3
    versions = [1, 2, 3, 3, 4, 5, 6, 7] if write == "append" else [1, 2, 3, 4, 5, 6, 7]
    assert shop.stored("orders", "id") == versions
    assert shop.stored("lines", "order") == [1, 2, 3, 4, 5, 6, 7]
    assert (shop.watermark(), third["orders"].new) == ("2024-03-09", 0)


def test_the_watermark_of_orders_waits_for_lines_of_a_run_that_was_stopped(shop: Orders) -> None:
    """The last order's lines are being asked for, and all orders are there: the next run asks for the rest alone."""

    def stopping(asked: Asked) -> Answer:
        shop.stop.set()
        return say({}, delay_s=60)

    shop.api.route("/orders/6/lines", stopping)
    first = shop.run()
    waited = shop.watermark()
    shop.api.route("/orders/6/lines", shop.answer)
    shop.stop.clear()
    before = len(shop.api.asked)
    second = shop.run(days=1)

    assert first["lines"].problem is not None
    assert (first["lines"].problem.kind, first["orders"].problem, waited) == ("Interrupted", None, "")
    assert any("because lines was stopped" in one for one in first["orders"].warnings)
    assert (second["orders"].problem, shop.asked(before)["/orders"]) == (None, 0)
    assert [path for path in shop.asked(before) if path.endswith("/lines")] == ["/orders/6/lines"]
    assert shop.stored("lines", "order") == [1, 2, 3, 4, 5, 6]


def test_a_window_of_a_backfill_is_done_for_orders_once_it_is_for_lines(shop: Orders) -> None:
    """Lines take spans as well here; where they fail, the window is not done for the orders either."""
    source = shop.folder / "config" / "shop.yaml"
    spanned = "    incremental: {cursor: at, since_param: since, start: 2024-01-01}\n    columns: {at: timestamp}\n"
    text = source.read_text().replace("    key: [order, id]\n", f"    key: [order, id]\n{spanned}")
    source.write_text(text.partition("  notes:")[0])
    shop.answers["/orders/4/lines"] = DOWN
    window = Span("2024-03-01", "2024-04-01", "all")

    shop.run(span=window)
    before = shop.done("orders"), shop.done("lines")
    shop.answers.clear()
    shop.run(span=window)

    assert before == ([], [])
    assert (shop.done("orders"), shop.done("lines")) == (["2024-03-01"], ["2024-03-01"])


@pytest.mark.parametrize("write", ["upsert", "append", "history\n    version: updated"])
def test_orders_whose_watermark_waited_are_made_anew_from_kept_pages(shop: Orders, write: str) -> None:
    """Two commits took in the same pages of orders; all rows are there once, and the API is not asked."""
    shop.configure(write)
    shop.answers["/orders/4/lines/1/notes"] = DOWN
    shop.run()
    shop.answers.clear()
    shop.run(days=1)
    before = len(shop.api.asked)
    source = shop.folder / "config" / "shop.yaml"
    source.write_text(source.read_text().replace("{updated: timestamp}", "{updated: timestamp, id: int32}"))

    problems = shop.replay()

    assert (problems, len(shop.api.asked) - before) == ([], 0)
    assert [shop.stored("orders", "id"), shop.stored("lines", "order"), shop.stored("notes", "order")] == [
        [1, 2, 3, 4, 5, 6]
    ] * 3


FORGE = """\
base_url: {url}
retry: {{attempts: 1}}
resources:
  repos: {{path: /repos, paginate: none, key: id}}
  issues:
    for_each: {{resource: repos}}
    path: /repos/{{repos.id}}/issues
    carry: {{repo: id}}
    paginate: none
    incremental: {{cursor: at, start: 2024-01-01}}
    write: append
    columns: {{at: timestamp}}
  comments:
    for_each: {{resource: issues}}
    path: /repos/{{repos.id}}/issues/{{issues.id}}/comments
    carry: {{repo: repo, issue: id}}
    paginate: none
    key: [repo, issue, id]
    write: upsert
"""


def test_appended_rows_of_new_parents_are_not_stored_twice_while_the_watermark_waits(shop: Orders) -> None:
    """`b` joins with rows before the watermark of `a`, one of them before `start`; its comments fail once."""
    source = shop.folder / "config" / "shop.yaml"
    source.write_text(FORGE.format(url=shop.api.url))
    shop.api.answer("/repos", say([{"id": "a"}]))
    shop.api.answer("/repos/a/issues", say([{"id": 9, "at": "2024-03-09T00:00:00Z"}]))
    rows = [{"id": number, "at": at} for number, at in enumerate(("2023-01-01T00:00:00Z", "2024-03-01T00:00:00Z"))]
    shop.api.answer("/repos/b/issues", say(rows))
    for path in ("/repos/a/issues/9/comments", "/repos/b/issues/0/comments", "/repos/b/issues/1/comments"):
        shop.answers[path] = say([{"id": 1}])
    shop.run()
    shop.api.answer("/repos", say([{"id": "a"}, {"id": "b"}]))
    shop.api.answer("/repos/b/issues/1/comments", DOWN, say([{"id": 1}]))

    waiting = shop.run(days=1)
    again = shop.run(days=2)
    last = shop.run(days=9)

    assert waiting["issues"].new == 2
    assert waiting["comments"].problem is not None
    assert [again["issues"].new, last["issues"].new] == [0, 0]
    assert shop.stored("issues", "id") == [0, 1, 9]
    assert shop.stored("comments", "issue") == [0, 1, 9]
