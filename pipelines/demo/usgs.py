"""USGS earthquakes (FDSN event service): one real week, 2018-01-31 to 2018-02-07.

Quirks kept: `offset` starts at 1, `limit` ends at 20,000, the default window is
the last 30 days, and an empty window is 204 without a body.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from pipelines.demo.answers import Json, whole_number
from pipelines.demo.snapshots import earthquakes

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

ORIGIN = "https://earthquake.usgs.gov"
MOST_EVENTS = 20_000
_DEFAULT_DAYS = 30
_LONG_AGO = datetime(1000, 1, 1, tzinfo=UTC)

Event = dict[str, Any]
_Test = Callable[[Event], bool]

_COORDINATES = {"longitude": 0, "latitude": 1, "depth": 2}
_ORDERS: dict[str, tuple[str, bool]] = {
    "time": ("time", True),
    "time-asc": ("time", False),
    "magnitude": ("mag", True),
    "magnitude-asc": ("mag", False),
}
_KNOWN = {
    *("format", "starttime", "endtime", "updatedafter", "minmagnitude", "maxmagnitude", "eventtype", "eventid"),
    *(f"{side}{name}" for side in ("min", "max") for name in _COORDINATES),
    *("orderby", "limit", "offset", "nodata", "includedeleted"),
}


class BadRequest(Exception):
    """A parameter the service does not accept; the text tells which."""


def app() -> Starlette:
    """The service's app."""
    routes = [Route("/fdsnws/event/1/query", _query), Route("/fdsnws/event/1/count", _count)]
    return Starlette(routes=routes, exception_handlers={BadRequest: _bad_request})


async def _query(request: Request) -> Response:
    params = request.query_params
    if params.get("format") != "geojson":
        raise BadRequest("only format=geojson is bundled")
    limit, offset = _count_of(params, "limit", MOST_EVENTS), _count_of(params, "offset", None)
    found = _found(params)
    events = found[(offset or 1) - 1 :][: limit or MOST_EVENTS]
    if not events:
        return Response(status_code=404 if params.get("nodata") == "404" else 204)
    metadata = {
        "generated": earthquakes()["metadata"]["generated"],
        "url": f"{ORIGIN}{request.url.path}",
        "title": "USGS Earthquakes",
        "status": 200,
        "api": earthquakes()["metadata"]["api"],
        **({} if limit is None else {"limit": limit}),
        **({} if offset is None else {"offset": offset}),
        "count": len(events),
    }
    return Json({"type": "FeatureCollection", "metadata": metadata, "features": events, "bbox": _box(events)})


async def _count(request: Request) -> Response:
    count = len(_found(request.query_params))
    if request.query_params.get("format") == "geojson":
        return Json({"count": count, "maxAllowed": MOST_EVENTS})
    return PlainTextResponse(str(count))


async def _bad_request(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"Error 400: Bad Request\n\n{error}\n", 400)


def _found(params: QueryParams) -> list[Event]:
    """All events that the filters let through, in the order asked for."""
    if unknown := sorted(set(params) - _KNOWN):
        raise BadRequest(f'Unknown parameter "{unknown[0]}".')
    order = params.get("orderby", "time")
    if order not in _ORDERS:
        raise BadRequest(f'Bad orderby value "{order}". Valid values are {", ".join(_ORDERS)}.')
    tests = [*_times(params), *_ranges(params), *_names(params)]
    events = [event for event in earthquakes()["features"] if all(test(event) for test in tests)]
    name, falling = _ORDERS[order]
    return sorted(events, key=lambda event: event["properties"][name], reverse=falling)


def _times(params: QueryParams) -> list[_Test]:
    # an event asked for by name is found whenever it happened
    earliest = datetime.now(UTC) - timedelta(days=_DEFAULT_DAYS) if "eventid" not in params else _LONG_AGO
    since = _epoch_ms(params, "starttime", earliest)
    tests: list[_Test] = [lambda event: event["properties"]["time"] >= since]
    if "endtime" in params:
        until = _epoch_ms(params, "endtime")
        tests.append(lambda event: event["properties"]["time"] <= until)
    if "updatedafter" in params:
        updated = _epoch_ms(params, "updatedafter")
        tests.append(lambda event: event["properties"]["updated"] > updated)
    return tests


def _ranges(params: QueryParams) -> list[_Test]:
    tests: list[_Test] = []
    for name in ("magnitude", *_COORDINATES):
        if f"min{name}" in params:
            tests.append(_at_least(name, _number(params, f"min{name}")))
        if f"max{name}" in params:
            tests.append(_at_most(name, _number(params, f"max{name}")))
    return tests


def _names(params: QueryParams) -> list[_Test]:
    tests: list[_Test] = []
    if kinds := params.get("eventtype"):
        tests.append(lambda event: event["properties"]["type"] in kinds.split(","))
    if ident := params.get("eventid"):
        tests.append(lambda event: event["id"] == ident)
    return tests


def _at_least(name: str, least: float) -> _Test:
    return lambda event: (value := _value(event, name)) is not None and value >= least


def _at_most(name: str, most: float) -> _Test:
    return lambda event: (value := _value(event, name)) is not None and value <= most


def _value(event: Event, name: str) -> float | None:
    value: float | None = (
        event["geometry"]["coordinates"][_COORDINATES[name]] if name in _COORDINATES else event["properties"]["mag"]
    )
    return value


def _number(params: QueryParams, name: str) -> float:
    try:
        return float(params[name])
    except ValueError:
        raise BadRequest(f'Bad {name} value "{params[name]}". Valid values are numbers.') from None


def _count_of(params: QueryParams, name: str, most: int | None) -> int | None:
    """The value of `limit` or `offset`: from 1, None where it is not given."""
    if name not in params:
        return None
    value = whole_number(params[name])
    if value is None or value < 1 or (most is not None and value > most):
        bounds = f"between 1 and {most}" if most else "1 or greater"
        raise BadRequest(f'Bad {name} value "{params[name]}". Valid values are {bounds}.')
    return value


def _epoch_ms(params: QueryParams, name: str, default: datetime | None = None) -> float:
    """The instant of an ISO 8601 text, UTC where it names no zone."""
    if name not in params and default is not None:
        return default.timestamp() * 1000
    try:
        instant = datetime.fromisoformat(params[name])
    except ValueError:
        raise BadRequest(f'Bad {name} value "{params[name]}". Valid values are ISO-8601 timestamps.') from None
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000


def _box(events: list[Event]) -> list[float]:
    axes = list(zip(*(event["geometry"]["coordinates"] for event in events), strict=True))
    return [*map(min, axes), *map(max, axes)]
