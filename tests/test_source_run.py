"""Sources in whole runs, where one part of them goes wrong: nothing lost, nothing doubled, everything told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import pipelines
from pipelines.config.loading import Source
from pipelines.config.project import Project, load_project
from pipelines.errors import ConfigError
from pipelines.extract.events import Event
from pipelines.report.result import ResourceReport, SourceReport
from pipelines.run import run
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.ledger_api import NOW, LedgerApi, later, row
from tests.shop import Shop, expected, seen

TWO = """\
base_url: {url}
limits: {{in_flight: 1}}
retry: {{attempts: 1}}
defaults:
  records: data
  paginate: {{next_url: next}}
  incremental: {{cursor: at, since_param: since, until_param: until, start: 2024-01-01}}
  key: id
  write: upsert
  columns: {{at: timestamp}}
resources:
  broken: {{path: /broken}}
  healthy: {{path: /healthy}}
"""


class Pair:
    """A resource whose second page fails until `mended`, beside a healthy one."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder, self.mended = api, folder, False
        (folder / "config").mkdir()
        (folder / "config" / "pair.yaml").write_text(TWO.format(url=api.url))
        for path in ("/broken", "/healthy"):
            api.route(path, self._answer)

    def run(self, now: datetime, **more: Any) -> dict[str, ResourceReport]:
        """One run at *now*, in this process."""
        project = load_project({}, root=self.folder, data=self.folder / "data")
        report = run_source(project.sources["pair"], Shared("r", now, project.settings, Here(), **more))
        return {resource.resource: resource for resource in report.resources}

    def asked(self, path: str) -> list[str]:
        """The upper bound of each request for *path*."""
        return [asked.params["until"] for asked in self.api.asked if asked.path == path]

    def _answer(self, asked: Asked) -> Answer:
        number = int(asked.params.get("page", 1))
        if asked.path == "/broken" and number == 2 and not self.mended:
            return say({"message": "down"}, 500)
        bounds = f"since={asked.params['since']}&until={asked.params['until']}"
        following = f"{self.api.url}{asked.path}?page={number + 1}&{bounds}"
        rows = [{"id": number, "at": f"2024-01-0{number}T00:00:00Z"}]
        return say({"data": rows, "next": following if number < 3 else None})


@pytest.fixture
def pair(api: FakeApi, tmp_path: Path) -> Pair:
    return Pair(api, tmp_path)


def test_a_resource_that_fails_does_not_stop_the_clock_of_its_healthy_siblings(pair: Pair) -> None:
    """Three runs, a day apart, the last of them mended: `broken` asks its old question on, `healthy` up to each day."""
    pair.run(NOW)
    pair.run(later(1))
    pair.mended = True

    third = pair.run(later(2))

    assert set(pair.asked("/broken")) == {"2024-06-01T12:00:00Z"}
    assert pair.asked("/healthy")[::3] == ["2024-06-01T12:00:00Z", "2024-06-02T12:00:00Z", "2024-06-03T12:00:00Z"]
    assert (third["broken"].problem, third["broken"].resumed) == (None, 1)
    assert len(seen(pair.folder / "data", "pair/broken")) == 3


@pytest.mark.parametrize(("days", "resumed"), [(6.9, 1), (7.1, 0)], ids=["within", "after"])
def test_pages_older_than_their_retention_are_asked_for_again(pair: Pair, days: float, resumed: int) -> None:
    """Kept for seven days: what was fetched before is no longer what the API has."""
    pair.run(NOW)
    pair.mended = True

    again = pair.run(later(days))

    assert (again["broken"].problem, again["broken"].resumed) == (None, resumed)
    assert len(pair.asked("/broken")) == 2 + 3 - resumed


def test_a_run_without_its_lake_keeps_what_was_shown_and_tells_it(ledger: LedgerApi) -> None:
    """The API no longer has the rows that only the view still holds."""
    ledger.configure()
    ledger.rows = [row(1, "2024-03-01T00:00:00Z")]
    ledger.run()
    shutil.rmtree(ledger.data / "lake")
    ledger.rows = [row(2, "2024-03-02T00:00:00Z")]

    report = ledger.run()

    (kept,) = (ledger.data / "lake" / "ledger" / "foreign").rglob("*.parquet")
    assert report.foreign == ("rows",)
    assert pq.read_table(kept, partitioning=None)["id"].to_pylist() == [1]
    assert ledger.stored("id") == [2]


