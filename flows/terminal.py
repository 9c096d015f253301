"""What a person sees of a flow run who started it in this terminal; empty for all others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from uuid import UUID

from msgspec import Struct, field

from pipelines.commands.running import progress_of
from pipelines.config.project import Project
from pipelines.errors import PipelineError
from pipelines.report.result import RunReport
from pipelines.source_run import Listener

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


class Terminal(Struct):
    """Shows the progress of the flow run that it is set for, and keeps what came of it."""

    console: Console
    waiting: Status
    flow_run: UUID | None = None
    tasks: int = 0
    report: RunReport | None = None
    error: PipelineError | None = None
    unreported: list[str] = field(default_factory=list)
    ran: tuple[float, float] | None = None
    """When the run began and ended, by the monotonic clock; None where none began."""

    @contextmanager
    def watching(self, project: Project) -> Iterator[Listener]:
        """Draw *project*'s progress while the block lasts."""
        self.waiting.stop()
        began = time.monotonic()
        try:
            with progress_of(project, self.console) as listen:
                yield listen
        finally:
            self.ran = began, time.monotonic()


TERMINAL: ContextVar[Terminal | None] = ContextVar("terminal", default=None)
