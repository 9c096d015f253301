"""Asks the API: one request at a time, counted, and never more than allowed.

An answer of any status is an answer: a refusal is evidence too. When the
allowance is used up, `ask` answers with status 0 and no records, so that the
experiments end by themselves.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from pipelines.errors import PipelineError, RateLimited
from pipelines.extract.client import Client
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.page import Page
from pipelines.extract.patience import retry_after_s
from pipelines.extract.request import Request
from pipelines.init.subject import Subject

MOST_REQUESTS = 20
_NOT_ASKED = 0
_BUSY = (429, 503)
_MOST_TRIES = 3
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0
_ANY_STATUS = Endpoint.model_validate({"path": "/", "errors": [{"status": list(range(200, 600)), "do": "skip"}]})


class Asked(Struct, frozen=True):
    """One request that was sent: what differed from the user's URL, why, and the status of its answer."""

    what: str
    why: str
    status: int


class Prober:
    """Sends requests of one subject; close it, or use it in a `with` block."""

    def __init__(
        self,
        subject: Subject,
        *,
        most: int = MOST_REQUESTS,
        origin_map: Mapping[str, str] = MappingProxyType({}),
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.subject = subject
        self.most = most
        self.asked: list[Asked] = []
        self.refused_for_cap = 0
        self._client = Client(subject.connection, origin_map=origin_map)
        self._pause = pause
        self._known: dict[str, Page] = {}

    def __enter__(self) -> Prober:
        return self

    def __exit__(self, *details: object) -> None:
        self._client.close()

    @property
    def left(self) -> int:
        """How many requests may still be sent."""
        return self.most - len(self.asked)

    def check(self, request: Request) -> None:
        """Refuse a link that leads out of the API, as a run would.

        Raises:
            OriginError: It does.
        """
        self._client.origins.configured(request.full_url)

    def ask(self, request: Request, what: str, why: str) -> Page:
        """The answer to *request*; one asked before is not asked again.

        Raises:
            PipelineError: The very first request got no answer.
        """
        known = self._known.get(request.fingerprint)
        if known is not None:
            return known
        page = self._patiently(request, what, why)
        if page.status:
            self._known[request.fingerprint] = page
        return page

    def again(self, request: Request, what: str, why: str) -> Page:
        """The answer to *request*, though it was asked before."""
        return self._patiently(request, what, why)

    def _patiently(self, request: Request, what: str, why: str) -> Page:
        """Ask; where the API says that it is busy, wait as long as it asks, and ask again."""
        page = self._once(request, what, why)
        for attempt in range(1, _MOST_TRIES):
            if page.status not in _BUSY:
                break
            asked_s = retry_after_s(page.headers)
            wait_s = _FIRST_WAIT_S * 2 ** (attempt - 1) if asked_s is None else asked_s
            if wait_s > _LONGEST_WAIT_S:
                raise RateLimited(f"the API asks to wait {wait_s:,.0f} s", "run `threadmill init` again then")
            if self.left <= 0:
                break
            self._pause(wait_s)
            page = self._once(request, what, f"{why}, again after a wait of {wait_s:g} s")
        return page

    def _once(self, request: Request, what: str, why: str) -> Page:
        if self.left <= 0:
            self.refused_for_cap += 1
            return Page(request, _NOT_ASKED, {}, b"")
        is_first = not self.asked
        try:
            page = self._client.fetch(request, _ANY_STATUS)
        except PipelineError as error:
            self.asked.append(Asked(what, f"{why} ({error.kind})", _NOT_ASKED))
            if is_first:
                raise
            return Page(request, _NOT_ASKED, {}, b"")
        self.asked.append(Asked(what, why, page.status))
        return replace(page, skipped=False)
