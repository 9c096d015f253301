"""The bundled snapshots, each read from its file when it is first asked for."""

from __future__ import annotations

import csv
import gzip
import io
from functools import cache
from pathlib import Path
from typing import Any

import orjson

_FOLDER = Path(__file__).parent / "data"

Rates = dict[str, dict[str, float]]
"""Date -> currency -> units of it for one euro, both in rising order."""


@cache
def earthquakes() -> dict[str, Any]:
    """The GeoJSON collection of one week, as USGS answered it on 2018-02-07."""
    collection: dict[str, Any] = orjson.loads(_inflated("usgs/all_week_2018-02-07.geojson.gz"))
    return collection


@cache
def euro_rates() -> Rates:
    """The ECB's reference rates; a currency that was not published on a day is absent."""
    rows = csv.DictReader(io.StringIO(_inflated("ecb/eurofxref-2012-2018q1.csv.gz").decode()))
    return {row.pop("Date"): _published(row) for row in sorted(rows, key=lambda row: row["Date"])}


def _published(row: dict[str, str]) -> dict[str, float]:
    return {currency: float(text) for currency, text in sorted(row.items()) if text not in {"", "N/A"}}


@cache
def countries() -> list[dict[str, Any]]:
    """The World Bank's countries and aggregates."""
    rows: list[dict[str, Any]] = orjson.loads(_inflated("worldbank/country.json.gz"))
    return rows


@cache
def indicators() -> list[dict[str, Any]]:
    """Three World Bank indicators of 2014."""
    rows: list[dict[str, Any]] = orjson.loads(_inflated("worldbank/indicators_2014.json.gz"))
    return rows


@cache
def weather() -> dict[str, dict[str, dict[str, float]]]:
    """City -> date -> reading, both in the file's order."""
    cities: dict[str, dict[str, dict[str, float]]] = {}
    for row in csv.DictReader(io.StringIO(_inflated("weather/noaa_daily_2012-2015.csv.gz").decode())):
        readings = {name: float(row[name]) for name in ("precipitation", "temp_max", "temp_min", "wind")}
        cities.setdefault(row["location"], {})[row["date"]] = readings
    return cities


@cache
def holidays() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """(Country code, year) -> public holidays in the order of their dates."""
    years: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in orjson.loads(_inflated("holidays/public_holidays.json.gz")):
        years.setdefault((row["countryCode"], row["date"][:4]), []).append(row)
    return years


def _inflated(name: str) -> bytes:
    return gzip.decompress((_FOLDER / name).read_bytes())
