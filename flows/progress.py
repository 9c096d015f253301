"""How far a flow run is, as a progress artifact that is renewed less and less often.

A run of an hour renews it about 20 times, one of a day about 30: the number of calls grows with
the logarithm of the time, and not at all with pages or rows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from flows.milestones import Milestones
from flows.reporting import Reporting
from pipelines.config.project import Project

_FIRST_S = 2.0
_LONGER = 1.4
_LAST_MOMENT_S = 2.0


@contextmanager
def showing_progress(project: Project, milestones: Milestones, reporting: Reporting, *, key: str) -> Iterator[None]:
    """Keep the progress artifact *key* up to date while the block lasts, from a thread of its own."""
    resources = sum(len(source.resources) for source in project.sources)
    board = _Board(milestones, reporting, stages=3 * resources + 2 * len(project.marts.marts))
    over = threading.Event()
    thread = threading.Thread(target=copy_context().run, args=(board.show, key, over), name="progress", daemon=True)
    thread.start()
    try:
        yield
        board.is_done = True
    finally:
        over.set()
        thread.join(None if board.is_done else _LAST_MOMENT_S)


class _Board:
    """Counts into one artifact."""

    def __init__(self, milestones: Milestones, reporting: Reporting, *, stages: int) -> None:
        self._milestones, self._reporting, self._stages = milestones, reporting, max(stages, 1)
        self.is_done = False

    def show(self, key: str, over: threading.Event) -> None:
        """Create the artifact, renew it until *over*, and once more."""
        made = self._reporting.attempt(
            "its progress", lambda: create_progress_artifact(self._percent(), key=key, description=self._told())
        )
        if not isinstance(made, UUID):
            return
        wait_s = _FIRST_S
        while not over.wait(wait_s):
            self._renew(made)
            wait_s *= _LONGER
        self._renew(made)

    def _renew(self, made: UUID) -> None:
        self._reporting.attempt(
            "its progress", lambda: update_progress_artifact(made, self._percent(), description=self._told())
        )

    def _percent(self) -> float:
        return 100.0 if self.is_done else round(min(100.0 * self._milestones.ended / self._stages, 99.0), 1)

    def _told(self) -> str:
        counts = self._milestones.totals
        return (
            f"{self._milestones.ended} of {self._stages} stages: {counts['requests']:,} requests, "
            f"{counts['pages']:,} pages, {counts['rows_read']:,} rows read"
        )
