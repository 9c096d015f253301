"""Cursors and time: what whole runs store, and from where the next one asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.backfill import split
from pipelines.errors import ConfigError
from pipelines.load.lake import Lake
from pipelines.report.spans import Span
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.ledger_api import NOW, LedgerApi, row


@pytest.fixture
def ledger(api: FakeApi, tmp_path: Path) -> LedgerApi:
    """An API that is asked by time."""
    return LedgerApi(api, tmp_path)


def state(ledger: LedgerApi) -> Any:
    head = Lake(ledger.data, "ledger").head()
    return head.datasets["rows"].state if head else None


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
    before = state(ledger)
    ledger.rows += [row(4, "2024-03-04T00:00:00Z"), bad]

    (failed,) = ledger.run().resources
    untouched = (state(ledger), ledger.stored("id"))
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
    without = state(ledger)
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
    after_failure = (state(ledger), ledger.stored("id"))
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


def test_c08_zones_and_epochs_become_the_right_instants(ledger: LedgerApi) -> None:
    """Both sides of the hour that Madrid has twice; an epoch in ms beside one in s; years 1 and 9999."""
    ledger.configure(
        more="    columns: {at: timestamp, ms: timestamp(ms) from epoch_ms, s: timestamp(s) from epoch_s}\n"
    )
    ledger.rows = [
        row(1, "2024-03-31T03:00:00+02:00", ms=1711846800000, s=1711846800, day="0001-01-01"),
        row(2, "2024-03-31T01:59:59+01:00", ms=1711846799000, s=1711846799, day="9999-12-31"),
    ]

    ledger.read()

    instants = {(at, ms, s) for at, ms, s in ledger.stored("at", "ms", "s")}
    assert all(at == ms.replace(tzinfo=at.tzinfo) == s.replace(tzinfo=at.tzinfo) for at, ms, s in instants)
    assert {at.astimezone(UTC).hour for at, _, _ in instants} == {0, 1}
    assert state(ledger)["watermark"]["value"].startswith("2024-03-31 01:00:00")


@pytest.mark.parametrize(
    "nonsense", ["2024-06-30T23:59:60Z", "2024-02-30T00:00:00Z", "yesterday", "2024-03-31T25:00:00Z"]
)
def test_c08_times_that_do_not_exist_fail_and_are_never_moved(ledger: LedgerApi, nonsense: str) -> None:
    ledger.configure()
    ledger.api.route(
        "/rows", lambda asked: say({"data": [row(1, "2024-03-01T00:00:00Z"), row(2, nonsense)], "total": 2})
    )

    (failed,) = ledger.run().resources

    assert failed.problem is not None
    assert failed.problem.kind == "DecodeError"
    assert ledger.stored("id") == []


@pytest.mark.parametrize("write", ["append", "upsert"])
@pytest.mark.parametrize(
    ("at", "told"),
    [
        pytest.param(1711846800000, "is a number, and nothing says what it counts", id="epoch-ms"),
        pytest.param(1711846800, "is a number, and nothing says what it counts", id="epoch-s"),
        pytest.param(1711846800.5, "is a number, and nothing says what it counts", id="fractions"),
        pytest.param("2024-03-31T02:30:00", "names no zone", id="no-zone"),
        pytest.param("2024-10-27 02:30:00", "names no zone", id="no-zone-and-twice-in-madrid"),
    ],
)
def test_c08_a_cursor_that_is_not_declared_is_refused_with_a_way_out(
    ledger: LedgerApi, at: object, told: str, write: str
) -> None:
    """Seconds taken for milliseconds would be 1970, the other way round the year 55840; a zone can only be guessed."""
    ledger.configure(more="", write=write)
    ledger.api.route("/rows", lambda asked: say({"data": [{"id": 1, "at": at}], "total": 1}))

    (failed,) = ledger.run().resources

    assert failed.problem is not None
    assert failed.problem.kind == "ConfigError"
    assert told in failed.problem.message
    assert "`columns: {at: " in failed.problem.hint
    assert (ledger.stored("id"), state(ledger)) == ([], None)


def test_c08_a_declared_zone_makes_the_right_instants_of_the_hour_that_comes_twice(ledger: LedgerApi) -> None:
    """Madrid, 27 October 2024: 02:30 is the first of two, 00:30 UTC; 03:30 is 02:30 UTC, whence the next run asks."""
    ledger.configure(more="    columns: {at: {type: timestamp, zone: Europe/Madrid}}\n")
    rows = [row(1, "2024-10-27T02:30:00"), row(2, "2024-10-27T03:30:00"), row(3, "2024-03-31T01:59:59")]
    ledger.api.route("/rows", lambda asked: say({"data": rows, "total": 3}))
    later = datetime(2025, 1, 1, tzinfo=UTC)

    ledger.read(now=later)
    ledger.read(now=later)

    written = [f"{at.astimezone(UTC):%m-%d %H:%M:%S}" for at in ledger.stored("at")]
    assert written == ["03-31 00:59:59", "10-27 00:30:00", "10-27 02:30:00"]
    assert ledger.asked("since")[1] == "2024-10-27T02:30:00Z"


class LocalTime:
    """An API in New York: `at` names no zone, and neither do the bounds that it compares with it."""

    def __init__(self, ledger: LedgerApi, layout: str, write: str = "upsert") -> None:
        self.rows: list[dict[str, Any]] = []
        ledger.configure(
            write=write,
            incremental=f", format: '{layout}'",
            more="    columns: {at: {type: timestamp, zone: America/New_York}}\n",
        )
        ledger.api.route("/rows", self._page)

    def _page(self, asked: Asked) -> Answer:
        since, until = asked.params["since"], asked.params["until"]
        due = [row for row in self.rows if since <= row["at"] and row["at"][: len(until)] <= until]
        return say({"data": due, "total": len(due)})


@pytest.mark.parametrize(
    ("layout", "first", "second", "since"),
    [
        pytest.param(
            "%Y-%m-%d %H:%M:%S", "2024-06-01 10:00:00", "2024-06-01 10:30:00",
            ["2024-01-01 00:00:00", "2024-06-01 10:00:00"], id="times",
        ),
        pytest.param(
            "date", "2024-06-01 21:00:00", "2024-06-01 22:00:00", ["2024-01-01", "2024-06-01"], id="evenings"
        ),
    ],
)  # fmt: skip
def test_c08_bounds_are_written_in_the_zone_that_the_cursor_is_in(
    ledger: LedgerApi, layout: str, first: str, second: str, since: list[str]
) -> None:
    """In UTC the next run would ask from 14:00, or from the day after, and never for the second row."""
    api = LocalTime(ledger, layout)
    api.rows = [row(1, first)]
    ledger.read(now=datetime(2024, 6, 2, 1, 30, tzinfo=UTC))
    api.rows.append(row(2, second))

    ledger.read(now=datetime(2024, 6, 2, 3, tzinfo=UTC))

    assert ledger.stored("id") == [1, 2]
    assert ledger.asked("since") == since


def test_c08_a_span_without_zone_is_one_of_the_cursor(ledger: LedgerApi) -> None:
    """1 June in New York, read again from its midnight to the next; then to 20:00 UTC, which is 16:00 there."""
    api = LocalTime(ledger, "%Y-%m-%d %H:%M:%S")
    api.rows = [row(1, "2024-05-31 23:59:59"), row(2, "2024-06-01 00:00:00"), row(3, "2024-06-01 17:00:00")]
    later = datetime(2024, 7, 1, tzinfo=UTC)

    ledger.read(now=later, span=Span("2024-06-01", "2024-06-01T20:00:00Z"))
    first = ledger.stored("id")
    ledger.read(now=later, span=Span("2024-06-01", "2024-06-02"))

    assert (first, ledger.stored("id")) == ([2], [2, 3])
    assert ledger.asked("until") == ["2024-06-01 16:00:00", "2024-06-02 00:00:00"]


def test_c08_a_span_that_is_appended_again_stores_no_row_of_its_first_hours_twice(ledger: LedgerApi) -> None:
    """00:30 in Madrid lies before the midnight of UTC."""
    zone = "    columns: {at: {type: timestamp, zone: Europe/Madrid}}\n"
    ledger.configure(write="append", incremental=", format: '%Y-%m-%d %H:%M:%S', bounds: half_open", more=zone)
    rows = [row(1, "2024-06-01 00:30:00"), row(2, "2024-06-01 12:00:00")]
    ledger.api.route("/rows", lambda asked: say({"data": rows, "total": 2}))

    for _ in range(2):
        ledger.read(span=Span("2024-06-01", "2024-06-02"), now=datetime(2024, 7, 1, tzinfo=UTC))

    assert ledger.stored("id") == [1, 2]
    assert ledger.asked("since") == ["2024-06-01 00:00:00"]


def test_c08_windows_of_a_backfill_begin_and_end_as_they_are_written() -> None:
    """What names no zone is in that of the cursor still, the days between as well."""
    spans = split(Span("2024-01-31T12:00:00", "2024-02-02T06:00:00Z"), "day")

    assert [(span.start, span.end) for span in spans] == [
        ("2024-01-31T12:00:00", "2024-02-01"), ("2024-02-01", "2024-02-02"), ("2024-02-02", "2024-02-02T06:00:00Z"),
    ]  # fmt: skip


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_c08_a_row_of_the_second_of_two_equal_hours_is_asked_for(ledger: LedgerApi, write: str) -> None:
    """New York, 3 November 2024: 01:10 comes after 01:30, for the clock goes back at 02:00."""
    api = LocalTime(ledger, "%Y-%m-%d %H:%M:%S", write)
    api.rows = [row(1, "2024-11-03 01:30:00")]
    ledger.read(now=datetime(2024, 11, 3, 5, 45, tzinfo=UTC))
    api.rows.append(row(2, "2024-11-03 01:10:00"))

    ledger.read(now=datetime(2024, 11, 3, 6, 45, tzinfo=UTC))

    assert ledger.stored("id") == [1, 2]
    assert ledger.asked("since")[1] == "2024-11-03 00:59:59"


def test_c08_a_row_of_the_second_of_two_equal_hours_is_appended_once(ledger: LedgerApi) -> None:
    """New York; the API is asked in UTC, and told when a row was written by the clock on the wall."""
    ledger.configure(write="append", more="    columns: {at: {type: timestamp, zone: America/New_York}}\n")
    rows = [row(1, "2024-11-03 00:50:00"), row(2, "2024-11-03 01:30:00")]
    ledger.api.route("/rows", lambda asked: say({"data": rows, "total": len(rows)}))
    ledger.read(now=datetime(2024, 11, 3, 5, 45, tzinfo=UTC))
    rows.append(row(3, "2024-11-03 01:10:00"))

    second, third = (ledger.read(now=datetime(2024, 11, 3, hour, 15, tzinfo=UTC)) for hour in (6, 7))

    assert (second.new, third.new) == (1, 0)
    assert ledger.stored("id") == [1, 2, 3]


def test_c08_an_hour_that_the_clock_skips_is_no_time(ledger: LedgerApi) -> None:
    ledger.configure(more="    columns: {at: {type: timestamp, zone: Europe/Madrid}}\n")
    ledger.api.route("/rows", lambda asked: say({"data": [row(1, "2024-03-31T02:30:00")], "total": 1}))

    (failed,) = ledger.run().resources

    assert failed.problem is not None
    assert failed.problem.kind == "DecodeError"
    assert "does not exist in Europe/Madrid" in failed.problem.message


@pytest.mark.parametrize("columns", ["    columns: {at: timestamp}\n", ""], ids=["declared", "text"])
def test_c08_the_first_and_the_last_year_are_years_as_any(ledger: LedgerApi, columns: str) -> None:
    """A row of the year 9999 does not carry the watermark beyond now."""
    ledger.configure(more=columns)
    ledger.headers = {"Date": format_datetime(NOW, usegmt=True)}
    rows = [row(1, "0001-01-01T00:00:00Z"), row(2, "2024-03-01T00:00:00Z"), row(3, "9999-12-31T23:59:59Z")]
    ledger.api.route("/rows", lambda asked: say({"data": rows, "total": 3}, headers=ledger.headers))

    ledger.read()
    second = ledger.read()

    assert ledger.stored("id") == [1, 2, 3]
    assert (second.new, second.updated) == (0, 0)
    assert ledger.asked("since")[1] == "2024-06-01T12:00:00Z"


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
    assert len(orjson.dumps(state(ledger))) < 1_000


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
