"""Fetch and mill side by side: what the API says becomes staged parts while more is being asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from pipelines.batch import Batch
from pipelines.config.settings import Settings
from pipelines.config.source import Resource, Source
from pipelines.extract.channel import Backlog
from pipelines.extract.client import Client
from pipelines.extract.crew import Size
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.events import Event
from pipelines.extract.extraction import Extraction
from pipelines.extract.extractor import Extractor
from pipelines.extract.request import Request
from pipelines.extract.spool import Spool
from pipelines.extract.watermark import Watermark
from pipelines.milled import Milled, Recipe
from pipelines.milling import Ledger, Milling, batch_event
from pipelines.pool import Engine
from pipelines.transform.mask import mask as mask_page


def fetch_and_mill(  # noqa: PLR0913  # all that one pass over a source needs, each by name
    source: Source,
    endpoints: Mapping[str, Endpoint],
    watermarks: Mapping[str, Watermark | None],
    recipes: Mapping[str, Recipe],
    *,
    spool: Spool,
    client: Client,
    engine: Engine,
    settings: Settings,
    listen: Callable[[str, Event], None],
    stop: threading.Event,
) -> tuple[Mapping[str, Extraction], Mapping[str, Ledger]]:
    """What came of fetching *endpoints* from *watermarks* on, and of milling their pages; returns when all is done."""
    backlog = Backlog(
        source.name,
        endpoints,
        workers=engine.workers,
        batch_bytes=settings.batch_size,
        waiting_bytes=settings.memory,
    )

    def tell(event: Event) -> None:
        listen(source.name, event)

    def on_batch(batch: Batch, milled: Milled) -> None:
        tell(batch_event(batch.resource, milled))

    def on_busy(resource: str, more: int) -> None:
        tell(Event("busy", resource, time.monotonic(), size=more))

    def repeat(resource: str, request: Request) -> str:
        return client.repeat_line(request, endpoints[resource])

    masks = {name: Masking(source.resources[name]) for name in endpoints if source.resources[name].mask}
    with Milling(engine, backlog, recipes, on_batch=on_batch, on_busy=on_busy, repeat=repeat) as milling:
        extractor = Extractor(
            source.connection(),
            endpoints,
            name=source.name,
            client=client,
            spool=spool,
            backlog=backlog,
            watermarks=watermarks,
            clock=spool.plan.clock_of,
            masks=masks,
            keys={name: _key(source.resources[name]) for name in endpoints},
            listen=tell,
            stop=stop,
            size=crew_size(source, settings),
        )
        extractions = extractor.run()
    for name, masking in masks.items():
        milling.ledgers[name].unmet = masking.unmet
    return extractions, milling.ledgers


def _key(resource: Resource) -> list[str]:
    """Paths in a record to the fields of its key, as far as they are in it; a transform may give it any."""
    if resource.transform:
        return []
    columns = {name: resource.columns[name].source for name in resource.key if name in resource.columns}
    return [columns.get(name) or name for name in resource.key if name not in resource.carry]


def crew_size(source: Source, settings: Settings) -> Size:
    """How many threads may fetch from *source*: as many as requests may run at once, if `threads` says no number."""
    if settings.threads == "auto":
        return Size(source.limits.in_flight, memory=settings.memory)
    return Size(settings.threads, is_fixed=True)


class Masking:
    """Covers the fields that `mask` of *resource* names in a page, before anything of it is written."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource
        self._met: set[str] = set()
        self._pages = 0

    def __call__(self, body: bytes) -> bytes:
        """The page with these fields covered."""
        one = self._resource
        self._pages += 1
        return mask_page(body, one.format, one.records, one.mask, self._met)

    @property
    def unmet(self) -> tuple[str, ...]:
        """Paths that no record of the pages has."""
        return tuple(path for path in self._resource.mask if path not in self._met) if self._pages else ()
