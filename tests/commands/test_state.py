"""What has been read, looked at and changed by hand; spans read again; rows made anew from kept pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.load.lake import Lake
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.ledger_api import LedgerApi, instant, row

IsDue = Callable[[dict[str, Any], str], bool]
"""Whether the API gives a row when it is asked from a lower bound on."""

MAY = [row(number, f"2024-05-{number:02}T00:00:00Z", price="1.50") for number in range(1, 9)]


@pytest.fixture
def ledger(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerApi:
    """Eight rows, one each day; not read yet."""
    monkeypatch.chdir(tmp_path)
    ledger = LedgerApi(api, tmp_path)
    ledger.rows = list(MAY)
    return ledger


def threadmill(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def answer(*arguments: str) -> Any:
    """What a command prints for programs."""
    result = threadmill(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)


def local_day(row: dict[str, Any]) -> str:
    """The day of a row two hours east of Greenwich."""
    return (instant(row["at"]) + timedelta(hours=2)).date().isoformat()


def serve(ledger: LedgerApi, is_due: IsDue) -> None:
    """Let the API give the rows that are due for a lower bound, whatever the upper one."""

    def page(asked: Asked) -> Answer:
        due = [row for row in ledger.rows if is_due(row, asked.params["since"])]
        first = (int(asked.params.get("page", 1)) - 1) * ledger.page_size
        return say({"data": due[first : first + ledger.page_size], "total": len(due)})

    ledger.api.route("/rows", page)


def without_key(ledger: LedgerApi) -> None:
    """Let rows be told by all their columns."""
    configured = ledger.folder / "config" / "ledger.yaml"
    configured.write_text(configured.read_text().replace("    key: id\n", ""))


def notes(ledger: LedgerApi) -> list[str]:
    lake = Lake(ledger.data, "ledger")
    return [lake.log.read(number).note for number in lake.log.numbers()]


def test_state_is_shown_set_and_reset_by_commits_like_any_other(ledger: LedgerApi) -> None:
    ledger.configure()
    ledger.read()

    shown = answer("state", "show", "ledger")
    was_set = answer("state", "set", "ledger.rows", "2024-05-03")
    again = answer("state", "set", "ledger.rows", "2024-05-03")
    text = threadmill("state", "show", "ledger.rows").stdout
    was_reset = answer("state", "reset", "ledger")

    assert [(one["resource"], one["watermark"]) for one in shown] == [("ledger.rows", "2024-05-08 00:00:00.000000Z")]
    assert (was_set["commit"], again["changed"], was_reset["commit"]) == (2, False, 3)
    assert "2024-05-03" in text
    assert notes(ledger) == ["", "state of rows: 2024-05-03", "state of rows: reset"]
    assert answer("state", "show", "ledger")[0]["watermark"] == ""
    assert ledger.stored("id") == list(range(1, 9))


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_a_run_after_a_reset_reads_all_again_and_stores_no_row_twice(ledger: LedgerApi, write: str) -> None:
    ledger.configure(write=write)
    ledger.read()
    threadmill("state", "reset", "ledger.rows")
    before = len(ledger.api.asked)

    report = ledger.read()

    assert (report.rows_read, report.new) == (8, 0)
    assert ledger.api.asked[before].params["since"] == "2024-01-01T00:00:00Z"
    assert ledger.stored("id") == list(range(1, 9))
    assert answer("state", "show", "ledger")[0]["watermark"] == "2024-05-08 00:00:00.000000Z"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("state", "set", "ledger.rows", "soon"), "'soon' is no ISO date or time", id="value"),
        pytest.param(("state", "set", "ledger", "2024-05-01"), "say which resource", id="no-resource"),
        pytest.param(("state", "reset", "ledger.row"), "did you mean", id="misspelt"),
        pytest.param(("backfill", "ledgr", "--from", "1", "--to", "2"), "no source 'ledgr'", id="source"),
        pytest.param(
            ("backfill", "ledger", "--from", "2024-02-01", "--to", "2024-01-01", "--dry-run"),
            "the span ends before it begins",
            id="span",
        ),
    ],
)
def test_a_mistake_is_told_with_a_way_out(ledger: LedgerApi, arguments: tuple[str, ...], message: str) -> None:
    ledger.configure()

    result = threadmill(*arguments)

    assert result.exit_code == 2
    assert message in result.stderr
    assert "hint: " in result.stderr


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
    assert notes(ledger)[-1] == "backfill from 2024-05-01 to 2024-05-05"


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
    serve(ledger, is_due)
    ledger.read()
    ledger.rows.append(row(100, "2024-05-01T04:00:00Z"))

    threadmill("backfill", "ledger", "--from", "2024-05-01T12:00", "--to", "2024-05-03")
    report = answer("backfill", "ledger", "--from", "2024-05-01T12:00", "--to", "2024-05-03")

    assert report["sources"][0]["resources"][0]["new"] == 0
    assert ledger.stored("id") == [1, 2, 3, 100]


def test_rows_before_the_start_are_not_stored_again_after_a_reset(ledger: LedgerApi) -> None:
    """An API that knows no lower bound gave five rows of the year before, on pages from new to old."""
    ledger.configure(write="append")
    ledger.rows = [row(number, f"202{3 + number // 6}-02-{number:02}T00:00:00Z") for number in range(9, 0, -1)]
    serve(ledger, lambda row, since: True)
    ledger.read()
    threadmill("state", "reset", "ledger.rows")

    report = ledger.read()

    assert (report.rows_read, report.new) == (9, 0)
    assert ledger.stored("id") == list(range(1, 10))


def test_numbers_before_the_start_are_not_stored_again_after_a_reset(ledger: LedgerApi) -> None:
    ledger.configure(write="append", incremental=", format: number", more="")
    configured = ledger.folder / "config" / "ledger.yaml"
    configured.write_text(configured.read_text().replace("start: 2024-01-01", "start: 100"))
    ledger.rows = [{"id": number, "at": number} for number in (9, 10, 100, 101)]
    serve(ledger, lambda row, since: True)
    ledger.read()
    threadmill("state", "reset", "ledger.rows")
    ledger.rows.append({"id": 5, "at": 9.5})

    report = ledger.read()

    assert (report.rows_read, report.new) == (5, 1)
    assert ledger.stored("id") == [5, 9, 10, 100, 101]


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
    assert notes(ledger) == [f"backfill from 2024-05-0{day} to 2024-05-0{day + 1}" for day in (1, 2, 3)]
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


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_a_replay_makes_all_rows_anew_with_other_types_and_without_a_request(ledger: LedgerApi, write: str) -> None:
    """Two commits' pages, the second with a late revision; prices were text and become decimals."""
    ledger.configure(write=write)
    ledger.read()
    ledger.rows += [row(9, "2024-05-09T00:00:00Z", price="2.25"), row(10, "2024-05-08T00:00:00Z", price="3.25")]
    ledger.read()
    before, types = len(ledger.api.asked), {type(value) for value in ledger.stored("price")}
    ledger.configure(write=write, more='    columns: {at: timestamp, price: "decimal(8,2)"}\n')

    report = answer("replay", "ledger")
    second = answer("replay", "ledger.rows")

    assert types == {str}
    assert len(ledger.api.asked) == before
    assert ledger.stored("id") == list(range(1, 11))
    assert {type(value).__name__ for value in ledger.stored("price")} == {"Decimal"}
    assert report["sources"][0]["resources"][0]["evidence"] == "made anew from the kept pages of commits 1, 2"
    assert second["exit_code"] == 0
    assert ledger.read().new == 0


