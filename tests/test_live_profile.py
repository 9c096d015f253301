"""With the profile `live` every resource asks its public API as that API's documentation wants to be asked.

No packet leaves: the live origins are mapped to fake APIs, and what arrives there is read.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.config.project import Project, load_project
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, fake_api, say

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 11, 1, 12, 0, 30, 250_000, tzinfo=UTC)
CONTACT = "ops@example.org"
ORIGINS = {
    "usgs": "https://earthquake.usgs.gov",
    "frankfurter": "https://api.frankfurter.dev",
    "worldbank": "https://api.worldbank.org",
    "openmeteo": "https://archive-api.open-meteo.com",
    "nager": "https://date.nager.at",
}
EVENT = {
    "type": "Feature",
    "id": "ci37868143",
    "properties": {"mag": 2, "time": 1793491200000, "updated": 1793491200000, "ids": ",ci37868143,"},
    "geometry": {"type": "Point", "coordinates": [-118.6, 34.5, 10.1]},
}


def usgs(asked: Asked) -> Answer:
    return say({"count": 1, "maxAllowed": 20000} if asked.path.endswith("/count") else {"features": [EVENT]})


def frankfurter(asked: Asked) -> Answer:
    return say({"amount": 1.0, "base": "EUR", "rates": {"2026-10-30": {"USD": 1.1}}})


def worldbank(asked: Asked) -> Answer:
    return say([{"page": 1, "pages": 1, "per_page": 1000, "total": 0}, None])


def openmeteo(asked: Asked) -> Answer:
    names = [*asked.params["daily"].split(","), "time"]
    day = asked.params["start_date"]
    return say(
        {"latitude": 40.7, "longitude": -74.0, "daily": {name: [day if name == "time" else 1.5] for name in names}}
    )


def nager(asked: Asked) -> Answer:
    return say([])


ANSWERS = {"usgs": usgs, "frankfurter": frankfurter, "worldbank": worldbank, "openmeteo": openmeteo, "nager": nager}


@dataclass(frozen=True)
class Live:
    """The project with profile `live`, and the fake API of each source after one run."""

    project: Project
    apis: dict[str, FakeApi]

    def first(self, source: str, part: str = "") -> Asked:
        """The first request whose path holds *part*."""
        return next(asked for asked in self.apis[source].asked if part in asked.path)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    data = tmp_path_factory.mktemp("live")
    project = load_project({"THREADMILL_PROFILE": "live", "CONTACT": CONTACT}, root=ROOT, data=data)
    with ExitStack() as stack:
        apis = {name: stack.enter_context(fake_api()) for name in ORIGINS}
        for name, api in apis.items():
            api.route_all(ANSWERS[name])
        origin_map = {ORIGINS[name]: api.url for name, api in apis.items()}
        shared = Shared("live", NOW, project.settings, Here(), origin_map=origin_map)
        # each in a thread, as a run has them: those of slow limits wait side by side
        threads = [threading.Thread(target=run_source, args=(source, shared)) for source in project.sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield Live(project, apis)


def test_the_live_profile_asks_the_public_apis_and_starts_no_bundled_ones(live: Live) -> None:
    assert live.project.settings.bundled_apis is False
    assert {source.name: source.connection().origin for source in live.project.sources} == ORIGINS


@pytest.mark.parametrize("source", ORIGINS, ids=str)
def test_every_request_says_who_asks_how_to_reach_them_and_takes_compressed_answers(live: Live, source: str) -> None:
    headers = [asked.headers for asked in live.apis[source].asked]

    assert {one["user-agent"] for one in headers} == {f"threadmill/0.1 ({CONTACT})"}
    assert all("gzip" in one["accept-encoding"] for one in headers)
    assert all(not {"cookie", "authorization"} & one.keys() for one in headers)


def test_usgs_is_asked_by_time_of_revision_from_offset_one_with_a_page_it_allows(live: Live) -> None:
    """Offsets begin at 1; more than 20,000 at a time is a 400; `/count` takes the same filters without paging."""
    query, count = live.first("usgs", "/query"), live.first("usgs", "/count")
    filters = {
        "format": "geojson",
        "orderby": "time-asc",
        "starttime": "2026-10-01",
        "updatedafter": "2026-10-01T00:00:00Z",
    }

    assert query.path == "/fdsnws/event/1/query"
    assert query.params == {**filters, "limit": "500", "offset": "1"}
    assert int(query.params["limit"]) <= 20_000
    assert (count.path, count.params) == ("/fdsnws/event/1/count", filters)


def test_frankfurter_is_asked_for_windows_of_days_up_to_yesterday(live: Live) -> None:
    """The rates of today are not final; a window is part of the path."""
    windows = [re.fullmatch(r"/v1/(\S{10})\.\.(\S{10})", asked.path) for asked in live.apis["frankfurter"].asked]
    bounds = sorted((window[1], window[2]) for window in windows if window)

    assert len(bounds) == len(windows) == 12
    assert (bounds[0], bounds[-1][1]) == (("2024-01-02", "2024-04-01"), "2026-10-31")
    assert {tuple(asked.params.items()) for asked in live.apis["frankfurter"].asked} == {(("base", "EUR"),)}


def test_world_bank_is_asked_for_json_in_pages_it_allows(live: Live) -> None:
    """XML is its default; 32,500 records a page are the most."""
    country, indicator = live.first("worldbank", "/v2/country"), live.first("worldbank", "/indicator/")
    asked = {one.path: one.params for one in live.apis["worldbank"].asked}

    assert asked["/v2/country"] == {"format": "json", "per_page": "100", "page": "1"}
    assert asked["/v2/country/all/indicator/SP.POP.TOTL"] == {
        "format": "json",
        "date": "2019:2025",
        "per_page": "1000",
        "page": "1",
    }
    assert all(int(one.params["per_page"]) <= 32_500 for one in (country, indicator))


def test_open_meteo_is_asked_for_one_place_and_year_at_a_time(live: Live) -> None:
    """Up to six days ago, as the archive is late; one request runs at a time, each by its weight."""
    first, asked = live.first("openmeteo"), live.apis["openmeteo"].asked
    daily = live.project.sources["openmeteo"].resources["daily"]

    assert first.path == "/v1/archive"
    assert first.params == {
        "latitude": "40.7128",
        "longitude": "-74.006",
        "daily": "precipitation_sum,temperature_2m_max,temperature_2m_min,wind_speed_10m_max",
        "wind_speed_unit": "ms",
        "timezone": "UTC",
        "start_date": "2024-01-01",
        "end_date": "2024-12-31",
    }
    assert max(one.params["end_date"] for one in asked) == "2026-10-26"
    assert live.apis["openmeteo"].most_running == 1
    variables, days = len(first.params["daily"].split(",")), 366
    assert daily.weight >= max(1, variables / 10 * days / 14)


def test_nager_is_asked_once_for_each_country_and_year(live: Live) -> None:
    paths = [asked.path for asked in live.apis["nager"].asked]

    assert len(paths) == len(set(paths)) == 17 * 3
    assert "/api/v3/PublicHolidays/2026/US" in paths
    assert all(not asked.params for asked in live.apis["nager"].asked)


def test_the_pace_is_what_each_api_allows(live: Live) -> None:
    """Open-Meteo publishes 600 a minute, 5,000 an hour, 10,000 a day and one at a time; the others get little."""
    limits = {source.name: source.limits for source in live.project.sources}
    pace = {name: ([(rate.requests, rate.seconds) for rate in one.rate], one.in_flight) for name, one in limits.items()}

    assert pace == {
        "usgs": ([(5, 1.0)], 2),
        "frankfurter": ([], 4),
        "worldbank": ([(10, 1.0)], 4),
        "openmeteo": ([(600, 60.0), (5000, 3600.0)], 1),
        "nager": ([], 8),
    }
    assert limits["openmeteo"].daily == 10_000
    assert all(live.apis[name].most_running <= one.in_flight for name, one in limits.items())
