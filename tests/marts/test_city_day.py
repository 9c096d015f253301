"""Tests of the mart of cities and days."""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.marts.city_day import city_day
from tests.marts.conftest import Files, MakeMart


def test_there_is_a_row_for_each_city_and_day(city_days: pa.Table) -> None:
    counts = {row["values"]: row["counts"] for row in pc.value_counts(city_days["city"]).to_pylist()}

    assert city_days.num_rows == 2922
    assert counts == {"Seattle": 1461, "New York": 1461}
    assert pc.min_max(city_days["date"]).as_py() == {"min": date(2012, 1, 1), "max": date(2015, 12, 31)}


def test_precipitation_adds_up(city_days: pa.Table) -> None:
    assert round(pc.sum(city_days["precipitation_mm"]).as_py(), 1) == 8604.6


def test_86_rows_are_holidays(city_days: pa.Table) -> None:
    assert city_days.num_rows - city_days["holiday"].null_count == 86


def test_every_day_from_the_first_rate_on_has_a_euro_rate(city_days: pa.Table) -> None:
    without = city_days.filter(pc.is_null(city_days["rate"]))

    assert set(city_days["currency"].to_pylist()) == {"USD"}
    # the first rate of the bundled file is of Monday, 2 January 2012
    assert without["date"].to_pylist() == [date(2012, 1, 1)] * 2
    assert round(pc.sum(city_days["rate"]).as_py(), 4) == 3687.9112


def test_the_reference_sum_differs_by_the_one_day_before_the_first_rate(city_days: pa.Table) -> None:
    last_of_the_file = 1.2321

    # the reference gave 1 January 2012, in both cities, the rate of 29 March 2018
    assert round(pc.sum(city_days["rate"]).as_py() + 2 * last_of_the_file, 4) == 3690.3754


@pytest.mark.parametrize("units", [2, 5])
def test_the_number_of_units_changes_no_row_and_no_order(make_mart: MakeMart, inputs: Files, units: int) -> None:
    whole, split = (make_mart("city_day", inputs, count) for count in (1, units))

    assert split.equals(whole)


def test_only_holidays_of_the_whole_country_count_and_two_are_joined() -> None:
    holidays: list[dict[str, Any]] = [
        {"country_code": "US", "name": "Second Day", "counties": None},
        {"country_code": "US", "name": "First Day", "counties": None},
        {"country_code": "US", "name": "Day of some", "counties": ["US-WA"]},
        {"country_code": "FR", "name": "Elsewhere", "counties": None},
    ]

    (row,) = days_of(["Seattle"], holidays)

    assert row["holiday"] == "First Day / Second Day"


def test_a_place_that_no_city_is_named_after_has_no_country() -> None:
    (row,) = days_of(["Nowhere at All"], [{"country_code": "US", "name": "Day", "counties": None}])

    assert (row["country_code"], row["holiday"], row["currency"], row["rate"]) == (None, None, None, None)


def days_of(places: list[str], holidays: list[dict[str, Any]]) -> list[dict[str, Any]]:
    readings = dict.fromkeys(["precipitation_sum", "temperature_2m_max", "temperature_2m_min"], 1.0)
    weather = [{"place": place, "date": date(2012, 5, 1), **readings, "wind_speed_10m_max": None} for place in places]
    rates = [{"date": date(2012, 4, 30), "currency": "USD", "rate": 1.3}]
    dated = [{"date": date(2012, 5, 1), **holiday} for holiday in holidays]
    made: list[dict[str, Any]] = city_day(*(frame(rows) for rows in (weather, dated, rates))).to_pylist()
    return made


def frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    made: pd.DataFrame = pa.Table.from_pylist(rows).to_pandas(types_mapper=pd.ArrowDtype)
    return made
