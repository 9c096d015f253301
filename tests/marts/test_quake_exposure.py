"""Tests of the mart of events; the expected figures were computed independently of the product."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.marts import reference
from pipelines.marts.quake_exposure import quake_exposure
from tests.marts.conftest import Files, MakeMart

FIGURES = [
    pytest.param("rows", 1707, id="rows"),
    pytest.param("distinct_event", 1707, id="events"),
    pytest.param("distinct_country", 47, id="countries"),
    pytest.param("sum_people_50km", 619_312_885, id="people-50km"),
    pytest.param("sum_people_100km", 2_864_742_365, id="people-100km"),
    pytest.param("sum_people_250km", 15_137_788_623, id="people-250km"),
    pytest.param("with_rate", 1624, id="with-rate"),
    pytest.param("max_mag", 6.4, id="largest"),
    pytest.param("events_m45", 85, id="m45"),
    pytest.param("mean_km_to_city", 115.29, id="mean-distance"),
]


def figures(table: pa.Table) -> dict[str, Any]:
    people = {f"sum_people_{km}km": pc.sum(table[f"people_{km}km"]).as_py() for km in (50, 100, 250)}
    return people | {
        "rows": table.num_rows,
        "distinct_event": pc.count_distinct(table["event_id"]).as_py(),
        "distinct_country": pc.count_distinct(table["country_code"]).as_py(),
        "with_rate": table.num_rows - table["rate"].null_count,
        "max_mag": pc.max(table["mag"]).as_py(),
        "events_m45": pc.sum(pc.greater_equal(table["mag"], 4.5)).as_py(),
        "mean_km_to_city": round(pc.mean(table["km_to_city"]).as_py(), 2),
    }


def event(**changes: Any) -> dict[str, Any]:
    start = {"id": "e1", "time": datetime(2018, 2, 3, 12, tzinfo=UTC), "mag": 5.0, "mag_type": "mb"}
    return {**start, "type": "earthquake", "place": "", "longitude": 0.0, "latitude": 0.0, "depth_km": 1.0, **changes}


def frame(rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> pd.DataFrame:
    made: pd.DataFrame = pa.Table.from_pylist(rows, schema=schema).to_pandas(types_mapper=pd.ArrowDtype)
    return made


def rate(day: str, currency: str, value: float) -> dict[str, Any]:
    return {"date": date.fromisoformat(day), "currency": currency, "rate": value}


ECONOMY = frame([{"iso2": "US", "region": "North America", "income_level": "High income"}])
GDP = frame([{"iso2": "US", "indicator": "NY.GDP.PCAP.PP.KD", "year": 2014, "value": 51922.0}])
RATES = [rate("2018-02-02", "USD", 1.25), rate("2018-02-09", "USD", 1.225), rate("2018-02-12", "USD", 1.23)]
IN_TAIPEI, IN_NEW_YORK, IN_VIENNA = [
    {"latitude": latitude, "longitude": longitude}
    for latitude, longitude in ((25.05, 121.53), (40.71, -74.01), (48.21, 16.37))
]


def expose(rows: list[dict[str, Any]], rates: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    published = frame(RATES if rates is None else rates)
    made: list[dict[str, Any]] = quake_exposure(frame(rows), ECONOMY, GDP, published).to_pylist()
    return made


@pytest.mark.parametrize(("name", "expected"), FIGURES)
def test_the_mart_has_the_independently_computed_figure(exposure: pa.Table, name: str, expected: float) -> None:
    assert figures(exposure)[name] == expected


def test_a_slow_haversine_over_all_cities_agrees_for_random_events(exposure: pa.Table) -> None:
    cities = list(reference.cities()[["city", "latitude", "longitude", "population"]].itertuples(index=False))
    points = [(radians(lat), radians(lon), name, people) for name, lat, lon, people in cities]
    events = random.Random(7).sample(exposure.to_pylist(), 50)

    for row in events:
        phi, lam = radians(row["latitude"]), radians(row["longitude"])
        around: Counter[int] = Counter()
        nearest = (1e9, "")
        for to_phi, to_lam, name, people in points:
            half = sin((to_phi - phi) / 2) ** 2 + cos(phi) * cos(to_phi) * sin((to_lam - lam) / 2) ** 2
            km = 2 * 6371.0088 * asin(sqrt(half))
            nearest = min(nearest, (km, name))
            around.update({radius: people for radius in (50, 100, 250) if km <= radius})

        assert row["km_to_city"] == pytest.approx(nearest[0], abs=1e-9)
        assert row["city"] == nearest[1]
        assert [row[f"people_{radius}km"] for radius in (50, 100, 250)] == [around[r] for r in (50, 100, 250)]


@pytest.mark.parametrize("units", [2, 5, 1707])
def test_the_number_of_units_changes_no_row_and_no_order(make_mart: MakeMart, inputs: Files, units: int) -> None:
    if units == 1707:
        inputs = {**inputs, "usgs.events": inputs["usgs.events"][1:2]}

    whole, split = (make_mart("quake_exposure", inputs, count) for count in (1, units))

    assert split.equals(whole)


def test_an_event_far_from_every_city_has_a_nearest_city_and_nobody_around() -> None:
    (row,) = expose([event(latitude=-48.9, longitude=-123.4)])

    assert row["km_to_city"] > 2000
    assert [row[f"people_{radius}km"] for radius in (50, 100, 250)] == [0, 0, 0]


def test_an_event_without_coordinates_has_no_city_and_no_distance() -> None:
    (row, known) = expose([event(latitude=None, longitude=None), event(**IN_NEW_YORK)])

    assert (row["city"], row["country_code"], row["km_to_city"], row["rate"]) == (None, None, None, None)
    assert row["people_250km"] == 0
    assert known["city"] is not None


def test_an_event_without_a_time_has_no_day_and_no_rate() -> None:
    (row, known) = expose([event(time=None, **IN_NEW_YORK), event(**IN_NEW_YORK)])

    assert (row["date"], row["rate"], row["rate_date"], row["rate_7d_later"]) == (None, None, None, None)
    assert (row["currency"], known["rate"]) == ("USD", 1.25)


def test_a_country_that_the_world_bank_does_not_list_has_no_income_level() -> None:
    (row,) = expose([event(**IN_TAIPEI)])

    assert (row["country_code"], row["currency"]) == ("TW", "TWD")
    assert (row["income_level"], row["gdp_per_head"], row["gdp_year"]) == (None, None, None)


def test_a_currency_that_the_ecb_does_not_quote_has_no_rate() -> None:
    (row,) = expose([event(**IN_TAIPEI)])

    assert (row["rate"], row["rate_date"], row["rate_7d_later"], row["rate_change_pct"]) == (None, None, None, None)


def test_the_rate_is_the_last_one_on_or_before_the_day_and_a_week_later() -> None:
    (row,) = expose([event(**IN_NEW_YORK)])

    assert (row["rate"], row["rate_date"]) == (1.25, date(2018, 2, 2))
    assert row["rate_7d_later"] == 1.225
    assert row["rate_change_pct"] == pytest.approx(-2.0)
    assert (row["income_level"], row["gdp_per_head"], row["gdp_year"]) == ("High income", 51922.0, 2014)


def test_the_euro_has_the_rate_one_and_never_changes() -> None:
    (row,) = expose([event(**IN_VIENNA)])

    assert (row["currency"], row["rate"], row["rate_date"]) == ("EUR", 1.0, date(2018, 2, 2))
    assert (row["rate_7d_later"], row["rate_change_pct"]) == (1.0, 0.0)


def test_the_later_rate_is_unknown_until_rates_of_that_day_are_known() -> None:
    (row,) = expose([event(**IN_NEW_YORK)], rates=RATES[:2])

    assert row["rate"] == 1.25
    assert (row["rate_7d_later"], row["rate_change_pct"]) == (None, None)


def test_a_rate_of_a_currency_no_longer_quoted_is_not_carried_forward() -> None:
    late = datetime(2018, 2, 23, tzinfo=UTC)

    (row,) = expose([event(time=late, **IN_NEW_YORK)], rates=[*RATES, rate("2018-02-23", "JPY", 131.0)])

    assert (row["rate"], row["rate_date"]) == (None, None)


def test_an_event_before_the_first_rate_has_none() -> None:
    early = datetime(2018, 2, 1, 23, 59, tzinfo=UTC)

    (row,) = expose([event(time=early, **IN_NEW_YORK)])

    assert (row["date"], row["rate"]) == (date(2018, 2, 1), None)


def test_the_day_of_an_event_is_its_utc_day() -> None:
    tokyo = datetime(2018, 2, 5, 0, 30, tzinfo=UTC) - timedelta(hours=1)

    (row,) = expose([event(time=tokyo)])

    assert row["date"] == date(2018, 2, 4)


def test_the_gdp_per_head_is_of_the_latest_year_with_a_value() -> None:
    gdp = [
        {"iso2": "US", "indicator": indicator, "year": year, "value": value}
        for indicator, year, value in (
            ("NY.GDP.PCAP.PP.KD", 2016, 53.0),
            ("NY.GDP.PCAP.PP.KD", 2017, None),
            ("NY.GDP.PCAP.PP.KD", 2015, 52.0),
            ("SP.POP.TOTL", 2018, 300.0),
        )
    ]

    (row,) = quake_exposure(frame([event(**IN_NEW_YORK)]), ECONOMY, frame(gdp), frame(RATES)).to_pylist()

    assert (row["gdp_per_head"], row["gdp_year"]) == (53.0, 2016)


def test_no_events_give_no_rows_of_the_same_schema(make_mart: MakeMart, inputs: Files, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    none = tmp_path / "none.parquet"
    pq.write_table(pq.read_table(inputs["usgs.events"][0]).slice(0, 0), none)

    empty = make_mart("quake_exposure", {**inputs, "usgs.events": [none]}, 4)

    assert empty.num_rows == 0
    assert empty.schema == make_mart("quake_exposure", inputs).schema


def test_rates_of_no_currency_give_no_rate() -> None:
    schema = pa.schema({"date": pa.date32(), "currency": pa.string(), "rate": pa.float64()})

    table = quake_exposure(frame([event(**IN_NEW_YORK)]), ECONOMY, GDP, frame([], schema))

    assert table["rate"].to_pylist() == [None]
