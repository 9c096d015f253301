"""Spans of time are asked for window by window, each with its bounds."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
import pytest

from pipelines.extract.watermark import Watermark
from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, say


def test_windows_are_asked_side_by_side_up_to_the_frozen_bound(shop: Shop) -> None:
    together = threading.Barrier(3)

    def route(asked: Asked) -> Answer:
        together.wait(10)
        return say([{"from": asked.params["from"], "to": asked.params["to"]}])

    shop.api.route("/spend", route)

    outcome = shop.extract(
        {
            "spend": {
                "path": "/spend",
                "incremental": {
                    "cursor": "date", "since_param": "from", "until_param": "to", "format": "date", "bounds": "closed",
                    "start": "2024-01-01", "window": "10d", "settle": "1d",
                },
            }
        }
    )  # fmt: skip

    assert [(row["from"], row["to"]) for row in outcome.rows("spend")] == [
        ("2024-01-01", "2024-01-10"), ("2024-01-11", "2024-01-20"), ("2024-01-21", "2024-01-30"),
    ]  # fmt: skip
    assert shop.api.most_running == 3
    assert outcome.extractions["spend"].asked_until == "2024-01-30"


def test_each_window_that_came_is_kept_when_another_fails(shop: Shop) -> None:
    """The last of three windows fails: the next run asks for that one alone."""
    shop.settings = {"limits": {"in_flight": 1}}
    fails = {"2024-01-21"}
    shop.api.route(
        "/spend", lambda asked: Answer(400) if asked.params["from"] in fails else say([{"from": asked.params["from"]}])
    )
    spend = {
        "path": "/spend",
        "incremental": {
            "cursor": "date", "since_param": "from", "until_param": "to", "format": "date", "bounds": "closed",
            "start": "2024-01-01", "window": "10d", "settle": "1d",
        },
    }  # fmt: skip
    first = shop.extract({"spend": spend})
    fails.clear()
    before = len(shop.api.asked)

    second = shop.extract({"spend": spend})

    assert first.error("spend").kind == "HttpError"
    assert [asked.params["from"] for asked in shop.api.asked[before:]] == ["2024-01-21"]
    assert [row["from"] for row in second.rows("spend")] == ["2024-01-01", "2024-01-11", "2024-01-21"]


def test_a_window_may_stand_in_the_paths_and_begins_at_the_watermark(shop: Shop) -> None:
    """In that of the records, and of their count."""
    shop.api.answer("/v1/2024-01-20..2024-01-31", say({"rates": {"2024-01-20": {"USD": 1.1}}}))
    shop.api.answer("/count/2024-01-20", say({"count": 1}))

    outcome = shop.extract(
        {
            "rates": {
                "path": "/v1/{window.start}..{window.end}",
                "records": {"entries": "rates", "keys": ["date"]},
                "incremental": {"cursor": "date", "format": "date", "start": "1999-01-04"},
                "count": {"path": "/count/{window.start}"},
            }
        },
        {"rates": Watermark("2024-01-20")},
    )

    assert (outcome.extractions["rates"].error, outcome.extractions["rates"].verdict) == (None, "complete")
    assert len(outcome.pages["rates"]) == 1


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        pytest.param("epoch_s", 1704067200, id="seconds"),
        pytest.param("epoch_ms", 1704067200000, id="milliseconds"),
        pytest.param("iso", "2024-01-01T00:00:00Z", id="iso"),
        pytest.param("%Y%m%d", "20240101", id="strftime"),
    ],
)
def test_a_bound_in_a_json_body_is_a_number_where_its_format_is_one(
    shop: Shop, layout: str, expected: int | str
) -> None:
    shop.api.route("/search", lambda asked: say([{"query": orjson.loads(asked.body)}]))

    outcome = shop.extract(
        {
            "found": {
                "path": "/search", "body": {"query": {"from": "{window.start}", "text": "since {window.start}"}},
                "incremental": {"cursor": "u", "start": "2024-01-01", "format": layout},
            }
        }
    )  # fmt: skip

    (row,) = outcome.rows("found")
    assert row["query"]["query"] == {"from": expected, "text": f"since {expected}"}


@pytest.mark.parametrize("kind", ["number", "text"])
def test_an_upper_bound_that_there_is_not_is_not_asked_for(shop: Shop, kind: str) -> None:
    """Ids have no now; with `end` there is one."""
    shop.api.answer("/orders", say({"data": [{"id": 1}]}))
    incremental = {"cursor": "id", "format": kind, "start": "0", "since_param": "min", "until_param": "max"}

    shop.one(incremental=incremental)
    shop.extract({"others": {"path": "/orders", "records": "data", "incremental": {**incremental, "end": "9"}}})

    assert [asked.params.get("max") for asked in shop.api.asked] == [None, "9"]


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


def hourly(shop: Shop, hours: int, most: int, *, refuses: bool) -> dict[str, Any]:
    """One window of so many hourly rows in pages of ten, of which the API gives no more than *most*."""

    def page(asked: Asked) -> Answer:
        first = 10 * (int(asked.params["page"]) - 1)
        if refuses and first >= most:
            return say({"message": f"beyond the limit of {most}"}, 400)
        return say({"data": [{"id": number} for number in range(min(hours, most))][first : first + 10]})

    shop.api.route("/orders", page)
    return {
        "cursor": "at", "since_param": "since", "until_param": "until", "start": "2024-01-01", "end": "2024-02-01",
        "window": "31d", "bounds": "half_open",
    }  # fmt: skip


@pytest.mark.parametrize("paginate", ["page_number", {"page_number": {"reread": True}}], ids=["plain", "reread"])
def test_a_window_that_is_found_too_long_after_page_one_is_an_error(shop: Shop, paginate: Any) -> None:
    """Page 3 is refused: rows of pages 1 and 2 went on already, so the window is not halved, nor taken for read."""
    incremental = hourly(shop, 40, 20, refuses=True)
    errors = [{"status": 400, "when": "contains(message, 'limit')", "do": "split"}]

    error = shop.one(paginate=paginate, incremental=incremental, errors=errors).error("orders")

    assert error.kind == "DecodeError"
    assert "a page after the first says that the window is too long" in error.message
    assert "`window` shorter" in error.hint


@pytest.mark.parametrize(
    ("hours", "paginate", "verdict"),
    [
        pytest.param(19, "page_number", "unproved", id="not-full"),
        pytest.param(20, "page_number", "incomplete", id="full"),
        pytest.param(40, "page_number", "incomplete", id="cut"),
        pytest.param(40, {"offset": {"param": "o", "overlap": 0}}, "incomplete", id="offset"),
    ],
)
def test_a_window_whose_pages_hold_as_much_as_the_api_gives_is_incomplete(
    shop: Shop, hours: int, paginate: Any, verdict: str
) -> None:
    """Of at most 20 rows in pages of ten, after which comes an empty one; there is no total to halve the window by."""
    incremental = {**hourly(shop, hours, 20, refuses=False), "most": 20}
    by_page = shop.api.routed("/orders")

    def page(asked: Asked) -> Answer:
        number = asked.params.get("page") or str(int(asked.params["o"]) // 10 + 1)
        return by_page(replace(asked, params={**asked.params, "page": number}))

    shop.api.route("/orders", page)

    extraction = shop.one(paginate=paginate, incremental=incremental).extractions["orders"]

    assert (extraction.verdict, extraction.error) == (verdict, None), extraction.evidence
    assert verdict != "incomplete" or "20 records of a window of which the API gives 20 at most" in extraction.evidence


def test_a_full_window_that_the_api_counts_is_complete(shop: Shop) -> None:
    incremental = {**hourly(shop, 20, 20, refuses=False), "most": 20}
    shop.api.answer("/count", say({"count": 20}))

    extraction = shop.one(paginate="page_number", incremental=incremental, count={"path": "/count"}).extractions

    assert extraction["orders"].verdict == "complete", extraction["orders"].evidence


def test_a_window_that_cannot_be_halved_is_an_error(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": [{"id": number} for number in range(5)]}))
    incremental = {"cursor": "at", "since_param": "s", "until_param": "u", "start": "2024-01-30", "format": "date"}

    error = shop.one(incremental={**incremental, "window": "1d", "bounds": "closed", "most": 5}).error("orders")

    assert "does not give all records of the shortest window" in error.message
