"""What moves, shrinks, or is cut off while it is being read is noticed, never passed over in silence."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

import pytest

from pipelines.extract.limits import Budget, Limits
from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, say

Rows = list[dict[str, Any]]


def rows(count: int) -> Rows:
    return [{"id": number} for number in range(count)]


def serve(shop: Shop, held: Rows, changes: dict[int, Any], *, total: bool, cap: int = 10) -> None:
    """Pages of *held* by offset and limit; before the request of that number a change happens to it."""

    def page(asked: Asked) -> Answer:
        changes.pop(len(shop.api.asked), lambda: None)()
        start = int(asked.params["offset"])
        size = min(int(asked.params.get("limit", cap)), cap)
        return say({"data": held[start : start + size], **({"total": len(held)} if total else {})})

    shop.api.route("/orders", page)


def test_g07_a_row_inserted_in_front_while_paging_is_noticed_and_no_row_is_lost(shop: Shop) -> None:
    """Without a total: the last row of page 2 is the first of page 3 again; a key makes it one."""
    held = rows(35)
    serve(shop, held, {3: lambda: held.insert(0, {"id": 99})}, total=False)

    outcome = shop.one(paginate={"offset": {}})

    assert {row["id"] for row in outcome.rows("orders")} >= set(range(35))
    assert outcome.extractions["orders"].verdict == "unproved"
    assert (
        "page 3 begins with the record that page 2 ended with: a row has moved"
        in outcome.extractions["orders"].evidence
    )


@pytest.mark.parametrize(
    ("change", "verdict", "evidence"),
    [
        pytest.param(lambda held: held.insert(0, {"id": 99}), "unproved", "the total grew from 35 to 36", id="g07"),
        pytest.param(lambda held: held.pop(0), "incomplete", "the total fell from 35 to 34", id="g08"),
    ],
)
def test_g07_g08_a_total_that_changes_while_paging_is_told(
    shop: Shop, change: Any, verdict: str, evidence: str
) -> None:
    held = rows(35)
    serve(shop, held, {3: lambda: change(held)}, total=True)
    shop.settings = {"limits": {"in_flight": 1}}

    extraction = shop.one(paginate={"offset": {"total": "total"}}).extractions["orders"]

    assert (extraction.verdict, extraction.error) == (verdict, None)
    assert evidence in extraction.evidence


def test_g07_a_row_that_would_be_stored_twice_is_drift(shop: Shop) -> None:
    held = rows(35)
    serve(shop, held, {3: lambda: held.insert(0, {"id": 99})}, total=False)
    shop.singles = ("orders",)

    error = shop.one(paginate={"offset": {}}).error("orders")

    assert error.kind == "Drift"
    assert "a row has moved while it was read" in error.message


def test_g08_a_row_deleted_while_paging_is_drift_where_pages_overlap(shop: Shop) -> None:
    """Each page repeats the last record of the one before; after a deletion it cannot."""
    held = rows(35)
    serve(shop, held, {3: lambda: held.pop(0)}, total=False)

    error = shop.one(paginate={"offset": {"overlap": 1}}).error("orders")

    assert error.kind == "Drift"
    assert "page 3 does not begin where the one before it ended" in error.message


def test_pages_that_overlap_end_and_hold_every_row(shop: Shop) -> None:
    serve(shop, rows(35), {}, total=False)

    outcome = shop.one(paginate={"offset": {"overlap": 1}})

    assert {row["id"] for row in outcome.rows("orders")} == set(range(35))
    assert [asked.params["offset"] for asked in shop.api.asked] == ["0", "9", "18", "27", "34"]


@pytest.mark.parametrize("cap", [50, 20])
def test_a_page_size_that_the_server_caps_loses_nothing_though_a_short_page_ends_paging(shop: Shop, cap: int) -> None:
    """100 are asked for, 50 or 20 come: a round number is taken for a cap, not for the end."""
    serve(shop, rows(107), {}, total=False, cap=cap)

    outcome = shop.one(paginate={"offset": {"size": 100, "size_param": "limit", "until": "short"}})

    assert len(outcome.rows("orders")) == 107


@pytest.mark.parametrize("refuses", [True, False], ids=["by-an-error", "by-a-cap"])
def test_a_window_that_the_api_does_not_give_whole_is_halved(shop: Shop, refuses: bool) -> None:
    """31 days of an hourly row each; never more than 100 rows an answer: 744 rows in windows of at most 4 days."""
    hours = [f"2024-01-{1 + number // 24:02}T{number % 24:02}:00:00+00:00" for number in range(31 * 24)]

    def window(asked: Asked) -> Answer:
        since, until = (datetime.fromisoformat(asked.params[name]) for name in ("since", "until"))
        found = [hour for hour in hours if since <= datetime.fromisoformat(hour) < until]
        if refuses and len(found) > 100:
            return say({"error": "exceeds the limit of 100"}, 400)
        return say({"data": [{"at": hour} for hour in found[:100]]})

    shop.api.route("/orders", window)
    shop.settings = {"retry": {"attempts": 1}}

    outcome = shop.one(
        paginate="none",
        incremental={
            "cursor": "at", "since_param": "since", "until_param": "until", "start": "2024-01-01",
            "end": "2024-02-01", "window": "31d", "bounds": "half_open", **({} if refuses else {"most": 100}),
        },
        errors=[{"status": 400, "when": "contains(error, 'limit')", "do": "split"}],
    )  # fmt: skip

    found = [row["at"] for row in outcome.rows("orders")]
    assert outcome.extractions["orders"].error is None
    assert found == [hour for hour in hours if hour < "2024-01-31T12:00:00+00:00"]
    assert len(shop.api.asked) <= 32


def test_a_window_that_cannot_be_halved_is_an_error(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": rows(5)}))
    incremental = {"cursor": "at", "since_param": "s", "until_param": "u", "start": "2024-01-30", "format": "date"}

    error = shop.one(incremental={**incremental, "window": "1d", "bounds": "closed", "most": 5}).error("orders")

    assert "does not give all records of the shortest window" in error.message


def test_after_a_429_fewer_requests_are_in_flight_until_the_host_is_at_ease() -> None:
    """Eight places become four, and one more after each round of successes."""
    now = [0.0]
    budget = Budget(Limits(in_flight=8), clock=lambda: now[0])

    budget.pause(1.0)
    throttled = budget.allowed
    now[0] = 2.0
    grown = []
    for _ in range(30):
        with budget.place(1, stop=threading.Event()):
            pass
        grown.append(budget.allowed)

    assert throttled == 4
    assert grown[:6] == [4, 4, 4, 4, 5, 5]
    assert max(grown) == 8
