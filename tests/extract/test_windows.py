"""Spans of time are asked for window by window, each with its bounds."""

from __future__ import annotations

import threading

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
