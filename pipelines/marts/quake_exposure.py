"""Which quakes happened near people, in which economy, and what the currency did afterwards."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.marts import reference
from pipelines.marts.geography import surroundings
from pipelines.marts.rates import Rates, dates, days

RADII_KM = (50, 100, 250)
GDP_PER_HEAD = "NY.GDP.PCAP.PP.KD"
DAYS_AFTER = 7

SCHEMA = pa.schema(
    {
        "event_id": pa.string(),
        "time": pa.timestamp("ms", "UTC"),
        "date": pa.date32(),
        "mag": pa.float64(),
        "mag_type": pa.string(),
        "type": pa.string(),
        "place": pa.string(),
        "longitude": pa.float64(),
        "latitude": pa.float64(),
        "depth_km": pa.float64(),
        "city": pa.string(),
        "country_code": pa.string(),
        "country": pa.string(),
        "km_to_city": pa.float64(),
        "people_50km": pa.int64(),
        "people_100km": pa.int64(),
        "people_250km": pa.int64(),
        "region": pa.string(),
        "income_level": pa.string(),
        "gdp_per_head": pa.float64(),
        "gdp_year": pa.int64(),
        "currency": pa.string(),
        "rate_date": pa.date32(),
        "rate": pa.float64(),
        "rate_7d_later": pa.float64(),
        "rate_change_pct": pa.float64(),
    }
)


def quake_exposure(
    events: pd.DataFrame, countries: pd.DataFrame, indicators: pd.DataFrame, rates: pd.DataFrame
) -> pa.Table:
    """One row for each event, in the order of *events*."""
    frame = events.reset_index(drop=True).rename(columns={"id": "event_id"})
    frame["date"] = dates(days(frame["time"]), frame["time"].notna().to_numpy(np.bool_))
    frame = _with_surroundings(frame)
    frame = _with_economy(frame, countries, indicators)
    frame = _with_rates(frame, Rates.of(rates))
    table = pa.Table.from_pandas(frame[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    return table.replace_schema_metadata(None)


def _with_surroundings(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the nearest city, its country and currency, and the people around."""
    latitude, longitude = (frame[name].to_numpy(np.float64, na_value=np.nan) for name in ("latitude", "longitude"))
    around = surroundings(latitude, longitude, reference.city_places(), RADII_KM)
    nearest = pa.array(around.nearest, mask=around.nearest < 0)
    for name in ("city", "country_code"):
        frame[name] = pd.arrays.ArrowExtensionArray(pa.array(reference.cities()[name]).take(nearest))
    frame["km_to_city"] = around.km
    for radius, people in around.people.items():
        frame[f"people_{radius:.0f}km"] = people
    return frame.merge(reference.countries(), on="country_code", how="left")


def _with_economy(frame: pd.DataFrame, countries: pd.DataFrame, indicators: pd.DataFrame) -> pd.DataFrame:
    """Add what the World Bank says of the country; nulls where it has no row."""
    level = countries[["iso2", "region", "income_level"]].drop_duplicates("iso2")
    gdp = indicators.loc[indicators["indicator"] == GDP_PER_HEAD, ["iso2", "year", "value"]].dropna()
    gdp = gdp.sort_values("year", kind="stable").drop_duplicates("iso2", keep="last")
    gdp = gdp.rename(columns={"year": "gdp_year", "value": "gdp_per_head"})
    economy = level.merge(gdp, on="iso2", how="outer").rename(columns={"iso2": "country_code"})
    return frame.merge(economy.dropna(subset="country_code"), on="country_code", how="left")


def _with_rates(frame: pd.DataFrame, rates: Rates) -> pd.DataFrame:
    """Add the rate on the event's UTC day and a week later.

    The later rate is null until rates of that day or a later one are known.
    """
    day = days(frame["time"])
    rate, rate_day = rates.on_or_before(frame["currency"], day)
    later, _ = rates.on_or_before(frame["currency"], day + DAYS_AFTER)
    later = np.where(np.isnan(rate) | (day + DAYS_AFTER > rates.last_day), np.nan, later)
    frame["rate"], frame["rate_date"] = rate, dates(rate_day, ~np.isnan(rate))
    frame["rate_7d_later"], frame["rate_change_pct"] = later, 100 * (later / rate - 1)
    return frame
