"""The engine under a flow: one run of the library in a thread of its own.

The flow's thread stays free, so that Prefect's signals reach it at once; however
the flow ends, the engine is stopped and waited for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from flows.milestones import Milestones
from pipelines.config.project import Project
from pipelines.config.source import Source
from pipelines.extract.events import Event
from pipelines.report.result import RunReport, SourceReport
from pipelines.run import run
from pipelines.source_run import Listener, Shared

Work = Callable[[Source, Shared], SourceReport]
"""What a run does with each source."""
ENDING_S = 10.0
"""How long a stopped run may take to end its threads and workers."""


@contextmanager
def engine(
    project: Project, milestones: Milestones, listen: Listener, *, work: Work, stop: threading.Event
) -> Iterator[Future[RunReport]]:
    """Run *project* while the block lasts, doing *work* with each source; leaving it early, or *stop*, ends the run.

    *milestones* and *listen* are told of every event; *milestones* is closed when
    the run has ended.
    """
    result = Future[RunReport]()

    def tell(source: str, event: Event) -> None:
        milestones.listen(source, event)
        listen(source, event)

    def live() -> None:
        try:
            result.set_result(run(project, listen=tell, stop=stop, work=work))
        except BaseException as error:  # noqa: BLE001  # whoever waits for the result raises it
            result.set_exception(error)
        milestones.close(result.result() if result.exception() is None else None)

    thread = threading.Thread(target=live, name="engine", daemon=True)
    thread.start()
    try:
        yield result
    finally:
        if not result.done():
            stop.set()
        thread.join(ENDING_S)
        milestones.close(None)
