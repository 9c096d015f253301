"""Nager.Date v3: public holidays of 17 countries; its shape, dates computed with `holidays`.

Quirks kept: one call for each country and year; an unknown country is 404.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from pipelines.demo.answers import Json
from pipelines.demo.snapshots import holidays

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

ORIGIN = "https://date.nager.at"


def app() -> Starlette:
    """The service's app."""
    return Starlette(routes=[Route("/api/v3/PublicHolidays/{year}/{country}", _public_holidays)])


async def _public_holidays(request: Request) -> Response:
    year, country = request.path_params["year"], request.path_params["country"].upper()
    if country not in {code for code, _ in holidays()}:
        return _problem("Not Found", 404)
    if (country, year) not in holidays():
        return _problem("Bad Request", 400)
    return Json(holidays()[country, year])


def _problem(title: str, status: int) -> Response:
    return Json({"title": title, "status": status}, status, media_type="application/problem+json")
