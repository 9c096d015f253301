"""The inputs of the marts as Parquet files, straight from the bundled snapshots."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.marts.model import Marts
from pipelines.marts.units import make, plan

ROOT = Path(__file__).parents[2]
SNAPSHOTS = ROOT / "pipelines" / "demo" / "data"
Files = Mapping[str, list[Path]]
MakeMart = Callable[..., pa.Table]


@pytest.fixture(scope="session")
def marts() -> Marts:
    return Marts.model_validate(yaml.safe_load((ROOT / "config" / "marts.yaml").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """All datasets of the sources; the events lie in three files of several row groups."""
    folder = tmp_path_factory.mktemp("inputs")
    events = _events()
    thirds = [events.slice(0, 600), events.slice(600, 1), events.slice(601)]
    return {
        "usgs.events": [_write(folder / f"events-{at}.parquet", part) for at, part in enumerate(thirds)],
        "worldbank.countries": [_write(folder / "countries.parquet", _countries())],
        "worldbank.indicators": [_write(folder / "indicators.parquet", _indicators())],
        "frankfurter.rates": [_write(folder / "rates.parquet", _rates())],
        "openmeteo.daily": [_write(folder / "daily.parquet", _daily())],
        "nager.holidays": [_write(folder / "holidays.parquet", _holidays())],
    }


@pytest.fixture(scope="session")
def make_mart(marts: Marts) -> MakeMart:
    """Make a mart of given files in a number of units, here in this process."""

    def made(name: str, files: Files, units: int = 1) -> pa.Table:
        planned = plan(name, marts.marts[name], files, units)
        return pa.concat_tables([make(unit) for unit in planned])

    return made


@pytest.fixture(scope="session")
def exposure(make_mart: MakeMart, inputs: Files) -> pa.Table:
    return make_mart("quake_exposure", inputs, 2)


@pytest.fixture(scope="session")
def city_days(make_mart: MakeMart, inputs: Files) -> pa.Table:
    return make_mart("city_day", inputs, 2)


def _write(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path, row_group_size=250)
    return path


def _json(name: str) -> Any:
    return json.loads(gzip.decompress((SNAPSHOTS / name).read_bytes()))


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(gzip.decompress((SNAPSHOTS / name).read_bytes()).decode())))


def _events() -> pa.Table:
    found = []
    for feature in _json("usgs/all_week_2018-02-07.geojson.gz")["features"]:
        said, (longitude, latitude, depth) = feature["properties"], feature["geometry"]["coordinates"]
        event = {name: said[name] for name in ("time", "place", "type")}
        event |= {"id": feature["id"], "mag": said["mag"], "mag_type": said["magType"]}
        found.append(event | {"longitude": longitude, "latitude": latitude, "depth_km": depth})
    fields = {name: pa.string() for name in ("id", "mag_type", "place", "type")}
    fields |= {name: pa.float64() for name in ("mag", "longitude", "latitude", "depth_km")}
    return pa.Table.from_pylist(found, schema=pa.schema({**fields, "time": pa.timestamp("ms", "UTC")}))


def _countries() -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"id": row["id"], "iso2": row["iso2Code"], "name": row["name"]}
            | {"region": row["region"]["value"], "income_level": row["incomeLevel"]["value"]}
            for row in _json("worldbank/country.json.gz")
        ]
    )


def _indicators() -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"iso3": row["countryiso3code"], "iso2": row["country"]["id"], "indicator": row["indicator"]["id"]}
            | {"year": int(row["date"]), "value": None if row["value"] is None else float(row["value"])}
            for row in _json("worldbank/indicators_2014.json.gz")
        ]
    )


def _rates() -> pa.Table:
    long = [
        {"date": row["Date"], "currency": currency, "rate": float(text)}
        for row in _rows("ecb/eurofxref-2012-2018q1.csv.gz")
        for currency, text in row.items()
        if len(currency) == 3 and text not in {"", "N/A"}
    ]
    table = pa.Table.from_pylist(long)
    return table.set_column(0, "date", table["date"].cast(pa.date32()))


def _daily() -> pa.Table:
    rows = _rows("weather/noaa_daily_2012-2015.csv.gz")
    numbers = {
        "precipitation_sum": "precipitation",
        "temperature_2m_max": "temp_max",
        "temperature_2m_min": "temp_min",
        "wind_speed_10m_max": "wind",
    }
    columns = {"place": [row["location"] for row in rows], "date": pa.array([row["date"] for row in rows])}
    columns |= {name: [float(row[column]) for row in rows] for name, column in numbers.items()}
    table = pa.table(columns)
    return table.set_column(1, "date", table["date"].cast(pa.date32()))


def _holidays() -> pa.Table:
    rows = _json("holidays/public_holidays.json.gz")
    fields = {"date": "date", "country_code": "countryCode", "name": "name", "local_name": "localName"}
    columns: dict[str, Any] = {name: pa.array([row[field] for row in rows]) for name, field in fields.items()}
    columns["date"] = columns["date"].cast(pa.date32())
    columns["counties"] = pa.array([row["counties"] for row in rows], pa.list_(pa.string()))
    return pa.table(columns)
