"""Cursors and time: what whole runs store, and from where the next one asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest

from pipelines.errors import ConfigError
from pipelines.report.spans import Span
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.ledger_api import NOW, LedgerApi, row


@pytest.mark.parametrize("key", ["    key: id\n", ""], ids=["by-key", "by-all-columns"])
@pytest.mark.parametrize("write", ["append", "upsert"])
def test_c01_rows_that_share_the_boundary_cursor_are_all_there_once(ledger: LedgerApi, write: str, key: str) -> None:
    """Three rows share the greatest value, a fourth comes later with the same: all four after three runs."""
    ledger.configure(write=write)
    source = ledger.folder / "config" / "ledger.yaml"
    if write == "append":
        source.write_text(source.read_text().replace("    key: id\n", key))
    ledger.rows = [row(1, "2024-03-01T00:00:00Z"), *(row(number, "2024-03-02T00:00:00Z") for number in (2, 3, 4))]
    ledger.read()
    ledger.rows.append(row(5, "2024-03-02T00:00:00Z"))

    second, third = ledger.read(), ledger.read()

    assert (second.new, third.new) == (1, 0)
    assert ledger.stored("id") == [1, 2, 3, 4, 5]


def test_c02_a_row_that_comes_late_within_the_lag_appears_once(ledger: LedgerApi) -> None:
    ledger.configure(incremental=", lag: 2d")
    ledger.rows = [row(number, f"2024-03-{number:02}T00:00:00Z") for number in range(1, 6)]
    ledger.read()
    ledger.rows.append(row(9, "2024-03-04T06:00:00Z"))

    second, third = ledger.read(), ledger.read()

    assert (second.new, third.new) == (1, 0)
    assert ledger.stored("id") == [1, 2, 3, 4, 5, 9]


def test_c02_append_with_a_lag_is_refused_because_it_would_store_rows_twice(ledger: LedgerApi) -> None:
    ledger.configure(write="append", incremental=", lag: 2d")

    with pytest.raises(ConfigError, match="would be stored twice"):
        ledger.run()


@pytest.mark.parametrize("columns", ["    columns: {at: timestamp}\n", "    columns: {at: string}\n", ""])
@pytest.mark.parametrize("write", ["append", "upsert"])
def test_c03_cursors_compare_as_instants_however_they_are_written(ledger: LedgerApi, write: str, columns: str) -> None:
    """01:30+02:00 comes before 00:00Z, though its text comes after."""
    ledger.configure(write=write, more=columns)
    ledger.rows = [
        row(1, "2024-03-02T00:00:00Z"),
        row(2, "2024-03-02T00:00:00.500+00:00"),
        row(3, "2024-03-02T01:30:00+02:00"),
    ]
    ledger.read()
    ledger.rows.append(row(4, "2024-03-02T00:00:00.750Z"))

    second, third = ledger.read(), ledger.read()

    assert (second.new, third.new) == (1, 0)
    assert ledger.stored("id") == [1, 2, 3, 4]
    assert ledger.asked("since")[1:] == ["2024-03-02T00:00:00.500Z", "2024-03-02T00:00:00.750Z"]


@pytest.mark.parametrize("kind", ["int64", "string"])
def test_c03_ten_comes_after_nine(api: FakeApi, ledger: LedgerApi, kind: str) -> None:
    ledger.configure(write="append", more=f"    columns: {{at: {kind}}}\n")
    source = ledger.folder / "config" / "ledger.yaml"
    source.write_text(source.read_text().replace("start: 2024-01-01", "start: 0, format: number"))
    rows: list[dict[str, Any]] = [{"id": number, "at": str(number)} for number in (8, 9, 10)]
    if kind == "int64":
        rows = [{**one, "at": int(one["at"])} for one in rows]
    api.route("/rows", lambda asked: say({"data": rows, "total": len(rows)}))
    ledger.read()
    rows.append({**rows[0], "id": 11, "at": type(rows[0]["at"])("11")})

    second = ledger.read()

    assert second.new == 1
    assert ledger.asked("since")[:2] == ["0", "10"] or ledger.asked("since")[1].startswith("10")
    assert ledger.stored("id") == [8, 9, 10, 11]


@pytest.mark.parametrize("bad", [{"id": 3, "at": None}, {"id": 3}], ids=["null", "missing"])
def test_c04_a_row_without_cursor_fails_the_resource_and_leaves_the_state(
    ledger: LedgerApi, bad: dict[str, Any]
) -> None:
    ledger.configure()
    ledger.rows = [row(1, "2024-03-01T00:00:00Z"), row(2, "2024-03-02T00:00:00Z")]
    ledger.read()
    before = ledger.state()
    ledger.rows += [row(4, "2024-03-04T00:00:00Z"), bad]

    (failed,) = ledger.run().resources
    untouched = (ledger.state(), ledger.stored("id"))
    ledger.rows.remove(bad)
    mended = ledger.read()

    assert failed.problem is not None
    assert failed.problem.kind == "CursorError"
    assert untouched == (before, [1, 2])
    assert (mended.new, ledger.stored("id")) == (1, [1, 2, 4])


@pytest.mark.parametrize("columns", ["    columns: {at: timestamp}\n", ""], ids=["declared", "text"])
@pytest.mark.parametrize("bad", [{"id": 3, "at": None}, {"id": 3}], ids=["null", "missing"])
@pytest.mark.parametrize("write", ["upsert", "history"])
def test_c04_with_include_a_row_without_cursor_is_stored_once_over_several_runs(
    ledger: LedgerApi, bad: dict[str, Any], write: str, columns: str
) -> None:
    """The API gives it with every answer; the next run goes on from the others, also where nothing else came."""
    ledger.configure(write=write, incremental=", on_missing: include", more=columns)
    ledger.rows = [bad]
    alone = ledger.read()
    without = ledger.state()
    ledger.rows = [row(1, "2024-03-01T00:00:00Z"), bad, row(2, "2024-03-02T00:00:00Z")]

    second, third = ledger.read(), ledger.read()
    ledger.rows.append(row(4, "2024-03-04T00:00:00Z"))
    fourth = ledger.read()

    assert without is None or "watermark" not in without
    assert [one.new for one in (alone, second, third, fourth)] == [1, 2, 0, 1]
    assert ledger.stored("id") == [1, 2, 3, 4]
    assert ledger.asked("since") == [f"2024-0{day}T00:00:00Z" for day in ("1-01", "3-02")]


def test_c04_append_refuses_to_include_rows_without_cursor(ledger: LedgerApi) -> None:
    ledger.configure(write="append", incremental=", on_missing: include")

    with pytest.raises(ConfigError, match="a record without cursor would be stored again"):
        ledger.run()


def test_c05_rows_in_any_order_survive_a_run_that_ends_in_the_middle(ledger: LedgerApi) -> None:
    """The newest rows come first; page 2 fails after they were read: the watermark has not moved."""
    ledger.configure(write="append")
    ledger.rows = [row(number, f"2024-03-{10 - number:02}T00:00:00Z") for number in range(1, 8)]
    route = ledger.api.routed("/rows")
    ledger.api.route("/rows", lambda asked: say({}, 500) if asked.params["page"] == "2" else route(asked))

    (failed,) = ledger.run().resources
    after_failure = (ledger.state(), ledger.stored("id"))
    ledger.api.route("/rows", route)
    ledger.read()

    assert failed.problem is not None
    assert after_failure == (None, [])
    assert ledger.stored("id") == list(range(1, 8))


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_c06_a_row_that_is_changed_behind_the_reader_is_found_by_the_next_run(ledger: LedgerApi, write: str) -> None:
    """While page 2 is read, row 1 of page 1 changes and a newer row joins: the watermark stays at the run's begin."""
    began = NOW - timedelta(minutes=1)
    ledger.configure(write=write)
    ledger.headers = {"Date": format_datetime(began, usegmt=True)}
    ledger.rows = [row(number, f"2024-05-0{number}T00:00:00Z", name="old") for number in range(1, 5)]
    route = ledger.api.routed("/rows")

    def meanwhile(asked: Asked) -> Answer:
        if asked.params["page"] == "2" and len(ledger.rows) == 4:
            ledger.rows[0] = row(1 if write == "upsert" else 7, "2024-06-01T11:59:20Z", name="new")
            ledger.rows.append(row(5, "2024-06-01T11:59:30Z", name="old"))
        return route(asked)

    ledger.api.route("/rows", meanwhile)
    ledger.run()
    ledger.headers = {}
    ledger.read()
    third = ledger.read()

    changed = (1, "new") if write == "upsert" else (7, "new")
    assert changed in ledger.stored("id", "name")
    assert [number for number in ledger.stored("id") if number != 7] == [1, 2, 3, 4, 5]
    assert third.new == third.updated == 0


