"""What has been read, looked at and changed by hand."""

from __future__ import annotations

import pytest

from tests.commands.calls import answer, threadmill
from tests.ledger_api import LedgerApi, row


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
    assert ledger.notes() == ["", "state of rows: 2024-05-03", "state of rows: reset"]
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


@pytest.mark.parametrize("write", ["append", "upsert"])
@pytest.mark.parametrize("way", ["reset", "set"])
def test_another_cursor_does_not_go_on_from_the_watermark_of_the_first(ledger: LedgerApi, write: str, way: str) -> None:
    """The older rows were changed later than the newest was made: asked from its time on they would be missed."""
    ledger.configure(write=write, more="    columns: {at: timestamp, changed: timestamp}\n")
    ledger.rows = [row(number, f"2024-05-0{number}T00:00:00Z", changed="2024-04-01T00:00:00Z") for number in (1, 2)]
    ledger.read()
    committed = ledger.notes()
    configured = ledger.folder / "config" / "ledger.yaml"
    configured.write_text(configured.read_text().replace("cursor: at", "cursor: changed"))

    (failed,) = ledger.run().resources
    plan = threadmill("plan", "ledger")
    after = ledger.notes()
    threadmill("state", way, "ledger.rows", *(["2024-03-01"] if way == "set" else []))
    ledger.serve(lambda row, since: row["changed"] >= since)
    ledger.rows.append(row(3, "2024-05-01T00:00:00Z", changed="2024-04-02T00:00:00Z"))
    second, third = ledger.read(), ledger.read()

    assert failed.problem is not None
    assert failed.problem.kind == "CursorError"
    assert "the watermark 2024-05-02 00:00:00.000000Z is one of 'at', and `cursor` is 'changed' now" in (
        failed.problem.message
    )
    assert "`threadmill state reset SOURCE.RESOURCE`" in failed.problem.hint
    assert "one of 'at'" in plan.stderr + plan.stdout
    assert after == committed
    assert (second.new, third.new) == (1, 0)
    assert ledger.stored("id") == [1, 2, 3]
    assert ledger.state()["watermark"]["cursor"] == "changed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("state", "set", "ledger.rows", "soon"), "'soon' is no ISO date or time", id="value"),
        pytest.param(("state", "set", "ledger", "2024-05-01"), "say which resource", id="no-resource"),
        pytest.param(("state", "set", "ledger.rows", ""), "VALUE is empty", id="nothing"),
        pytest.param(("state", "set", "ledger.rows", " ", "--parent", "a"), "VALUE is empty", id="nothing-of-a-parent"),
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


def test_rows_before_the_start_are_not_stored_again_after_a_reset(ledger: LedgerApi) -> None:
    """An API that knows no lower bound gave five rows of the year before, on pages from new to old."""
    ledger.configure(write="append")
    ledger.rows = [row(number, f"202{3 + number // 6}-02-{number:02}T00:00:00Z") for number in range(9, 0, -1)]
    ledger.serve(lambda row, since: True)
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
    ledger.serve(lambda row, since: True)
    ledger.read()
    threadmill("state", "reset", "ledger.rows")
    ledger.rows.append({"id": 5, "at": 9.5})

    report = ledger.read()

    assert (report.rows_read, report.new) == (5, 1)
    assert ledger.stored("id") == [5, 9, 10, 100, 101]


@pytest.mark.parametrize("command", ["state show", "state set", "state reset", "backfill", "replay"])
def test_help_shows_an_example(command: str) -> None:
    assert f"threadmill {command}" in threadmill(*command.split(), "--help").stdout
