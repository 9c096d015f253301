"""Frankfurter v1: the ECB's euro reference rates of 2012 to March 2018, from the ECB's own file.

Quirks kept: a dictionary of dictionaries; weekends, holidays and currencies that
were not published have no key; `start_date` and `end_date` are what was found.
"""

from __future__ import annotations

import hashlib
from datetime import date
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from pipelines.demo.answers import Json
from pipelines.demo.snapshots import Rates, euro_rates

if TYPE_CHECKING:
    from starlette.requests import Request

ORIGIN = "https://api.frankfurter.dev"
_SIGNIFICANT_DIGITS = 5


def app() -> Starlette:
    """The service's app."""
    return Starlette(routes=[Route("/v1/{first}..{last}", _range), Route("/v1/{first}..", _range)])


async def _range(request: Request) -> Response:
    try:
        first, last = _day(request, "first"), _day(request, "last")
    except ValueError:
        return Json({"message": "invalid date"}, 422)
    base = request.query_params.get("base", "EUR").upper()
    wanted = {code for code in request.query_params.get("symbols", "").upper().split(",") if code}
    rates = _rates(first or "", last or "9999", base, wanted)
    if not rates:
        return Json({"message": "not found"}, 404)
    days = list(rates)
    found = {"start_date": days[0], "end_date": days[-1]}
    return _cacheable(request, {"amount": 1.0, "base": base, **found, "rates": rates})


def _day(request: Request, name: str) -> str | None:
    text: str | None = request.path_params.get(name)
    return None if text is None else date.fromisoformat(text).isoformat()


def _rates(first: str, last: str, base: str, wanted: set[str]) -> Rates:
    """The days from *first* to *last* that have a rate of the wanted currencies."""
    days = {day: quotes for day, quotes in euro_rates().items() if first <= day <= last}
    if base != "EUR":
        days = {day: _rebased(quotes, base) for day, quotes in days.items() if base in quotes}
    if wanted:
        days = {day: {code: rate for code, rate in quotes.items() if code in wanted} for day, quotes in days.items()}
    return {day: quotes for day, quotes in days.items() if quotes}


def _rebased(quotes: dict[str, float], base: str) -> dict[str, float]:
    others = {"EUR": 1.0, **quotes}
    del others[base]
    return {code: float(f"{others[code] / quotes[base]:.{_SIGNIFICANT_DIGITS}g}") for code in sorted(others)}


def _cacheable(request: Request, content: dict[str, object]) -> Response:
    answer = Json(content, headers={"Cache-Control": "public, max-age=86400"})
    answer.headers["ETag"] = f'W/"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    if request.headers.get("If-None-Match") == answer.headers["ETag"]:
        return Response(status_code=304, headers={"ETag": answer.headers["ETag"]})
    return answer
