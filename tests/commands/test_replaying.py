"""Rows made anew from kept pages, without a request."""

from __future__ import annotations

import pytest

from tests.commands.calls import answer, threadmill
from tests.ledger_api import LedgerApi, row


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
    assert ledger.notes() == [""]


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
