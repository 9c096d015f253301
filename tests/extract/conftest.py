"""A source in a test: a connection to the fake API, and one extraction of its resources."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.batch import PageRef
from pipelines.errors import PipelineError
from pipelines.extract.channel import Backlog
from pipelines.extract.client import Client
from pipelines.extract.connection import Connection
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.events import Event
from pipelines.extract.extraction import Extraction
from pipelines.extract.extractor import Extractor
from pipelines.extract.spool import Plan, Spool
from pipelines.extract.watermark import Watermark
from tests.fake_api import FakeApi, say

IMPATIENT = {"attempts": 3, "wait": "5ms", "max_wait": "20ms", "total": "5s"}
WHOLE = say({"data": [{"id": 1}, {"id": 2}]})
NOW = datetime(2024, 1, 31, 12, tzinfo=UTC)


@dataclass
class Outcome:
    """What one extraction left behind."""

    extractions: dict[str, Extraction]
    pages: dict[str, list[PageRef]]
    events: list[Event]

    def rows(self, resource: str) -> list[dict[str, Any]]:
        """The records of all pages of *resource*, in their order, with what they carry."""
        found = []
        for page in sorted(self.pages[resource], key=lambda page: page.order):
            document = orjson.loads(page.read())
            rows = document["data"] if isinstance(document, dict) else document
            found += [{**row, **dict(page.carry)} for place, row in enumerate(rows) if place not in page.without]
        return found

    def error(self, resource: str) -> PipelineError:
        """The error that *resource* ended with."""
        error = self.extractions[resource].error
        assert error is not None, self.extractions[resource]
        return error


@dataclass
class Shop:
    """A source whose API is the fake one."""

    api: FakeApi
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    origin_map: dict[str, str] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)
    masks: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)

    def connection(self) -> Connection:
        """The connection, impatient and as the test sets it."""
        return Connection.model_validate({"base_url": self.api.url, "retry": IMPATIENT, **self.settings})

    def extract(
        self,
        resources: Mapping[str, Mapping[str, Any]],
        watermarks: Mapping[str, Watermark] | None = None,
        plan: str = "x",
    ) -> Outcome:
        """Extract *resources*, given as in the YAML."""
        connection = self.connection()
        endpoints = {name: Endpoint.model_validate(resource) for name, resource in resources.items()}
        client = Client(connection, origin_map=self.origin_map)
        backlog = Backlog("shop", endpoints)
        pages: dict[str, list[PageRef]] = {name: [] for name in endpoints}
        events: list[Event] = []
        try:
            with Spool(self.folder / "spool", Plan(plan, 1, NOW)) as spool:
                extractor = Extractor(
                    connection, endpoints, name="shop", client=client, spool=spool, backlog=backlog,
                    watermarks=watermarks or {}, clock=spool.plan.clock_of, masks=self.masks, listen=events.append,
                    stop=self.stop, keys=self.keys,
                )  # fmt: skip
                extractions = extractor.run()
        finally:
            client.close()
        while (work := backlog.take()) is not None:
            pages[work.batch.resource] += work.batch.pages
        return Outcome(extractions, pages, events)

    def one(self, **resource: Any) -> Outcome:
        """Extract the one resource `orders`."""
        return self.extract({"orders": {"path": "/orders", "records": "data", **resource}})


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    """A source whose API is the fake one."""
    return Shop(api, tmp_path)


def kind_of(shop: Shop, **resource: object) -> tuple[str, int]:
    """The kind of error that `orders` ends with, and the requests it took."""
    error = shop.one(**resource).error("orders")
    return error.kind, shop.api.calls["/orders"]