def test_a_commit_that_cannot_be_shown_yet_is_told_and_the_next_run_shows_it(api: FakeApi, tmp_path: Path) -> None:
    """A file stands where the view is put together, from the first answer on; the commit stands, so nothing failed."""
    shop, data = Shop(api, tmp_path), tmp_path / "data"
    aside, answer = data / "lake" / "shop" / "aside", api.routed("/shop/events")

    def block(asked: Asked) -> Answer:
        aside.touch()
        return answer(asked)

    api.route("/shop/events", block)
    ran = shop.run()
    before = seen(data, "shop/events")
    (report,), (page,) = (list((data / "runs").glob(f"*.{kind}")) for kind in ("json", "html"))
    sources = {one["source"]: one for one in json.loads(report.read_bytes())["sources"]}
    aside.unlink()
    api.route("/shop/events", answer)
    again = shop.run()

    told = "shop: commit 1 is not shown yet: showing the commit failed"
    places = {"table": " ".join(ran.out.split()), "log": ran.err, "page": page.read_text(encoding="utf-8")}
    assert (ran.code, again.code) == (0, 0)
    assert {place for place, text in places.items() if told not in text} == set()
    assert [warning.startswith(told) for warning in sources["shop"]["warnings"]] == [True]
    assert sources["bank"]["warnings"] == []
    assert "not shown yet" not in again.out + again.err
    assert (before, seen(data, "shop/events")) == ([], expected("shop/events", 1))


def test_what_a_run_has_moved_out_of_the_view_is_told_beside_its_table(api: FakeApi, tmp_path: Path) -> None:
    shop = Shop(api, tmp_path)
    shop.run()
    (tmp_path / "data" / "parquet" / "shop" / "notes.txt").touch()

    ran = shop.run()

    assert ran.code == 0
    assert "warning: shop: notes.txt was not ours and is moved aside" in ran.out
    assert "shop: notes.txt was not ours and is moved aside" in ran.err


def test_a_record_that_is_set_aside_is_not_taken_for_gone(api: FakeApi, tmp_path: Path) -> None:
    """Its new version does not fit; the committed one stays, and the next whole read may remove it again."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\n"
        "resources:\n"
        "  stock: {path: /stock, records: data, paginate: {next_url: next}, key: id, write: upsert,\n"
        "    deletes: {missing: true}, columns: {id: int64, price: int64}, on_mismatch: quarantine}\n"
    )
    stored: list[list[int]] = []

    for prices in ({1: 5, 2: 7}, {1: 6, 2: "a lot"}, {1: 6}):
        api.pages("/stock", records=[{"id": key, "price": price} for key, price in prices.items()])
        project = load_project({}, root=tmp_path, data=tmp_path / "data")
        run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))
        stored.append([dict(one)["id"] for one in seen(tmp_path / "data", "shop/stock")])

    assert stored == [[1, 2], [1, 2], [1]]


@pytest.mark.parametrize("transform", ["", "same:same"])
@pytest.mark.parametrize(
    ("policy", "write"), [("fail", "append"), ("fail", "replace"), ("quarantine", "upsert"), ("widen", "append")]
)
def test_a_type_that_changes_between_commits_goes_as_the_policy_says(
    api: FakeApi, tmp_path: Path, policy: str, write: str, transform: str
) -> None:
    """Of a column that nobody declared; what a transform makes cannot be set aside record by record, so it fails."""
    (tmp_path / "config").mkdir()
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "same.py").write_text("def same(frame):\n    return frame\n")
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\nresources:\n  orders:\n    path: /orders\n    records: data\n    paginate: none\n"
        f"    key: id\n    write: {write}\n    on_mismatch: {policy}\n"
        + (f"    transform: {transform}\n" * bool(transform))
    )
    project = load_project(
        {"THREADMILL_TRANSFORMS": str(tmp_path / "functions")}, root=tmp_path, data=tmp_path / "data"
    )
    api.route("/orders", lambda asked: say({"data": [{"id": 1, "v": 1}]}))
    assert run(project).problems == []
    api.route("/orders", lambda asked: say({"data": [{"id": 2, "v": "two"}, {"id": 3, "v": 3}]}))

    report = run(project)

    kinds = [problem.kind for _, problem in report.problems]
    rows = {row["id"]: row["v"] for row in pq.read_table(tmp_path / "data/parquet/shop/orders").to_pylist()}
    if policy == "widen":
        assert (kinds, rows) == ([], {1: "1", 2: "two", 3: "3"})
    elif policy == "quarantine" and not transform:
        assert (kinds, rows) == ([], {1: 1, 3: 3})
        assert len(pq.read_table(tmp_path / "data/parquet/shop/orders__rejects")) == 1
    else:
        assert (kinds, rows) == (["TypeConflict"], {1: 1})


@pytest.mark.parametrize("write", ["replace", "append"])
def test_keys_that_are_texts_first_and_integers_last_become_texts(api: FakeApi, tmp_path: Path, write: str) -> None:
    """11,000 rows are a row group of their own, the 1,000 after them are only staged; then there are 12,000 more."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\nresources:\n"
        f"  orders: {{path: /orders, records: data, paginate: {{next_url: next}}, key: id, write: {write}}}\n"
    )
    project = load_project({"THREADMILL_BATCH_SIZE": "100KB"}, root=tmp_path, data=tmp_path / "data")
    ids: list[int | str] = [f"n{number}" if number % 2 else number for number in range(11_000)]
    ids += range(11_000, 12_000)
    api.pages("/orders", records=[{"id": one} for one in ids], page_size=11_000)
    first = run(project)
    api.pages("/orders", records=[{"id": one} for one in range(20_000, 32_000)], page_size=11_000)

    second = run(project)

    wanted = ([*map(str, ids)] if write == "append" else []) + [str(one) for one in range(20_000, 32_000)]
    assert (first.problems, second.problems) == ([], [])
    stored = pq.read_table(tmp_path / "data/parquet/shop/orders")["id"].to_pylist()
    assert sorted(map(str, stored)) == sorted(wanted)


