"""Open-Meteo's archive: columns, one place or several, and a queue that is soon full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import requests

from pipelines.demo import serve

Ask = Callable[..., requests.Response]

ORIGIN = "https://archive-api.open-meteo.com"
DAYS = "start_date=2012-01-01&end_date=2012-01-03"
RAIN = "daily=precipitation_sum,temperature_2m_max"
NEW_YORK = "latitude=40.7128&longitude=-74.006"
BOTH = "latitude=40.7128,47.6062&longitude=-74.006,-122.3321"


def test_one_place_is_an_object_of_columns(ask: Ask) -> None:
    """The first three days of 2012 in Seattle, from the grid cell near it."""
    answer = ask(f"{ORIGIN}/v1/archive?latitude=47.6062&longitude=-122.3321&{DAYS}&{RAIN}").json()

    assert answer["daily"] == {
        "time": ["2012-01-01", "2012-01-02", "2012-01-03"],
        "precipitation_sum": [0.0, 10.9, 0.8],
        "temperature_2m_max": [12.8, 10.6, 11.7],
    }
    assert answer["daily_units"] == {"time": "iso8601", "precipitation_sum": "mm", "temperature_2m_max": "°C"}
    assert (answer["latitude"], answer["longitude"]) == (47.5, -122.25)


def test_several_places_are_a_list_in_the_order_asked(ask: Ask) -> None:
    answer = ask(f"{ORIGIN}/v1/archive?{BOTH}&{DAYS}&{RAIN}").json()

    assert [place["latitude"] for place in answer] == [40.75, 47.5]
    assert answer[1]["daily"]["precipitation_sum"] == [0.0, 10.9, 0.8]


def test_four_years_hold_2922_days_of_two_places(ask: Ask) -> None:
    """8,604.6 mm of rain fell in them."""
    answer = ask(f"{ORIGIN}/v1/archive?{BOTH}&start_date=2012-01-01&end_date=2015-12-31&{RAIN}").json()

    rain = [value for place in answer for value in place["daily"]["precipitation_sum"]]

    assert (len(rain), round(sum(rain), 1)) == (2922, 8604.6)


@pytest.mark.parametrize(
    ("unit", "name", "speeds"),
    [
        pytest.param("", "km/h", [16.9, 16.2, 8.3], id="kilometres-by-default"),
        pytest.param("&wind_speed_unit=ms", "m/s", [4.7, 4.5, 2.3], id="metres"),
    ],
)
def test_wind_is_in_the_unit_asked_for(ask: Ask, unit: str, name: str, speeds: list[float]) -> None:
    query = f"latitude=47.6062&longitude=-122.3321&{DAYS}&daily=wind_speed_10m_max{unit}"

    answer = ask(f"{ORIGIN}/v1/archive?{query}").json()

    assert answer["daily_units"]["wind_speed_10m_max"] == name
    assert answer["daily"]["wind_speed_10m_max"] == speeds


@pytest.mark.parametrize(
    ("query", "named"),
    [
        pytest.param(f"{NEW_YORK}&start_date=2012-01-01&{RAIN}", "end_date", id="no-end"),
        pytest.param(f"{NEW_YORK}&start_date=2012-01-01&end_date=2016-01-01&{RAIN}", "allowed range", id="too-late"),
        pytest.param(f"{NEW_YORK}&start_date=2012-01-02&end_date=2012-01-01&{RAIN}", "End-date", id="end-before-start"),
        pytest.param(f"{NEW_YORK}&{DAYS}&daily=joy", "joy", id="unknown-variable"),
        pytest.param(f"latitude=40.7&longitude=-74,-122&{DAYS}&{RAIN}", "same number", id="too-many-longitudes"),
        pytest.param(f"latitude=40.7,47&longitude=-74&{DAYS}&{RAIN}", "same number", id="too-many-latitudes"),
        pytest.param(f"{NEW_YORK}&{DAYS}&{RAIN}&wind_speed_unit=warp", "warp", id="unknown-wind-unit"),
        pytest.param(f"latitude=north&longitude=-74&{DAYS}&{RAIN}", "latitude", id="no-number"),
        pytest.param(f"latitude=51.5&longitude=0&{DAYS}&{RAIN}", "New York and Seattle", id="a-place-not-bundled"),
    ],
)
def test_a_bad_parameter_is_400_with_its_reason(ask: Ask, query: str, named: str) -> None:
    answer = ask(f"{ORIGIN}/v1/archive?{query}")

    assert (answer.status_code, answer.json()["error"]) == (400, True)
    assert named in answer.json()["reason"]


def test_more_than_five_at_once_are_429_without_retry_after() -> None:
    """Sixteen threads ask at the same moment; five are let in, one of them runs."""
    together = Barrier(16)

    def status(origin: str) -> tuple[int, bool]:
        together.wait()
        answer = requests.get(f"{origin}/v1/archive?{NEW_YORK}&{DAYS}&{RAIN}", timeout=30)
        return answer.status_code, "Retry-After" in answer.headers

    with serve(latency="150ms") as origins, ThreadPoolExecutor(16) as threads:
        statuses = Counter(threads.map(status, [origins[ORIGIN]] * 16))

    assert set(statuses) == {(200, False), (429, False)}
    assert statuses[200, False] >= 5