@pytest.mark.parametrize("wrong_by", [timedelta(hours=1), timedelta(hours=-1), timedelta(days=-30)], ids=str)
@pytest.mark.parametrize("write", ["append", "upsert"])
def test_c07_an_own_clock_that_is_wrong_skips_no_row(ledger: LedgerApi, write: str, wrong_by: timedelta) -> None:
    """The API's clock is right; ours is ahead or behind in the first run, or jumps back before the second."""
    ledger.configure(write=write)
    ledger.headers = {"Date": format_datetime(NOW, usegmt=True)}
    ledger.rows = [row(number, f"2024-06-01T{number:02}:00:00Z") for number in range(1, 12)]
    ledger.read(now=NOW + wrong_by)
    ledger.rows.append(row(12, "2024-06-01T11:30:00Z"))
    ledger.read(now=NOW - wrong_by)
    ledger.rows.append(row(13, "2024-06-01T11:45:00Z"))

    ledger.headers = {"Date": format_datetime(NOW + timedelta(days=60), usegmt=True)}
    ledger.read(now=NOW + timedelta(days=60))
    last = ledger.read(now=NOW + timedelta(days=60))

    assert last.new == 0
    assert ledger.stored("id") == list(range(1, 14))


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_c09_thousands_of_rows_share_one_cursor_value_and_the_state_stays_small(ledger: LedgerApi, write: str) -> None:
    """300,000 rows of one instant, 30,000 a page; then one more."""
    ledger.configure(write=write)
    ledger.page_size = 30_000
    ledger.rows = [row(number, "2024-03-01T00:00:00Z") for number in range(300_000)]
    pages: dict[tuple[int, str], Answer] = {}
    route = ledger.api.routed("/rows")

    def cached(asked: Asked) -> Answer:
        key = (len(ledger.rows), asked.params["page"])
        if key not in pages:
            pages[key] = route(asked)
        return pages[key]

    ledger.api.route("/rows", cached)
    ledger.read()
    ledger.rows.append(row(300_000, "2024-03-01T00:00:00Z"))

    second = ledger.read()

    assert second.new == 1
    assert len(ledger.stored("id")) == 300_001
    assert len(orjson.dumps(ledger.state())) < 1_000


