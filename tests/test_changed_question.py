"""What is asked for changes while there is a watermark: nothing is lost without a word, and no word is for nothing."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.extract.watermark import Watermark
from pipelines.load.lake import Lake
from pipelines.replay import replay_source
from pipelines.report.result import ResourceReport
from pipelines.report.spans import Span
from pipelines.source_run import Shared, run_source
from tests.commands.calls import threadmill
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.ledger_api import NOW, LedgerApi, row

FAMILY = """\
base_url: {url}
resources:
  shops:
    path: /shops
    paginate: none
    key: id
    write: upsert
    columns: {{at: timestamp}}
    incremental: {{cursor: at, since_param: since, start: 2024-01-01}}
  orders:
    path: /shops/{{shops.id}}/orders
    for_each: {{resource: shops}}
    carry: {{shop: id}}
    paginate: none
    key: [shop, id]
    write: upsert
    columns: {{at: timestamp, changed: timestamp}}
    incremental: {{cursor: {cursor}, since_param: since, until_param: until, start: 2024-01-01}}
    {more}
"""


class Family:
    """Shops that are read from time to time, and the orders of each, with a watermark of its own."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.shops: dict[str, str] = {}
        self.orders: dict[str, list[dict[str, Any]]] = {}
        (folder / "config").mkdir()
        api.route("/shops", self._shops)

    def _shops(self, asked: Asked) -> Answer:
        return say([{"id": name, "at": at} for name, at in self.shops.items() if at > asked.params["since"]])

    def _orders(self, shop: str, cursor: str, asked: Asked) -> Answer:
        since, until = asked.params["since"], asked.params["until"]
        return say([one for one in self.orders[shop] if since <= one[cursor] <= until])

    def read(self, cursor: str = "at", more: str = "", span: Span | None = None) -> ResourceReport:
        """What became of the orders in a run."""
        for name in self.orders:
            self.api.route(f"/shops/{name}/orders", partial(self._orders, name, cursor))
        text = FAMILY.format(url=self.api.url, cursor=cursor, more=more)
        (self.folder / "config/family.yaml").write_text(text)
        project = load_project({}, root=self.folder, data=self.folder / "data")
        source = project.sources["family"]
        return run_source(source, Shared("r", NOW, project.settings, Here()), span).resources[1]

    @property
    def stored(self) -> list[tuple[str, int]]:
        """Shop and number of each order."""
        rows = pq.read_table(self.folder / "data/parquet/family/orders", partitioning=None).to_pylist()
        return sorted((one["shop"], one["id"]) for one in rows)


def order(number: int, at: str, changed: str = "2024-02-01T00:00:00Z") -> dict[str, Any]:
    return {"id": number, "at": at, "changed": changed}


@pytest.fixture
def family(api: FakeApi, tmp_path: Path) -> Family:
    """Two shops, an order each, read once."""
    family = Family(api, tmp_path)
    family.shops = {"a": "2024-05-01T00:00:00Z", "b": "2024-05-01T00:00:00Z"}
    family.orders = {"a": [order(1, "2024-05-01T00:00:00Z")], "b": [order(2, "2024-01-10T00:00:00Z")]}
    assert family.read().problem is None
    return family


def test_another_cursor_is_refused_though_no_parent_is_asked(family: Family) -> None:
    """Else the watermarks would be those of the new one by the time that parents come again."""
    failed = [family.read("changed").problem for _ in range(2)]
    family.shops["a"] = "2024-05-09T00:00:00Z"
    failed.append(family.read("changed").problem)

    assert [one and one.kind for one in failed] == ["CursorError"] * 3
    state = Lake(family.folder / "data", "family").begin("").state("orders")
    assert state["watermark"]["cursor"] == "at"


def test_older_records_of_every_parent_lie_before_the_highest_watermark(family: Family) -> None:
    """The advised backfill reads an order of a shop whose watermark is later than that of the other."""
    family.shops = dict.fromkeys(family.shops, "2024-05-20T00:00:00Z")
    family.orders["a"].append(order(3, "2024-03-01T00:00:00Z"))

    (told,) = family.read(more="params: {state: all}").warnings
    family.shops = dict.fromkeys(family.shops, "2024-05-21T00:00:00Z")
    family.read(more="params: {state: all}", span=Span("2024-01-01", "2024-05-01T00:00:00Z"))

    assert "`threadmill backfill family --from 2024-01-01 --to 2024-05-01T00:00:00Z`" in told
    assert family.stored == [("a", 1), ("a", 3), ("b", 2)]


