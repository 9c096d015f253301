"""A client that asks nobody: every page must be in the spool."""

from __future__ import annotations

import threading

from pipelines.errors import StoreError
from pipelines.extract.client import Client
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.events import Listen
from pipelines.extract.page import Page
from pipelines.extract.request import Request


class Offline(Client):
    """Refuses every request."""

    def fetch(
        self, request: Request, endpoint: Endpoint, *, stop: threading.Event | None = None, listen: Listen | None = None
    ) -> Page:
        """Nothing.

        Raises:
            StoreError: Always.
        """
        raise StoreError(
            f"{request.safe_url}: the page is not among those that are kept",
            "what is asked has changed since it was fetched: `threadmill backfill` or `run` reads it anew",
        )