def test_c09_more_rows_of_one_value_than_fit_in_memory_are_refused(
    ledger: LedgerApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is two million; here it is five."""
    monkeypatch.setattr("pipelines.load.boundary.MAX_ROWS", 5)
    ledger.configure(write="append")
    ledger.rows = [row(number, "2024-03-01T00:00:00Z") for number in range(8)]
    ledger.read()

    (failed,) = ledger.run().resources

    assert failed.problem is not None
    assert failed.problem.kind == "StateTooLarge"
    assert ledger.stored("id") == list(range(8))


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Runs end with the threads they began with, those of the fake API aside."""
    before = {thread.name for thread in threading.enumerate()}
    yield
    left = {thread.name for thread in threading.enumerate() if thread.name.startswith(("fetch-", "mill-"))}
    assert left <= before


def test_an_api_that_ignores_the_filter_is_told_and_stores_no_row_twice(ledger: LedgerApi) -> None:
    """It gives all eight rows again, though only the newest day was asked for."""
    ledger.configure()
    rows = [row(number, f"2024-03-{number:02}T00:00:00Z") for number in range(1, 9)]
    ledger.api.route("/rows", lambda asked: say({"data": rows, "total": 8}))
    first = ledger.read()

    second = ledger.read()

    assert first.warnings == ()
    assert len(second.warnings) == 1
    assert "6 rows: older than 2024-03-08T00:00:00Z, which was asked for" in second.warnings[0]
    assert (second.new, ledger.stored("id")) == (0, list(range(1, 9)))


def test_what_has_yet_to_settle_is_asked_for_again_though_it_was_read(ledger: LedgerApi) -> None:
    """The API ignores the upper bound: a row of the last hour comes in late, behind one that was read."""
    ledger.configure(incremental=", settle: 1h")
    ledger.rows = [{"id": 1, "at": (NOW - timedelta(hours=2)).isoformat()}, {"id": 2, "at": NOW.isoformat()}]
    ledger.serve(lambda row, since: row["at"][:19] >= since[:19])
    ledger.read()
    ledger.rows.append({"id": 3, "at": (NOW - timedelta(minutes=30)).isoformat()})

    ledger.read(now=NOW + timedelta(hours=2))

    assert ledger.stored("id") == [1, 2, 3]


def test_pages_of_an_earlier_run_hold_the_watermark_where_that_run_asked(ledger: LedgerApi) -> None:
    """Page 2 fails, and the API tells no time: what has changed on page 1 meanwhile is asked for, however late."""
    ledger.configure()
    ledger.serve(lambda row, since: row["at"][:19] >= since[:19])
    ledger.rows = [{"id": number, "at": (NOW - timedelta(days=9 - number)).isoformat()} for number in range(4)]
    whole = ledger.api.routed("/rows")
    ledger.api.route("/rows", lambda asked: Answer(500) if asked.params.get("page") == "2" else whole(asked))
    assert ledger.run().resources[0].problem is not None
    changed = (NOW + timedelta(hours=1)).isoformat()
    ledger.rows = [
        {"id": 0, "at": changed},
        *ledger.rows[1:3],
        {"id": 3, "at": (NOW + timedelta(hours=20)).isoformat()},
    ]
    ledger.api.route("/rows", whole)

    resumed = ledger.read(now=NOW + timedelta(hours=20))
    ledger.read(now=NOW + timedelta(hours=21))

    assert resumed.resumed == 1
    assert (0, datetime.fromisoformat(changed)) in ledger.stored("id", "at")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param(("start: 2024-01-01", "start: 2023-07-01"), "`start` is earlier now", id="start"),
        pytest.param(("    key: id\n", "    key: id\n    params: {state: all}\n"), "has changed", id="params"),
        pytest.param(("records: data", 'records: "data[?id > `0`]"'), "has changed", id="records"),
        pytest.param(("start: 2024-01-01", "start: 2024-02-01"), "", id="later-start"),
        pytest.param(("    key: id\n", "    key: id\n    expect: [{min_rows: 1}]\n"), "", id="checks"),
    ],
)
def test_older_records_that_nobody_asks_for_again_are_told_once(
    ledger: LedgerApi, change: tuple[str, str], told: str
) -> None:
    """With the command that reads them, whose rows join; a run that fails tells it again."""
    ledger.configure()
    ledger.rows = [row(1, "2023-08-01T00:00:00Z"), row(2, "2024-03-01T00:00:00Z"), row(3, "2024-04-01T00:00:00Z")]
    quiet = [ledger.read().warnings, ledger.read().warnings]
    source = ledger.folder / "config" / "ledger.yaml"
    source.write_text(source.read_text().replace(*change))
    ledger.rows.append(row(4, "2024-05-01T00:00:00Z"))

    first, second = ledger.read(), ledger.read()

    assert quiet == [(), ()]
    assert second.warnings == ()
    assert [told in one for one in first.warnings] == ([True] if told else [])
    start = change[1].removeprefix("start: ") if told.startswith("`start`") else "2024-01-01"
    end = "2024-01-01" if told.startswith("`start`") else "2024-04-01T00:00:00Z"
    if told:
        assert f"`threadmill backfill ledger --from {start} --to {end}`" in first.warnings[0]
        ledger.run(span=Span(start, end))
    assert ledger.stored("id") == ([1, 2, 3, 4] if told.startswith("`start`") else [2, 3, 4])