def test_a_replay_replaces_the_rows_of_kept_pages_only(ledger: LedgerApi) -> None:
    """Pages of the first commit are gone: its rows stay as they are, those of the second are made anew."""
    ledger.configure(write="append")
    ledger.read()
    ledger.rows += [row(9, "2024-05-09T00:00:00Z", price="2.25")]
    ledger.read()
    for path in (ledger.data / "spool" / "ledger" / "kept" / f"{1:012d}").iterdir():
        path.unlink()
    ledger.configure(write="append", more="    columns: {at: timestamp}\n    rename: {price: cost}\n")

    answer("replay", "ledger")

    assert ledger.stored("id") == list(range(1, 10))
    assert [value for value in map(str, ledger.stored("id", "cost")) if "None" not in value] == ["(9, '2.25')"]


def test_a_replay_never_puts_old_values_over_those_that_were_read_since(ledger: LedgerApi) -> None:
    """The pages of commit 2 are lost: those of commit 1 are older than what is stored, so only commit 3 is replayed."""
    ledger.configure()
    for price in ("1.00", "2.00"):
        ledger.rows = [row(number, f"2024-05-0{number}T00:00:00Z", price=price) for number in (1, 2)]
        ledger.read()
        threadmill("state", "set", "ledger.rows", "2024-01-01")
    ledger.rows.append(row(3, "2024-05-03T00:00:00Z", price="3.00"))
    threadmill("state", "set", "ledger.rows", "2024-05-03")
    ledger.read()
    lost = sorted((ledger.data / "spool" / "ledger" / "kept").iterdir())[1]
    for path in lost.iterdir():
        path.unlink()

    answer("replay", "ledger")

    assert ledger.stored("id", "price") == [(1, "2.00"), (2, "2.00"), (3, "3.00")]


