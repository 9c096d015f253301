"""World Bank v2: 299 countries and aggregates, and three indicators of 2014.

Quirks kept: the answer is an array of two, `[meta, rows]`; errors are HTTP 200
with an array of one; without `format=json` the answer is XML (here without rows).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from pipelines.demo.answers import Json, whole_number
from pipelines.demo.snapshots import countries, indicators

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

ORIGIN = "https://api.worldbank.org"
DEFAULT_PER_PAGE = 50
MOST_PER_PAGE = 32_500
_SOURCE = {"sourceid": "2", "lastupdated": "2026-07-13"}
_INVALID = {"id": "120", "key": "Invalid value", "value": "The provided parameter value is not valid"}
_XML = '<?xml version="1.0" encoding="utf-8"?>\n<wb:{0} total="{1}" xmlns:wb="http://www.worldbank.org" />'

Row = dict[str, Any]


class InvalidValue(Exception):
    """A parameter that the API does not accept."""


def app() -> Starlette:
    """The service's app."""
    routes = [
        Route("/v2/country", _countries),
        Route("/v2/country/{codes}", _countries),
        Route("/v2/country/{codes}/indicator/{indicator}", _indicator),
    ]
    return Starlette(routes=routes, exception_handlers={InvalidValue: _invalid})


async def _countries(request: Request) -> Response:
    codes = _codes(request)
    rows = [row for row in countries() if codes is None or codes & {row["id"].lower(), row["iso2Code"].lower()}]
    if not rows:
        raise InvalidValue
    if request.query_params.get("format") != "json":
        return Response(_XML.format("countries", len(rows)), media_type="text/xml")
    meta, page = _page(rows, request.query_params)
    # this endpoint writes per_page as text, the next one as a number
    return Json([{**meta, "per_page": str(meta["per_page"])}, page])


async def _indicator(request: Request) -> Response:
    codes, indicator = _codes(request), request.path_params["indicator"]
    series = [row for row in indicators() if row["indicator"]["id"] == indicator]
    first, last = _years(request.query_params)
    if codes is not None:
        series = [row for row in series if codes & {row["countryiso3code"].lower(), row["country"]["id"].lower()}]
    if not series:
        raise InvalidValue
    rows = [row for row in series if first <= row["date"] <= last]
    if request.query_params.get("format") != "json":
        return Response(_XML.format("data", len(rows)), media_type="text/xml")
    if not rows:
        return Json([{"page": 0, "pages": 0, "per_page": 0, "total": 0, "sourceid": None, "lastupdated": None}, None])
    meta, page = _page(rows, request.query_params)
    return Json([{**meta, **_SOURCE}, page])


async def _invalid(_: Request, __: Exception) -> Response:
    return Json([{"message": [_INVALID]}])


def _codes(request: Request) -> set[str] | None:
    """The country codes asked for in lower case, None for all."""
    codes: str = request.path_params.get("codes", "all").lower()
    return None if codes == "all" else set(codes.split(";"))


def _years(params: QueryParams) -> tuple[str, str]:
    """First and last year of `date=2014` or `date=2014:2024`."""
    first, _, last = params.get("date", "0000:9999").partition(":")
    if any(whole_number(year) is None or len(year) != 4 for year in (first, last or first)):
        raise InvalidValue
    return first, last or first


def _page(rows: list[Row], params: QueryParams) -> tuple[Row, list[Row]]:
    """The envelope's meta part, and the rows of the page asked for."""
    page = whole_number(params.get("page", "1"))
    size = whole_number(params.get("per_page", str(DEFAULT_PER_PAGE)))
    if not page or not size or size > MOST_PER_PAGE:
        raise InvalidValue
    pages = -(-len(rows) // size)
    meta = {"page": page, "pages": pages, "per_page": size, "total": len(rows)}
    return meta, rows[(page - 1) * size : page * size]
