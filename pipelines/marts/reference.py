"""The tables that come with the package: cities of 15,000 people and more, countries."""

from __future__ import annotations

import gzip
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from pipelines.errors import StoreError
from pipelines.marts.geography import Places
from pipelines.marts.model import HOME

_CITIES = {"name": "city", "latitude": "latitude", "longitude": "longitude", "countrycode": "country_code"}
_COUNTRIES = {"iso": "country_code", "name": "country", "currencycode": "currency"}


@lru_cache(maxsize=1)
def cities() -> pd.DataFrame:
    """City, latitude, longitude, country_code, population; 34,006 rows (GeoNames)."""
    return _read("cities15000.csv.gz", {**_CITIES, "population": "population"})


@lru_cache(maxsize=1)
def countries() -> pd.DataFrame:
    """Country_code (ISO 3166, two letters), country, currency; 252 rows (GeoNames)."""
    return _read("countries.csv", _COUNTRIES)


@lru_cache(maxsize=1)
def city_places() -> Places:
    """The cities as points, in the order of `cities`."""
    table = cities()
    return Places(
        latitude=table["latitude"].to_numpy(np.float64),
        longitude=table["longitude"].to_numpy(np.float64),
        people=table["population"].to_numpy(np.int64),
    )


def country_of(names: pd.Series) -> pd.Series:
    """The country code of each city name; null for a name that no city has.

    `New York` also finds `New York City`; of several cities the largest counts.
    """
    asked = names.dropna().unique().tolist()
    named = cities().loc[lambda city: city["city"].isin([*asked, *(f"{name} City" for name in asked)])]
    largest = named.sort_values("population", ascending=False, kind="stable").drop_duplicates("city")
    codes = dict(zip(largest["city"], largest["country_code"], strict=True))
    found = {name: codes.get(name, codes.get(f"{name} City")) for name in asked}
    return names.map(found).astype(pd.ArrowDtype(pa.string()))


def _read(name: str, columns: dict[str, str]) -> pd.DataFrame:
    """Columns of a table of `data/`, renamed; the text `NA` is Namibia, not a null."""
    path = HOME / "data" / name
    options = csv.ConvertOptions(include_columns=list(columns), null_values=[""], strings_can_be_null=True)
    try:
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            table = csv.read_csv(file, convert_options=options)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}", "install the package again") from error
    renamed = table.rename_columns(list(columns.values()))
    frame: pd.DataFrame = renamed.to_pandas(types_mapper=pd.ArrowDtype)
    return frame
