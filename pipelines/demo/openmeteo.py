"""Open-Meteo's archive: only its shape. The values are NOAA station readings, 2012 to 2015.

Two places are bundled, New York and Seattle; a point is answered by the nearer
one and refused where neither is near. Quirks kept: columns instead of rows; one
place gives an object, several an array; latitude and longitude are the grid
cell's; one request runs at a time, five wait at most, and the 429 beyond that
names no time to wait.
"""

from __future__ import annotations

import asyncio
import math
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.applications import Starlette
from starlette.routing import Route

from pipelines.demo.answers import Json
from pipelines.demo.snapshots import weather

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

ORIGIN = "https://archive-api.open-meteo.com"
MOST_AT_ONCE = 5
_FIRST_DAY, _LAST_DAY = "2012-01-01", "2015-12-31"
_CELL_DEGREES = 0.25
_NEAR_DEGREES = 2.0
_PLACES = {"New York": (40.71, -74.01, 10.0), "Seattle": (47.61, -122.33, 59.0)}
"""Latitude, longitude and elevation in metres of the places whose readings are bundled."""


class Variable(NamedTuple):
    """What a daily variable is called in the file, and in which unit it is answered."""

    field: str
    unit: str
    factor: float = 1.0

    def of(self, readings: dict[str, float]) -> float:
        """Its value on one day."""
        value = readings[self.field]
        return value if self.factor == 1 else round(value * self.factor, 1)


_VARIABLES = {
    "precipitation_sum": Variable("precipitation", "mm"),
    "temperature_2m_max": Variable("temp_max", "°C"),
    "temperature_2m_min": Variable("temp_min", "°C"),
}
_WIND_UNITS = {"kmh": ("km/h", 3.6), "ms": ("m/s", 1.0)}
"""`wind_speed_unit`: the unit's name, and how many of it make one of the file's."""


class Refused(Exception):
    """A parameter that the API does not accept; the text is its reason."""


class OneAtATime:
    """Run one request, let a few wait, refuse the others."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._running = asyncio.Lock()
        self._at_once = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for the running request, or refuse where enough wait already."""
        if self._at_once >= MOST_AT_ONCE:
            await _error("Too many concurrent requests", 429)(scope, receive, send)
            return
        self._at_once += 1
        try:
            async with self._running:
                await self.app(scope, receive, send)
        finally:
            self._at_once -= 1


def app() -> Starlette:
    """The service's app."""
    return Starlette(routes=[Route("/v1/archive", _archive)], exception_handlers={Refused: _refused})


async def _archive(request: Request) -> Response:
    params = request.query_params
    latitudes, longitudes = _numbers(params, "latitude"), _numbers(params, "longitude")
    if len(latitudes) != len(longitudes):
        raise Refused("Parameter 'latitude' and 'longitude' must have the same number of elements")
    first, last = _day(params, "start_date"), _day(params, "end_date")
    if last < first:
        raise Refused("End-date must be larger or equals than start-date")
    variables = _variables(params)
    answers = [
        {**_place(latitude, longitude), **_daily(_nearest(latitude, longitude), first, last, variables)}
        for latitude, longitude in zip(latitudes, longitudes, strict=True)
    ]
    return Json(answers[0] if len(answers) == 1 else answers)


def _variables(params: QueryParams) -> dict[str, Variable]:
    """The daily variables asked for, by the API's name, in the order asked."""
    unit = params.get("wind_speed_unit", "kmh")
    if unit not in _WIND_UNITS:
        raise Refused(f"Cannot initialize wind speed unit from '{unit}'.")
    known = {**_VARIABLES, "wind_speed_10m_max": Variable("wind", *_WIND_UNITS[unit])}
    asked = [name for name in params.get("daily", "").split(",") if name]
    for name in asked:
        if name not in known:
            raise Refused(f"Cannot initialize daily variable from '{name}'.")
    return {name: known[name] for name in asked}


def _place(latitude: float, longitude: float) -> dict[str, Any]:
    return {
        "latitude": _cell(latitude),
        "longitude": _cell(longitude),
        "generationtime_ms": 0.25,
        "utc_offset_seconds": 0,
        "timezone": "GMT",
        "timezone_abbreviation": "GMT",
        "elevation": _PLACES[_nearest(latitude, longitude)][2],
    }


def _daily(place: str, first: str, last: str, variables: dict[str, Variable]) -> dict[str, Any]:
    """The columns and their units; nothing where no variable was asked for."""
    if not variables:
        return {}
    days = {day: readings for day, readings in weather()[place].items() if first <= day <= last}
    columns = {name: [variable.of(readings) for readings in days.values()] for name, variable in variables.items()}
    return {
        "daily_units": {"time": "iso8601", **{name: variable.unit for name, variable in variables.items()}},
        "daily": {"time": list(days), **columns},
    }


def _nearest(latitude: float, longitude: float) -> str:
    def degrees(place: str) -> float:
        return math.dist((latitude, longitude), _PLACES[place][:2])

    nearest = min(_PLACES, key=degrees)
    if degrees(nearest) > _NEAR_DEGREES:
        raise Refused(f"No data for this location: only {' and '.join(_PLACES)} are bundled")
    return nearest


def _cell(degrees: float) -> float:
    return round(degrees / _CELL_DEGREES) * _CELL_DEGREES


def _numbers(params: QueryParams, name: str) -> list[float]:
    try:
        return [float(text) for text in params[name].split(",")]
    except KeyError:
        raise Refused(f"Value of type 'Array<Float>' required for key '{name}'.") from None
    except ValueError:
        raise Refused(f"Cannot read '{name}': it must be numbers with commas between them") from None


def _day(params: QueryParams, name: str) -> str:
    try:
        day = date.fromisoformat(params[name]).isoformat()
    except KeyError:
        raise Refused(f"Parameter '{name}' is required") from None
    except ValueError:
        raise Refused(f"Invalid date format in '{name}'. Make sure to use 'YYYY-MM-DD'") from None
    if not _FIRST_DAY <= day <= _LAST_DAY:
        raise Refused(f"Parameter '{name}' is out of allowed range from {_FIRST_DAY} to {_LAST_DAY}")
    return day


async def _refused(_: Request, error: Exception) -> Response:
    return _error(str(error), 400)


def _error(reason: str, status: int) -> Response:
    return Json({"error": True, "reason": reason}, status)