def test_a_replay_without_kept_pages_or_for_another_question_changes_nothing(ledger: LedgerApi) -> None:
    ledger.configure()

    nothing_kept = threadmill("replay", "ledger")
    ledger.read()
    ledger.configure(more="    columns: {at: timestamp}\n    params: {color: red}\n")
    other_question = threadmill("replay", "ledger")

    assert nothing_kept.exit_code == other_question.exit_code == 1
    assert "no pages of rows are kept" in nothing_kept.stdout
    assert "not among those that are kept" in " ".join(other_question.stdout.split())
    assert ledger.stored("id") == list(range(1, 9))
    assert notes(ledger) == [""]


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_a_replay_goes_past_commits_that_only_arrange(ledger: LedgerApi, write: str) -> None:
    """A compaction put all rows into one file, and a watermark was set by hand; pages go back to the first row."""
    ledger.configure(write=write)
    ledger.read()
    ledger.rows += [row(9, "2024-05-09T00:00:00Z", price="2.25")]
    ledger.read()
    answer("compact", "ledger")
    answer("state", "set", "ledger.rows", "2024-05-08")
    ledger.rows += [row(10, "2024-05-10T00:00:00Z", price="2.25")]
    ledger.read()
    ledger.configure(write=write, more="    columns: {at: timestamp}\n    rename: {price: cost}\n")

    answer("replay", "ledger")

    assert ledger.stored("id", "cost")[-2:] == [(9, "2.25"), (10, "2.25")]
    assert ledger.stored("id") == list(range(1, 11))


def test_a_replay_leaves_out_what_a_rollback_took_back(ledger: LedgerApi) -> None:
    ledger.configure()
    ledger.read()
    ledger.rows += [row(9, "2024-05-09T00:00:00Z", price="2.25")]
    ledger.read()
    threadmill("rollback", "ledger", "1")

    answer("replay", "ledger")

    assert ledger.stored("id") == list(range(1, 9))


def test_pages_are_kept_for_as_long_as_the_settings_say(ledger: LedgerApi) -> None:
    ledger.configure()
    ledger.read()
    kept = list((ledger.data / "spool" / "ledger" / "kept").glob("*/*.pages"))
    (ledger.folder / "config" / "settings.toml").write_text('spool_retention = "0s"\n')
    ledger.rows += [row(9, "2024-05-09T00:00:00Z", price="2.25")]

    ledger.read()

    assert [path.name for path in kept] == ["rows.pages"]
    assert not (ledger.data / "spool" / "ledger").exists()


@pytest.mark.parametrize("command", ["state show", "state set", "state reset", "backfill", "replay"])
def test_help_shows_an_example(command: str) -> None:
    assert f"threadmill {command}" in threadmill(*command.split(), "--help").stdout
