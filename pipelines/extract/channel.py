"""The bounded channel between threads that fetch and processes that mill.

Threads put page references in; each dispatcher takes a batch of one resource's
pages. Whoever fails closes the channel, so that nobody waits for ever.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable

from msgspec import Struct, field

from pipelines.batch import Batch, PageRef
from pipelines.errors import Interrupted, PipelineError
from pipelines.extract.request import Request

_IDLE_S = 0.5
_FEWER = 8
"""A worker that has been idle for so long takes what a slow API gave so far, down to so small a part of a batch."""


class Fetched(Struct, frozen=True):
    """A page on its way to the workers, and what it answers."""

    ref: PageRef
    request: Request


class Work(Struct, frozen=True):
    """A batch for one worker, and what each of its pages answers.

    Requests stay in this process: they may hold secrets, and only a page that cannot be read is named by its own.
    """

    batch: Batch
    requests: tuple[Request, ...]


class _Waiting(Struct):
    """The pages of one resource that no worker has taken yet."""

    pages: deque[Fetched] = field(default_factory=deque)
    size_bytes: int = 0
    taken: int = 0
    finished: bool = False
    error: PipelineError | None = None


class Backlog:
    """Pages of *resources* waiting for workers; cut by bytes, fair to all resources."""

    def __init__(
        self,
        source: str,
        resources: Iterable[str],
        *,
        workers: int = 2,
        batch_bytes: int = 16_000_000,
        waiting_bytes: int = 256_000_000,
    ) -> None:
        self._source = source
        self._workers = max(workers, 1)
        self._min_bytes, self._max_bytes = batch_bytes // 4, batch_bytes
        # never less than a batch: else threads would wait for room and workers for pages
        self._bound = max(waiting_bytes, batch_bytes)
        self._resources = {resource: _Waiting() for resource in resources}
        self._changed = threading.Condition()
        self._closed = False
        self._error: PipelineError | None = None

    def put(self, resource: str, page: Fetched) -> None:
        """Hand a page over; waits while too much of the resource is waiting.

        Raises:
            PipelineError: The error that closed the channel.
        """
        with self._changed:
            waiting = self._resources[resource]
            self._changed.wait_for(lambda: self._closed or waiting.finished or waiting.size_bytes < self._bound)
            self._refuse_if_closed(waiting)
            waiting.pages.append(page)
            waiting.size_bytes += page.ref.raw_bytes
            self._changed.notify_all()

    def finish(self, resource: str) -> None:
        """No further page of *resource* will come; the rest may be taken."""
        with self._changed:
            self._resources[resource].finished = True
            self._changed.notify_all()

    def drop(self, resource: str, error: PipelineError) -> None:
        """*resource* failed: forget its pages; whoever puts another gets *error* raised."""
        with self._changed:
            waiting = self._resources[resource]
            waiting.pages.clear()
            waiting.size_bytes = 0
            waiting.finished, waiting.error = True, waiting.error or error
            self._changed.notify_all()

    def close(self) -> None:
        """No further page of any resource; what waits is dropped, waiters are let go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fail(self, error: PipelineError) -> None:
        """Close because of *error*: whoever puts or takes gets it raised."""
        with self._changed:
            self._error = self._error or error
        self.close()

    def take(self) -> Work | None:
        """The next batch; waits for one, None once every resource is finished and taken.

        Raises:
            PipelineError: The error that closed the channel.
        """
        idle_since = time.monotonic()
        with self._changed:
            while not self._closed:
                is_idle = time.monotonic() - idle_since >= _IDLE_S
                work = self._cut(self._min_bytes) or (self._cut(self._min_bytes // _FEWER) if is_idle else None)
                if work is not None or self._is_done():
                    return work
                self._changed.wait(_IDLE_S)
            if self._error:
                raise self._error
            return None

    def _refuse_if_closed(self, waiting: _Waiting) -> None:
        error = self._error or waiting.error
        if error:
            raise error
        if self._closed:
            raise Interrupted("the run is stopping", "run again to resume")

    def _is_done(self) -> bool:
        return all(waiting.finished and not waiting.pages for waiting in self._resources.values())

    def _cut(self, least: int) -> Work | None:
        """A batch of the first resource that has *least* bytes or is finished; it moves to the end of the row."""
        for resource, waiting in self._resources.items():
            if not waiting.pages or (waiting.size_bytes < least and not waiting.finished):
                continue
            pages = self._pages(waiting)
            batch = Batch(self._source, resource, waiting.taken, tuple(page.ref for page in pages))
            waiting.taken += 1
            self._resources[resource] = self._resources.pop(resource)
            self._changed.notify_all()
            return Work(batch, tuple(page.request for page in pages))
        return None

    def _pages(self, waiting: _Waiting) -> list[Fetched]:
        """Fewer bytes the less is waiting, so that all workers end at about the same time."""
        goal = max(self._min_bytes, min(self._max_bytes, waiting.size_bytes // self._workers))
        pages: list[Fetched] = []
        size = 0
        while waiting.pages and (not pages or size + waiting.pages[0].ref.raw_bytes <= goal):
            page = waiting.pages.popleft()
            size += page.ref.raw_bytes
            pages.append(page)
        waiting.size_bytes -= size
        return pages
