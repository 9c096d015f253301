"""Cursors whose times have a zone: the right instants are stored, and bounds are written as the API reads them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from pipelines.backfill import split
from pipelines.report.spans import Span
from tests.fake_api import Answer, Asked, say
from tests.ledger_api import NOW, LedgerApi, row


def test_c08_zones_and_epochs_become_the_right_instants(ledger: LedgerApi) -> None:
    """Both sides of the hour that Madrid leaves out; an epoch in ms beside one in s; years 1 and 9999."""
    ledger.configure(
        more="    columns: {at: timestamp, ms: timestamp(ms) from epoch_ms, s: timestamp(s) from epoch_s, day: date}\n"
    )
    ledger.rows = [
        row(1, "2024-03-31T03:00:00+02:00", ms=1711846800000, s=1711846800, day="0001-01-01"),
        row(2, "2024-03-31T01:59:59+01:00", ms=1711846799000, s=1711846799, day="9999-12-31"),
    ]

    ledger.read()

    instants = {(at, ms, s) for at, ms, s in ledger.stored("at", "ms", "s")}
    assert all(at == ms.replace(tzinfo=at.tzinfo) == s.replace(tzinfo=at.tzinfo) for at, ms, s in instants)
    assert {at.astimezone(UTC).hour for at, _, _ in instants} == {0, 1}
    assert ledger.stored("day") == [date.min, date.max]
    assert ledger.state()["watermark"]["value"].startswith("2024-03-31 01:00:00")


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
    assert (ledger.stored("id"), ledger.state()) == ([], None)


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
