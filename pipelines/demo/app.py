"""The five bundled APIs as one app: the port that a request arrives at decides which one answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from starlette.middleware.gzip import GZipMiddleware

from pipelines.demo import frankfurter, nager, openmeteo, usgs, worldbank
from pipelines.demo.answers import Json
from pipelines.demo.chaos import Chaos
from pipelines.demo.faults import Faults
from pipelines.demo.latency import Latency

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Receive, Scope, Send

APIS: dict[str, Callable[[], Starlette]] = {
    usgs.ORIGIN: usgs.app,
    frankfurter.ORIGIN: frankfurter.app,
    worldbank.ORIGIN: worldbank.app,
    openmeteo.ORIGIN: openmeteo.app,
    nager.ORIGIN: nager.app,
}
"""Live origin -> the app that answers in its place."""

REQUESTS_PATH = "/_demo/requests"


class Counted:
    """Count the requests of one API by path; `GET /_demo/requests` tells the counts."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count and pass on, or tell the counts."""
        if scope["path"] == REQUESTS_PATH:
            await Json(dict(self.requests))(scope, receive, send)
            return
        self.requests[scope["path"]] += 1
        await self.app(scope, receive, send)


class ByPort:
    """Hand each request to the app that belongs to the port it arrived at."""

    def __init__(self, apps: Mapping[int, ASGIApp]) -> None:
        self.apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on to the app of the port."""
        _, port = scope["server"]
        await self.apps[port](scope, receive, send)


def bundled(origin: str, *, latency_s: float, chaos: float, seed: int) -> ASGIApp:
    """The API that stands in for *origin*, with its waits and its faults."""
    app: ASGIApp = GZipMiddleware(APIS[origin](), minimum_size=500, compresslevel=1)
    app = Latency(app, median_s=latency_s, seed=seed)
    if origin == openmeteo.ORIGIN:
        app = openmeteo.OneAtATime(app)
    if chaos:
        app = Chaos(app, origin=origin, faults=Faults(chaos, seed=seed))
    return Counted(app)
