"""Spans that are read again: what they add, window by window, and what they leave as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from tests.commands.calls import answer, threadmill
from tests.fake_api import Answer, Asked, say
from tests.ledger_api import IsDue, LedgerApi, instant, row


def local_day(row: dict[str, Any]) -> str:
    """The day of a row two hours east of Greenwich."""
    return (instant(row["at"]) + timedelta(hours=2)).date().isoformat()


def without_key(ledger: LedgerApi) -> None:
    """Let rows be told by all their columns."""
    configured = ledger.folder / "config" / "ledger.yaml"
    configured.write_text(configured.read_text().replace("    key: id\n", ""))


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_a_backfill_adds_what_came_late_and_leaves_the_watermark(ledger: LedgerApi, write: str) -> None:
    """Row 100 came ten days late; only its span is asked for, and rows that are stored stay single."""
    ledger.configure(write=write, incremental=", window: 2d, bounds: half_open")
    ledger.is_half_open = True
    ledger.read()
    ledger.rows.append(row(100, "2024-05-02T10:00:00Z", price="9.00"))
    before = len(ledger.api.asked)

    report = answer("backfill", "ledger", "--from", "2024-05-01", "--to", "2024-05-05")

    asked = ledger.api.asked[before:]
    assert report["sources"][0]["resources"][0]["new"] == 1
    assert {one.params["since"] for one in asked} == {"2024-05-01T00:00:00Z", "2024-05-03T00:00:00Z"}
    assert ledger.stored("id") == [*range(1, 9), 100]
    assert answer("state", "show", "ledger")[0]["watermark"] == "2024-05-08 00:00:00.000000Z"
    assert ledger.notes()[-1] == "backfill from 2024-05-01 to 2024-05-05"


@pytest.mark.parametrize(
    "is_due",
    [
        pytest.param(lambda row, since: row["at"][:10] >= since, id="ignores-time-of-day"),
        pytest.param(lambda row, since: local_day(row) >= since, id="day-of-another-zone"),
        pytest.param(lambda row, since: True, id="ignores-lower-bound"),
    ],
)
@pytest.mark.parametrize("key", ["id", ""])
def test_rows_before_the_start_of_a_backfill_are_not_stored_again(ledger: LedgerApi, is_due: IsDue, key: str) -> None:
    """Asked from noon on, the API gives rows of the night before as well; row 100 came late, before the start too."""
    ledger.configure(write="append", incremental=", format: date")
    if not key:
        without_key(ledger)
    ledger.rows = [row(1, "2024-04-30T23:30:00Z"), row(2, "2024-05-01T03:00:00Z"), row(3, "2024-05-01T15:00:00Z")]
    ledger.serve(is_due)
    ledger.read()
    ledger.rows.append(row(100, "2024-05-01T04:00:00Z"))

    threadmill("backfill", "ledger", "--from", "2024-05-01T12:00", "--to", "2024-05-03")
    report = answer("backfill", "ledger", "--from", "2024-05-01T12:00", "--to", "2024-05-03")

    assert report["sources"][0]["resources"][0]["new"] == 0
    assert ledger.stored("id") == [1, 2, 3, 100]


def test_a_backfill_dry_run_prints_windows_and_asks_nothing(ledger: LedgerApi) -> None:
    ledger.configure(incremental=", window: 2d")

    found = answer("backfill", "ledger", "--from", "2024-05-01", "--to", "2024-05-05", "--dry-run")

    assert [window[0][:10] for window in found[0]["windows"]] == ["2024-05-01", "2024-05-03"]
    assert ledger.api.asked == []


def test_a_backfill_by_windows_commits_each_and_leaves_out_those_that_are_done(ledger: LedgerApi) -> None:
    ledger.configure()
    ledger.is_half_open = True
    span = ("backfill", "ledger", "--from", "2024-05-01", "--to", "2024-05-04", "--every", "day")
    planned = answer(*span, "--dry-run")

    first, second = threadmill(*span), threadmill(*span)

    assert [one["span"]["start"] for one in planned] == ["2024-05-01", "2024-05-02", "2024-05-03"]
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert [one.params["since"][:10] for one in ledger.api.asked] == ["2024-05-01", "2024-05-02", "2024-05-03"]
    assert ledger.notes() == [f"backfill from 2024-05-0{day} to 2024-05-0{day + 1}" for day in (1, 2, 3)]
    assert "2024-05-02 to 2024-05-03  done" in threadmill(*span, "--dry-run").output


def test_a_window_that_is_not_over_is_read_but_stays_to_be_done(ledger: LedgerApi) -> None:
    """From yesterday to the day after tomorrow: yesterday is read once, today each time, tomorrow not at all."""
    ledger.configure()
    today = datetime.now(UTC).date()
    yesterday, tomorrow, end = (str(today + timedelta(days=days)) for days in (-1, 1, 2))
    span = ("backfill", "ledger", "--from", yesterday, "--to", end, "--every", "day")

    first, second = threadmill(*span), threadmill(*span)

    left = f"ledger: {today} to {end} is not over, or not settled, and stays to be done"
    planned = threadmill(*span, "--dry-run").output.splitlines()
    if datetime.now(UTC).date() != today:
        pytest.skip("midnight came in between")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert [one.params["since"][:10] for one in ledger.api.asked] == [yesterday, str(today), str(today)]
    assert left in first.stderr
    assert left in second.stderr
    assert [line.split("  ")[2] for line in planned[:3]] == ["done", "1 requests (at least), not over", "not begun"]
    assert tomorrow in planned[2]


def test_a_backfill_begun_again_that_is_interrupted_goes_on_without_again(ledger: LedgerApi) -> None:
    """Of three days that are done the second fails when they are read again."""
    ledger.configure()
    ledger.is_half_open = True
    route = ledger.api.routed("/rows")
    span = ("backfill", "ledger", "--from", "2024-05-01", "--to", "2024-05-04", "--every", "day")
    threadmill(*span)
    ledger.api.route("/rows", lambda asked: say({}, 401) if "05-02" in asked.params["since"] else route(asked))
    threadmill(*span, "--again")
    ledger.api.route("/rows", route)
    before = len(ledger.api.asked)

    resumed = threadmill(*span)

    assert resumed.exit_code == 0
    assert [one.params["since"][:10] for one in ledger.api.asked[before:]] == ["2024-05-02", "2024-05-03"]


def test_programs_are_told_of_all_windows_in_one_document(ledger: LedgerApi) -> None:
    """May 2 is refused: two reports, the second with the problem; then the other two; then nothing is left."""
    ledger.configure()
    ledger.is_half_open = True
    route = ledger.api.routed("/rows")
    ledger.api.route("/rows", lambda asked: say({}, 401) if "05-02" in asked.params["since"] else route(asked))
    span = ("backfill", "ledger", "--from", "2024-05-01", "--to", "2024-05-04", "--every", "day", "--json")

    failed = threadmill(*span)
    ledger.api.route("/rows", route)
    resumed, done = threadmill(*span), threadmill(*span)

    codes = [[one["exit_code"] for one in orjson.loads(result.stdout)] for result in (failed, resumed, done)]
    assert codes == [[0, failed.exit_code], [0, 0], []]
    assert failed.exit_code > 0
    assert (resumed.exit_code, done.exit_code) == (0, 0)


def test_windows_that_were_read_are_told_with_the_error_that_ends_the_others(ledger: LedgerApi) -> None:
    """While May 2 is read, the source file is broken."""
    ledger.configure()
    ledger.is_half_open = True
    route, configured = ledger.api.routed("/rows"), ledger.folder / "config" / "ledger.yaml"

    def page(asked: Asked) -> Answer:
        if "05-02" in asked.params["since"]:
            configured.write_text("base_url: [")
        return route(asked)

    ledger.api.route("/rows", page)

    result = threadmill("backfill", "ledger", "--from", "2024-05-01", "--to", "2024-05-04", "--every", "day", "--json")

    *reports, last = orjson.loads(result.stdout)
    assert [one["exit_code"] for one in reports] == [0, 0]
    assert (last["error"]["kind"], last["error"]["exit_code"], result.exit_code) == ("ConfigError", 2, 2)


def test_a_backfill_that_failed_resumes_though_a_run_came_between(ledger: LedgerApi) -> None:
    """The second of two pages fails; the next attempt asks for that page only."""
    ledger.configure(write="append")
    ledger.read()
    route = ledger.api.routed("/rows")
    ledger.api.route("/rows", lambda asked: route(asked) if asked.params.get("page") == "1" else say({}, 500))
    failed = threadmill("backfill", "ledger", "--from", "2024-05-01", "--to", "2024-05-06")
    ledger.api.route("/rows", route)
    ledger.rows.append(row(9, "2024-05-09T00:00:00Z", price="2.00"))
    ledger.read()
    before = len(ledger.api.asked)

    answer("backfill", "ledger", "--from", "2024-05-01", "--to", "2024-05-06")

    assert failed.exit_code == 1
    assert [one.params["page"] for one in ledger.api.asked[before:]] == ["2"]
    assert ledger.stored("id") == list(range(1, 10))