def test_a_mask_that_covers_nothing_is_told(api: FakeApi, tmp_path: Path) -> None:
    """A slip of the pen in its path must not leave a field in the open unnoticed."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\n"
        "resources:\n"
        "  people: {path: /people, records: data, paginate: {next_url: next}, key: id, write: upsert,\n"
        "    mask: {emial: drop, phones: last4}}\n"
    )
    api.pages("/people", records=[{"id": 1, "email": "a@b.example", "phones": ["0123456789"]}])
    project = load_project({}, root=tmp_path, data=tmp_path / "data")

    report = run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))

    assert report.resources[0].warnings == (
        "shop.people: `mask` names 'emial', which no record has: it covered nothing",
    )
    assert "0123456789" not in str(seen(tmp_path / "data", "shop/people"))


@pytest.mark.parametrize("layout", ["%b", '{"data": %b}'])
def test_a_large_list_that_is_broken_in_its_middle_fails_and_is_asked_for_again(
    api: FakeApi, tmp_path: Path, layout: str
) -> None:
    """The thread that fetches looks at both ends of 40 kB; the worker reads every byte."""
    (tmp_path / "config").mkdir()
    records = ", records: data" if "data" in layout else ""
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\nresources: {{stock: {{path: /stock{records}}}}}\n"
    )
    whole = layout.replace("%b", json.dumps([{"id": number, "text": "x" * 80} for number in range(400)]))
    kinds = []

    for body in (whole.replace('"id": 200', '"id" 200'), whole):
        api.answer("/stock", Answer(body=body.encode()))
        project = load_project({}, root=tmp_path, data=tmp_path / "data")
        report = run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))
        kinds.append([one.problem and one.problem.kind for one in report.resources])

    assert kinds == [["DecodeError"], [None]]
    assert len(seen(tmp_path / "data", "shop/stock")) == 400


def test_a_read_that_lacks_records_does_not_replace_one_that_has_more(api: FakeApi, tmp_path: Path) -> None:
    """10 of 10, then 4 of 10, then 4 of 4."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\n"
        "resources:\n"
        "  stock: {path: /stock, records: data, paginate: {page_number: {total: total}}, key: id, write: replace}\n"
    )
    kinds, rows = [], []

    for given, total in ((10, 10), (4, 10), (4, 4)):
        first = say({"data": [{"id": number} for number in range(given)], "total": total})
        api.answer("/stock", first, say({"data": [], "total": total}))
        project = load_project({}, root=tmp_path, data=tmp_path / "data")
        report = run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))
        kinds.append([one.problem and one.problem.kind for one in report.resources])
        rows.append(len(seen(tmp_path / "data", "shop/stock")))

    assert kinds == [[None], ["ExpectationFailed"], [None]]
    assert rows == [10, 10, 4]


@pytest.mark.parametrize("how", ["on_mismatch: quarantine, columns: {price: int64}", "transform: 'few:priced'"])
def test_a_read_that_lacks_records_is_told_by_the_rows_that_come_of_it(api: FakeApi, tmp_path: Path, how: str) -> None:
    """8 rows come of 10 records; the next read has 9 of them, which is more than 8, but only 7 rows come of these."""
    (tmp_path / "config").mkdir()
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "few.py").write_text("def priced(frame):\n    return frame[frame['price'] != 'a lot']\n")
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\n"
        "resources:\n"
        "  stock: {path: /stock, records: data, paginate: {page_number: {total: total}}, key: id, write: replace,\n"
        f"    {how}}}\n"
    )
    settings = {"THREADMILL_TRANSFORMS": str(tmp_path / "functions")}
    records = [{"id": number, "price": "a lot" if number < 2 else 5} for number in range(10)]
    kinds, rows = [], []

    for given in (10, 9):
        api.answer("/stock", say({"data": records[:given], "total": 10}), say({"data": [], "total": 10}))
        project = load_project(settings, root=tmp_path, data=tmp_path / "data")
        report = run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))
        kinds.append([one.problem and one.problem.kind for one in report.resources])
        rows.append(len(seen(tmp_path / "data", "shop/stock")))

    assert kinds == [[None], ["ExpectationFailed"]]
    assert rows == [8, 8]


