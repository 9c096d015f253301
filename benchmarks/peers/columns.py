"""The declared types of the workload's tables, for the peers that declare them."""

from __future__ import annotations

from typing import TypeAlias

import polars as pl

from benchmarks.peers.workload import CHAINS, TENFOLD

Columns: TypeAlias = dict[str, "pl.DataType | type[pl.DataType]"]

WHOLE, REAL, TEXT = pl.Int64, pl.Float64, pl.String
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

_FLIGHTS: Columns = {
    "year": WHOLE,
    "month": WHOLE,
    "day": WHOLE,
    "dep_time": WHOLE,
    "sched_dep_time": WHOLE,
    "dep_delay": WHOLE,
    "arr_time": WHOLE,
    "sched_arr_time": WHOLE,
    "arr_delay": WHOLE,
    "carrier": TEXT,
    "flight": WHOLE,
    "tailnum": TEXT,
    "origin": TEXT,
    "dest": TEXT,
    "air_time": WHOLE,
    "distance": WHOLE,
    "hour": WHOLE,
    "minute": WHOLE,
    "time_hour": TEXT,
}
_WEATHER: Columns = {
    "origin": TEXT,
    "year": WHOLE,
    "month": WHOLE,
    "day": WHOLE,
    "hour": WHOLE,
    "temp": REAL,
    "dewp": REAL,
    "humid": REAL,
    "wind_dir": WHOLE,
    "wind_speed": REAL,
    "wind_gust": REAL,
    "precip": REAL,
    "pressure": REAL,
    "visib": REAL,
    "time_hour": TEXT,
}
_PLANES: Columns = {
    "tailnum": TEXT,
    "year": WHOLE,
    "type": TEXT,
    "manufacturer": TEXT,
    "model": TEXT,
    "engines": WHOLE,
    "seats": WHOLE,
    "speed": WHOLE,
    "engine": TEXT,
}
_AIRPORTS: Columns = {
    "faa": TEXT,
    "name": TEXT,
    "lat": REAL,
    "lon": REAL,
    "alt": WHOLE,
    "tz": WHOLE,
    "dst": TEXT,
    "tzone": TEXT,
}
_AIRLINES: Columns = {"carrier": TEXT, "name": TEXT}

_ONCE: dict[str, Columns] = {
    "flights": _FLIGHTS,
    "weather": _WEATHER,
    "planes": _PLANES,
    "airports": _AIRPORTS,
    "airlines": _AIRLINES,
}
COLUMNS: dict[str, Columns] = {
    **_ONCE,
    **{name: _ONCE[once] for name, once in TENFOLD.items()},
    **dict.fromkeys(CHAINS, _FLIGHTS),
}