@pytest.mark.parametrize("line", ["params: {to: '${TODAY}'}", "method: GET", "params: {kind: all}"])
def test_a_question_that_is_the_same_is_no_news(ledger: LedgerApi, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """A variable has another value each day, GET is what is meant anyway, a parameter moves to the whole source."""
    ledger.configure()
    ledger.rows = [row(1, "2024-03-01T00:00:00Z")]
    source = ledger.folder / "config/ledger.yaml"
    plain = source.read_text()
    within, above = plain.replace("    key: id\n", f"    key: id\n    {line}\n"), f"{line}\n{plain}"
    ways = {"method: GET": (plain, within, plain), "params: {kind: all}": (within, above, within)}
    told = []
    for day, text in enumerate(ways.get(line, (within,) * 3), 1):
        source.write_text(text)
        monkeypatch.setenv("TODAY", f"2024-06-0{day}")
        project = load_project(dict(os.environ), root=ledger.folder, data=ledger.data)
        shared = Shared("r", NOW, project.settings, Here())
        told.append(run_source(project.sources["ledger"], shared).resources[0].warnings)

    assert told == [(), (), ()]
    assert Lake(ledger.data, "ledger").log.numbers() == [1]


def test_a_start_that_goes_on_with_the_day_is_no_news(ledger: LedgerApi) -> None:
    """Nor is it earlier when it is what it was at first."""
    ledger.configure()
    ledger.rows = [row(1, "2024-05-01T00:00:00Z")]
    source = ledger.folder / "config/ledger.yaml"
    ledger.read()
    told = []
    for start in ("2024-02-01", "2024-03-01", "2024-01-01", "2023-12-01", "2023-12-01"):
        source.write_text(source.read_text().replace(source.read_text().partition("start: ")[2][:10], start))
        told.append(len(ledger.read().warnings))

    assert told == [0, 0, 0, 1, 0]
    assert Lake(ledger.data, "ledger").log.numbers() == [1, 2]


def test_an_api_that_cannot_be_asked_for_a_span_is_read_again_by_a_reset(ledger: LedgerApi) -> None:
    ledger.configure()
    source = ledger.folder / "config/ledger.yaml"
    source.write_text(source.read_text().replace("since_param: since, until_param: until, ", ""))
    ledger.serve(lambda row, since: True) if False else ledger.api.route(
        "/rows", lambda asked: say({"data": ledger.rows, "total": len(ledger.rows)})
    )
    ledger.rows = [row(1, "2024-05-01T00:00:00Z")]
    ledger.read()
    source.write_text(source.read_text().replace("    key: id\n", "    key: id\n    params: {state: all}\n"))

    (told,) = ledger.read().warnings

    assert "`threadmill state reset ledger.rows` and a run" in told


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_kept_pages_bring_no_rows_back_that_were_dropped(ledger: LedgerApi, write: str) -> None:
    """The API has one of them no more."""
    ledger.configure(write=write)
    ledger.rows = [row(number, f"2024-05-0{number}T00:00:00Z") for number in (1, 2, 3)]
    ledger.read()
    lake = Lake(ledger.data, "ledger")
    with lake.lock("drop"):
        lake.drop(["rows"], "drop")
    del ledger.rows[1]
    ledger.read(now=NOW + timedelta(hours=1))
    project = load_project({}, root=ledger.folder, data=ledger.data)

    replayed = replay_source(project.sources["ledger"], Shared("r", NOW, project.settings, Here()))

    assert [one.problem for one in replayed.resources] == [None]
    assert ledger.stored("id") == [1, 3]


def test_pages_of_another_cursor_are_replayed(ledger: LedgerApi) -> None:
    ledger.configure(more="    columns: {at: timestamp, changed: timestamp}\n")
    ledger.rows = [row(1, "2024-05-01T00:00:00Z", changed="2024-05-01T00:00:00Z")]
    ledger.read()
    ledger.rows.append(row(2, "2024-05-02T00:00:00Z", changed="2024-05-02T00:00:00Z"))
    ledger.read(now=NOW + timedelta(hours=1))
    source = ledger.folder / "config/ledger.yaml"
    source.write_text(source.read_text().replace("cursor: at", "cursor: changed"))
    project = load_project({}, root=ledger.folder, data=ledger.data)

    replayed = replay_source(project.sources["ledger"], Shared("r", NOW, project.settings, Here()))

    assert [one.problem for one in replayed.resources] == [None]
    assert ledger.stored("id") == [1, 2]


def test_another_kind_of_cursor_tells_of_its_watermark_alone(
    ledger: LedgerApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`start` of the first is no time, which nobody need know any more."""
    ledger.configure(incremental=", format: text")
    source = ledger.folder / "config/ledger.yaml"
    source.write_text(
        source.read_text().replace("start: 2024-01-01", "start: a").replace("{at: timestamp}", "{at: string}")
    )
    ledger.api.route("/rows", lambda asked: say({"data": ledger.rows, "total": len(ledger.rows)}))
    ledger.rows = [row(1, "2024-05-01T00:00:00Z")]
    ledger.read()
    source.write_text(source.read_text().replace("start: a, format: text", "start: 2024-01-01"))
    monkeypatch.chdir(ledger.folder)

    (report,) = ledger.run().resources

    assert report.problem is None, report.problem
    assert threadmill("state", "show", "ledger").exit_code == 0


def test_a_watermark_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert Watermark.from_json({"value": "1", "kind": "number", "later": [1]}) == Watermark("1", "number")


def test_a_child_that_is_new_below_a_parent_with_a_watermark_is_told_once(family: Family) -> None:
    """And after a reset of the parent, which the warning names, it is whole."""
    lake = Lake(family.folder / "data", "family")
    with lake.lock("drop"):
        lake.drop(["orders"], "drop")
    family.shops["b"] = "2024-05-09T00:00:00Z"

    told = [family.read().warnings, family.read().warnings]

    assert family.stored == [("b", 2)]
    assert [len(one) for one in told] == [1, 0]
    assert "`threadmill state reset family.shops` and a run" in told[0][0]
    threadmill(
        "state",
        "reset",
        "family.shops",
        "--data",
        str(lake.folder.parents[1]),
        "--config",
        str(family.folder / "config"),
    )
    family.read()
    assert family.stored == [("a", 1), ("b", 2)]
