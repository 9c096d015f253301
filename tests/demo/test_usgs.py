"""USGS: what the bundled service answers is what the live one would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

Ask = Callable[..., requests.Response]

EVENTS = "https://earthquake.usgs.gov/fdsnws/event/1/query?format=geojson&starttime=2018-01-31"
COUNT = "https://earthquake.usgs.gov/fdsnws/event/1/count?format=geojson&starttime=2018-01-31"


def events(answer: requests.Response) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.json()["features"]
    return found


def test_the_week_holds_1707_events(ask: Ask) -> None:
    """The count and the collection agree, and an event has the live shape."""
    count = ask(COUNT).json()

    collection = ask(EVENTS + "&orderby=time-asc").json()

    assert count == {"count": 1707, "maxAllowed": 20000}
    assert collection["metadata"]["count"] == len(collection["features"]) == 1707
    assert len(collection["bbox"]) == 6
    first = collection["features"][0]
    assert sorted(first) == ["geometry", "id", "properties", "type"]
    assert first["properties"]["time"] == 1517363399650


def test_pages_from_offset_one_hold_every_event_once(ask: Ask) -> None:
    """Four pages of 500, 500, 500 and 207 in the order of time."""
    pages = [events(ask(f"{EVENTS}&orderby=time-asc&limit=500&offset={first}")) for first in (1, 501, 1001, 1501)]

    ids = [event["id"] for page in pages for event in page]

    assert [len(page) for page in pages] == [500, 500, 500, 207]
    assert len(set(ids)) == 1707
    times = [event["properties"]["time"] for page in pages for event in page]
    assert times == sorted(times)


def test_newest_first_is_the_default_order(ask: Ask) -> None:
    times = [event["properties"]["time"] for event in events(ask(EVENTS + "&limit=50"))]

    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    "window",
    [
        pytest.param("&updatedafter=2018-02-08", id="nothing-updated-since"),
        pytest.param("&endtime=2018-01-30", id="no-event-in-the-window"),
        pytest.param("&offset=1708", id="past-the-last-page"),
    ],
)
def test_an_empty_window_is_204_without_a_body(ask: Ask, window: str) -> None:
    answer = ask(EVENTS + window)

    assert (answer.status_code, answer.content) == (204, b"")


def test_without_starttime_the_window_is_the_last_30_days(ask: Ask) -> None:
    answer = ask("https://earthquake.usgs.gov/fdsnws/event/1/query?format=geojson")

    assert answer.status_code == 204


@pytest.mark.parametrize(
    ("query", "named"),
    [
        pytest.param("&limit=20001", "limit", id="limit-above-20000"),
        pytest.param("&limit=0", "limit", id="limit-zero"),
        pytest.param("&offset=0", "offset", id="offset-starts-at-one"),
        pytest.param("&starttime2=2018-01-31", "starttime2", id="unknown-parameter"),
        pytest.param("&updatedafter=yesterday", "updatedafter", id="no-timestamp"),
        pytest.param("&orderby=size", "orderby", id="unknown-order"),
    ],
)
def test_a_bad_parameter_is_400_and_named(ask: Ask, query: str, named: str) -> None:
    answer = ask(EVENTS + query)

    assert answer.status_code == 400
    assert named in answer.text


def test_only_events_updated_later_are_answered(ask: Ask) -> None:
    """The newest update is found from the millisecond before it, and not from its own."""
    before = ask(EVENTS + "&updatedafter=2018-02-07T01:45:04.876Z")

    itself = ask(EVENTS + "&updatedafter=2018-02-07T01:45:04.877Z")

    assert [event["properties"]["updated"] for event in events(before)] == [1517967904877]
    assert itself.status_code == 204


def test_filters_narrow_events_and_count_alike(ask: Ask) -> None:
    """85 events of magnitude 4.5 and more; 28 that are no earthquakes."""
    strong = events(ask(EVENTS + "&minmagnitude=4.5"))
    blasts = ask(COUNT + "&eventtype=explosion,quarry%20blast").json()

    assert len(strong) == ask(COUNT + "&minmagnitude=4.5").json()["count"] == 85
    assert blasts["count"] == 28
