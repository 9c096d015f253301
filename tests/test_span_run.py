"""Spans and windows in whole runs: what makes them done, and what a later run leaves of them."""

from __future__ import annotations

import pytest

from pipelines.load.lake import Lake
from pipelines.report.spans import Span, windows_done
from tests.fake_api import say
from tests.ledger_api import LedgerApi, instant, row


def test_pages_of_an_unfinished_backfill_do_not_overwrite_what_was_read_since(ledger: LedgerApi) -> None:
    """Page 1 has the old amount; the nightly run reads the new one; the backfill goes on the day after."""
    ledger.configure()
    ledger.rows = [{**row(number, f"2024-03-0{number}T00:00:00Z"), "amount": 1} for number in range(1, 7)]
    healthy = ledger.api.routed("/rows")
    ledger.api.route("/rows", lambda asked: say({}, 500) if int(asked.params.get("page", 1)) > 1 else healthy(asked))
    ledger.run(span=Span("2024-03-01", "2024-03-09"))
    ledger.api.route("/rows", healthy)
    ledger.rows = [{**one, "amount": 2} for one in ledger.rows]
    ledger.run()

    ledger.run(span=Span("2024-03-01", "2024-03-09"))

    assert ledger.stored("amount") == [2] * 6


@pytest.mark.parametrize(
    ("settle", "now", "done"),
    [
        pytest.param("0s", "2024-03-01", set(), id="ahead"),
        pytest.param("0s", "2024-03-05T14:00", set(), id="under-way"),
        pytest.param("0s", "2024-03-06", {"2024-03-05"}, id="over"),
        pytest.param("2d", "2024-03-07T23:59", set(), id="not-settled"),
        pytest.param("2d", "2024-03-08", {"2024-03-05"}, id="settled"),
    ],
)
def test_a_window_is_done_when_all_of_it_could_be_asked_for(
    ledger: LedgerApi, settle: str, now: str, done: set[str]
) -> None:
    ledger.configure(incremental=f", settle: {settle}")

    ledger.run(now=instant(now), span=Span("2024-03-05", "2024-03-06", part_of="march"))

    assert windows_done(Lake(ledger.data, "ledger").head(), ["rows"], "march") == done


@pytest.mark.parametrize("place", ["graphql: {{query: 'rows(from: \"{start}\")'}}", "headers: {{X-From: '{start}'}}"])
def test_a_bound_may_stand_in_a_query_or_a_header_and_is_asked_for_a_span(ledger: LedgerApi, place: str) -> None:
    ledger.configure()
    source = ledger.folder / "config" / "ledger.yaml"
    text = source.read_text().replace(", since_param: since, until_param: until", "")
    text = text.replace("paginate: {page_number: {total: total}}", "paginate: none\n    idempotent: true")
    source.write_text(text + f"    {place}\n".format(start="{window.start}"))
    ledger.api.route("/rows", lambda asked: say({"data": [row(1, "2024-03-01T00:00:00Z")]}))

    report = ledger.read(span=Span("2024-02-29", "2024-03-02"))

    (asked,) = ledger.api.asked
    assert report.new == 1
    assert "2024-02-29" in asked.body.decode() + asked.headers.get("x-from", "")


def test_pages_from_before_the_end_of_a_window_do_not_make_it_done(ledger: LedgerApi) -> None:
    """At two o'clock page 2 fails; the next day the backfill goes on with what it asked then, and once more after."""
    ledger.configure(write="append")
    ledger.rows = [row(number, f"2024-03-05T0{number}:00:00Z") for number in range(1, 6)]
    healthy = ledger.api.routed("/rows")
    ledger.api.route("/rows", lambda asked: say({}, 500) if int(asked.params.get("page", 1)) > 1 else healthy(asked))
    window = Span("2024-03-05", "2024-03-06", part_of="march")
    ledger.run(now=instant("2024-03-05T14:00"), span=window)
    ledger.api.route("/rows", healthy)
    ledger.rows.append(row(6, "2024-03-05T20:00:00Z"))

    states = []
    for _ in range(2):
        ledger.run(now=instant("2024-03-06T01:00"), span=window)
        states.append(windows_done(Lake(ledger.data, "ledger").head(), ["rows"], "march"))

    assert states == [set(), {"2024-03-05"}]
    assert ledger.stored("id") == [1, 2, 3, 4, 5, 6]