@pytest.mark.parametrize("write", ["write: replace", "write: upsert, deletes: {missing: true}"])
def test_children_of_new_parents_only_may_not_stand_for_all_children(tmp_path: Path, write: str) -> None:
    """An incremental parent names what has changed: the children of the others would be dropped."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(
        "base_url: https://shop.example\n"
        "resources:\n"
        "  customers: {path: /customers, paginate: none, key: id, write: upsert,\n"
        "    incremental: {cursor: updated, since_param: since, start: 2024-01-01}}\n"
        "  orders: {path: '/customers/{customers.id}/orders', for_each: {resource: customers}, paginate: none,\n"
        f"    key: id, {write}}}\n"
    )

    with pytest.raises(ConfigError, match="customers is `incremental`"):
        load_project({}, root=tmp_path, data=tmp_path / "data")


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Project:
    Shop(api, tmp_path)
    return load_project({}, root=tmp_path, data=tmp_path / "data")


def but_not(name: str) -> Callable[[Source, Shared], SourceReport]:
    """What a run does with each source, with a defect in that one."""

    def work(source: Source, shared: Shared) -> SourceReport:
        if source.name == name:
            raise ZeroDivisionError("division by zero")
        return run_source(source, shared)

    return work


def test_a_defect_in_one_source_is_reported_and_stops_no_other(shop: Project, caplog: pytest.LogCaptureFixture) -> None:
    """The bank's run ends as nobody foresaw; the shop is committed, and the log has the traceback."""
    report = run(shop, work=but_not("bank"))

    sources = {source.source: source for source in report.sources}
    problem = sources["bank"].problem
    assert problem is not None
    assert (problem.kind, report.exit_code) == ("Defect", 1)
    assert "ZeroDivisionError" in problem.message
    assert [resource.resource for resource in sources["bank"].resources] == ["accounts"]
    assert (sources["shop"].problem, sources["shop"].commit) == (None, 1)
    assert "Traceback" in caplog.text


def test_a_reader_at_a_time_gets_the_commit_that_was_there_not_that_of_a_run_under_way(ledger: LedgerApi) -> None:
    """Somebody looks while the second run is waiting for the API."""
    ledger.configure()
    ledger.rows = [row(1, "2024-03-01T00:00:00Z")]
    ledger.read()
    ledger.rows.append(row(2, "2024-03-02T00:00:00Z"))
    looked: list[datetime] = []
    answer = ledger.api.routed("/rows")

    def page(asked: Asked) -> Answer:
        looked.append(datetime.now(UTC))
        return answer(asked)

    ledger.api.route("/rows", page)
    ledger.read(now=datetime.now(UTC))

    found = [pipelines.read("ledger.rows", at=at, data=ledger.data) for at in (looked[-1], datetime.now(UTC))]
    assert [frame["id"].tolist() for frame in found] == [[1], [1, 2]]


class Clumsy(Here):
    """An engine that stumbles over whatever is called this."""

    def __init__(self, name: str) -> None:
        self.name = name

    def map(self, function: Callable[[Any], Any], items: Any) -> list[Any]:
        """Stumble, or compute one after another."""
        units = list(items)
        if any(unit.place.dataset == self.name for unit in units):
            raise ZeroDivisionError("division by zero")
        return super().map(function, units)


def test_p7_a_defect_while_one_resource_is_merged_stops_no_other(api: FakeApi, tmp_path: Path) -> None:
    Shop(api, tmp_path)
    project = load_project({}, root=tmp_path, data=tmp_path / "data")

    report = run_source(project.sources["shop"], Shared("r", datetime.now(UTC), project.settings, Clumsy("orders")))

    problems = {one.resource: one.problem and one.problem.kind for one in report.resources}
    assert problems == {"customers": None, "orders": "Defect", "events": None}
    assert report.commit == 1
    assert seen(tmp_path / "data", "shop/orders") == []


def test_a_listener_that_fails_fails_the_run_and_loses_no_batch_in_silence(pair: Pair) -> None:
    """Whoever serves batches must not die unheard: the rows of the rest would be missing."""
    pair.mended = True

    def listen(source: str, event: Event) -> None:
        if event.kind == "batch":
            raise ZeroDivisionError("division by zero")

    with pytest.raises(ZeroDivisionError):
        pair.run(NOW, listen=listen)
    again = pair.run(later(1))

    assert [one.problem for one in again.values()] == [None, None]
    assert [len(seen(pair.folder / "data", f"pair/{name}")) for name in ("broken", "healthy")] == [3, 3]
