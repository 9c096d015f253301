"""The outside signals of a city's day: weather, public holiday, exchange rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.marts.rates import Rates, dates, days
from pipelines.marts.reference import countries, country_of

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = pa.schema(
    {
        "city": pa.string(),
        "date": pa.date32(),
        "country_code": pa.string(),
        "precipitation_mm": pa.float64(),
        "temperature_max_c": pa.float64(),
        "temperature_min_c": pa.float64(),
        "wind_max_m_s": pa.float64(),
        "holiday": pa.string(),
        "currency": pa.string(),
        "rate_date": pa.date32(),
        "rate": pa.float64(),
    }
)
_WEATHER = {
    "place": "city",
    "date": "date",
    "precipitation_sum": "precipitation_mm",
    "temperature_2m_max": "temperature_max_c",
    "temperature_2m_min": "temperature_min_c",
    "wind_speed_10m_max": "wind_max_m_s",
}


def city_day(weather: pd.DataFrame, holidays: pd.DataFrame, rates: pd.DataFrame) -> pa.Table:
    """One row for each row of *weather*, in its order."""
    frame = weather[list(_WEATHER)].rename(columns=_WEATHER).reset_index(drop=True)
    frame["country_code"] = country_of(frame["city"])
    frame = frame.merge(countries(), on="country_code", how="left")
    frame = frame.merge(_nationwide(holidays), on=["country_code", "date"], how="left")
    rate, rate_day = Rates.of(rates).on_or_before(frame["currency"], days(frame["date"]))
    frame["rate"], frame["rate_date"] = rate, dates(rate_day, ~np.isnan(rate))
    table = pa.Table.from_pandas(frame[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    return table.replace_schema_metadata(None)


def _nationwide(holidays: pd.DataFrame) -> pd.DataFrame:
    """One row for each country and date: the names of holidays that all of the country has.

    A holiday of some counties only is none; two on one date are joined by ` / `.
    """
    everywhere = holidays.loc[holidays["counties"].isna(), ["country_code", "date", "name"]]
    everywhere = everywhere.drop_duplicates().sort_values("name", kind="stable")
    joined = everywhere.groupby(["country_code", "date"], sort=False)["name"].agg(" / ".join)
    return joined.rename("holiday").reset_index()
