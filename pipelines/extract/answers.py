"""The pages of a source as they are asked for: from the spool, or else from the API and then into the spool."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from pipelines.errors import DecodeError
from pipelines.extract.chains import Chain
from pipelines.extract.client import Client
from pipelines.extract.connection import Connection
from pipelines.extract.endpoint import NoRecords
from pipelines.extract.events import Event, EventKind
from pipelines.extract.numbered import whole_number
from pipelines.extract.page import Page
from pipelines.extract.placeholders import fill_path
from pipelines.extract.request import Request
from pipelines.extract.spool import Spool, Stored
from pipelines.extract.steps import ResourceRun

Mask = Callable[[bytes], bytes]
_SKIPPED = ":skipped"  # no header can have this name


class Answers:
    """Gets pages and keeps them, masked; *over* ends a request that is waiting."""

    def __init__(
        self,
        client: Client,
        spool: Spool,
        *,
        masks: Mapping[str, Mask],
        listen: Callable[[Event], None],
        over: threading.Event,
    ) -> None:
        self._client, self._spool, self._masks = client, spool, masks
        self._listen, self._over = listen, over

    def get(self, resource: ResourceRun, request: Request, key: str) -> tuple[Page, Stored | None]:
        """The answer to *request*: what is in the spool by *key*, or else what the API says now."""
        tally = resource.tally
        tally.began_at = tally.began_at or time.monotonic()
        try:
            return self._found(resource, request, key)
        finally:
            tally.ended_at = time.monotonic()

    def _found(self, resource: ResourceRun, request: Request, key: str) -> tuple[Page, Stored | None]:
        stored = self._spool.find(resource.name, key)
        if stored is not None:
            page = self.read(resource, request, stored)
            resource.tally.count("from_spool")
            self._tell("from_spool", resource.name, size=len(page.body))
            return page, stored

        def listen(kind: EventKind, seconds: float, size: int, note: str, ago_s: float = 0.0) -> None:
            resource.tally.hear(kind, seconds, size)
            self._listen(Event(kind, resource.name, time.monotonic() - ago_s, seconds, size, note))

        page = self._client.fetch(request, resource.endpoint, stop=self._over, listen=listen)
        resource.tally.count("skipped", page.skipped)
        return page, None

    def read(self, resource: ResourceRun, request: Request, stored: Stored) -> Page:
        """A page of the spool, as the answer that it was."""
        skipped = stored.headers.get(_SKIPPED, "")
        told = (resource.endpoint.records, resource.endpoint.format, bool(skipped), skipped == "split")
        return Page(request, stored.status, stored.headers, stored.ref.read(), *told)

    def masked(self, resource: ResourceRun, page: Page) -> Page:
        """*page* as it may be written."""
        mask = self._masks.get(resource.name)
        if page.skipped:
            return replace(page, body=b"")
        return replace(page, body=mask(page.body)) if mask and not page.is_empty_body else page

    def keep(self, resource: ResourceRun, key: str, page: Page) -> Stored:
        """Spool the masked *page*; with it the headers that are asked for when the run resumes."""
        wanted = {*resource.endpoint.paginator.kept_headers, "date"}
        headers = {name: value for name, value in page.headers.items() if name in wanted}
        headers |= {_SKIPPED: "split" if page.splits else "1"} if page.skipped else {}
        stored = self._spool.add(resource.name, key, page.body, status=page.status, headers=headers)
        self._tell("spooled", resource.name, size=len(page.body))
        return stored

    def counted(self, resource: ResourceRun, connection: Connection, chain: Chain) -> int | None:
        """What the API's own count says about the question of *chain*; None where a rule skips the answer.

        Raises:
            DecodeError: It tells no number.
        """
        count = resource.endpoint.count
        path, value = (fill_path(count.path, chain.question.values), count.value) if count else ("", "@")
        question = replace(chain.question.request, url=connection.url(path))
        asked = {"path": path, "records": NoRecords(), "format": "json", "idempotent": True, "weight": 1}
        endpoint = resource.endpoint.model_copy(update=asked)
        page, _ = self.get(replace(resource, endpoint=endpoint), question, question.fingerprint)
        if page.skipped:
            return None
        # a bare number has no path to it
        number = whole_number(page.find(value) if isinstance(page.document, dict | list) else page.document)
        if number is None:
            raise DecodeError(f"no number at {path} to compare with", "check `count: {path: ..., value: ...}`")
        return number

    def _tell(self, kind: EventKind, resource: str, size: int) -> None:
        self._listen(Event(kind, resource, time.monotonic(), size=size))
