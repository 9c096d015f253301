"""The source files aim at the live APIs, and keep their etiquette."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.loading import Sources, load
from pipelines.config.settings import read_settings
from pipelines.demo import serve

ROOT = Path(__file__).resolve().parents[2]


def sources(profile: str, **env: str) -> Sources:
    """The sources as a run with *profile* reads them."""
    settings = read_settings({"THREADMILL_PROFILE": profile}, root=ROOT)
    return load(ROOT / "config", env=env, variables=settings.variables)


@pytest.mark.parametrize("profile", ["bundled", "live"])
def test_every_source_file_is_valid_and_raises_no_warning(profile: str) -> None:
    found = sources(profile)

    assert found.names == ("frankfurter", "nager", "openmeteo", "usgs", "worldbank")
    assert found.warnings == ()


def test_every_source_has_a_bundled_api_that_stands_in() -> None:
    with serve(latency="0ms") as origins:
        bundled = set(origins)

    assert {source.origin for source in sources("bundled")} == bundled


def test_requests_say_who_asks() -> None:
    """The contact is a variable of the environment, in the user agent of every source."""
    found = sources("live", CONTACT="ops@example.org")

    assert {source.user_agent for source in found} == {"threadmill/0.1 (ops@example.org)"}


def test_one_request_at_a_time_where_the_api_runs_one() -> None:
    """Open-Meteo: one at once, and a year of four variables counts as eleven calls."""
    source = sources("live")["openmeteo"]

    assert source.limits.in_flight == 1
    assert source.resources["daily"].weight == 11


def test_the_profiles_differ_in_the_time_they_cover() -> None:
    """The snapshots end; the public APIs are read up to now."""
    rates = {profile: sources(profile)["frankfurter"].resources["rates"].incremental for profile in ("bundled", "live")}

    ends = {profile: incremental.end for profile, incremental in rates.items() if incremental}

    assert ends == {"bundled": "2018-03-31", "live": "2100-01-01"}
