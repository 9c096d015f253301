"""The flow `backfill`: a span of time read again, one sub-run for each window.

Sub-runs are subflows in this process and not runs of the source's deployment: the
limits of an API are kept in one process, a window costs no start of another one,
and a deployment that runs once at a time would cancel them.
"""

from __future__ import annotations

import contextvars
import os
import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from prefect import Flow, flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State  # noqa: TC002  # Prefect resolves a flow's annotations
from prefect.states import Completed, Failed
from pydantic import NonNegativeInt, PositiveInt  # noqa: TC002  # as above

from flows.bringing import Assignment, artifact_key, attempt, bring, stopped
from flows.reporting import Reporting
from flows.secret_blocks import prefect_secret
from flows.sync import RETRIES, RETRY_DELAY_S
from flows.variables import with_variables
from pipelines.backfill import Every, Window, not_over, windows
from pipelines.config.project import load_project
from pipelines.errors import PipelineError
from pipelines.report.spans import Span

_WAKE_S = 0.2


class _Stopping:
    """Ends the sub-runs that are under way, and lets no other begin."""

    def __init__(self) -> None:
        self.is_asked = False
        self._events: list[threading.Event] = []

    def event(self) -> threading.Event:
        """What a sub-run ends by; it is its own, for a run that ends by an error sets it."""
        event = threading.Event()
        self._events.append(event)
        if self.is_asked:
            event.set()
        return event

    def ask(self) -> None:
        """End them."""
        self.is_asked = True
        for event in tuple(self._events):
            event.set()


_STOPPING: contextvars.ContextVar[_Stopping] = contextvars.ContextVar("stopping")
_WINDOW: contextvars.ContextVar[Window] = contextvars.ContextVar("window")


@flow(name="backfill-window", flow_run_name="backfill {source} {start} to {end}", persist_result=False)
def backfill_window(source: str, start: str, end: str, profile: str | None = None) -> State[Any]:
    """Read one window of *source* and commit it."""
    stop = _STOPPING.get().event()
    # Prefect's own delay would be slept through: a flow run that is told to end would wait for it
    if attempt() > 1 and stop.wait(RETRY_DELAY_S):
        return stopped()
    assignment = Assignment((source,), profile=profile, marts=False, window=_WINDOW.get().span)
    return bring(assignment, on_problem="fail", key=f"backfill-{source}", stop=stop)


@flow(name="backfill-marts", flow_run_name="marts after backfill", persist_result=False)
def backfill_marts(profile: str | None = None) -> State[Any]:
    """Make the marts from what is committed now."""
    return bring(Assignment((), profile=profile), on_problem="fail", key="backfill-marts", stop=_STOPPING.get().event())


@flow(name="backfill", flow_run_name="backfill {sources} {start} to {end}", persist_result=False)
def backfill(  # noqa: PLR0913  # what a person may choose in Prefect's form
    sources: list[str],
    start: str,
    end: str,
    *,
    every: Every = "month",
    parallel: PositiveInt = 2,
    retries: NonNegativeInt = RETRIES,
    again: bool = False,
    dry_run: bool = False,
    marts: bool = True,
    profile: str | None = None,
) -> State[Any]:
    """Read a span of time again, window by window, then make the marts.

    Windows of a source follow each other; one that fails ends its source, and the
    same backfill goes on there. What is done already is not read again.

    Args:
        sources: Names of files in config/, without .yaml.
        start: Where the span begins: a day or an instant.
        end: Where it ends.
        every: How long a window is; each is a commit.
        parallel: How many sources are read at a time.
        retries: How often a window that failed is tried again, a minute apart.
        again: Read windows again that are done; what ends early goes on without it.
        dry_run: Only show the windows and how many requests they will take.
        marts: Make the marts afterwards.
        profile: Which [profiles] table of settings.toml applies.
    """
    try:
        env = with_variables(os.environ)
        project = load_project(env, only=sources, profile=profile, prefect_secret=prefect_secret)
        span = Span(start, end)
        plan = {one.name: windows(one, project.settings, span, every, again=again) for one in project.sources}
    except PipelineError as error:
        return Failed(message=f"{error.kind}: {error}")
    Reporting().attempt("the plan", lambda: _publish(plan))
    if dry_run:
        return Completed(name="Planned", message=_told(plan))
    window_flow = backfill_window.with_options(retries=retries)
    problems = _all(plan, lambda window: _sub_run(window_flow, window, profile), parallel)
    if marts and not problems:
        state: Any = backfill_marts(profile, return_state=True)
        problems = [f"marts: {state.message}"] if state.is_failed() else []
    told = _told(plan)
    return Failed(message="\n".join([told, *problems])) if problems else Completed(message=told)


def _all(plan: dict[str, list[Window]], sub_run: Any, parallel: int) -> list[str]:
    """All windows that are due, *parallel* sources at a time; what went wrong."""
    stopping = _Stopping()
    _STOPPING.set(stopping)

    def one_source(waiting: list[Window]) -> list[str]:
        for window in waiting:
            if not stopping.is_asked and (problem := sub_run(window)):
                return [problem]
        return []

    with ThreadPoolExecutor(parallel, thread_name_prefix="backfill") as threads:
        # Prefect knows by the context which flow run a sub-run belongs to
        running = [
            threads.submit(contextvars.copy_context().run, one_source, [one for one in found if one.is_due])
            for found in plan.values()
        ]
        try:
            _wait(running)
        except BaseException:
            stopping.ask()
            raise
    return [problem for one in running for problem in one.result()]


def _wait(running: list[Future[list[str]]]) -> None:
    """Wait for all; a signal is noticed meanwhile."""
    while not all(one.done() for one in running):
        wait(running, timeout=_WAKE_S, return_when=FIRST_EXCEPTION)


def _sub_run(window_flow: Flow[..., Any], window: Window, profile: str | None) -> str:
    """Run one window; what went wrong, empty if nothing did."""
    _WINDOW.set(window)
    state: Any = window_flow(window.source, window.span.start, window.span.end, profile=profile, return_state=True)
    where = f"{window.source} {window.span.start} to {window.span.end}"
    return "" if state.is_completed() else f"{where}: {state.name}: {state.message}"


def _publish(plan: dict[str, list[Window]]) -> None:
    rows = [
        {
            "source": window.source,
            "from": window.span.start,
            "to": window.span.end,
            "requests": "done" if window.is_done else window.requests if window.has_begun else "not begun",
            "known": window.basis,
        }
        for found in plan.values()
        for window in found
    ]
    create_table_artifact(key=artifact_key("backfill-plan"), table=rows, description=_told(plan))


def _told(plan: dict[str, list[Window]]) -> str:
    every = [window for found in plan.values() for window in found]
    requests = sum(window.requests or 0 for window in every if window.is_due)
    count = sum(window.is_done for window in every)
    done = f", {count} of them done before" if count else ""
    counted = f"{len(every)} windows of {len(plan)} sources{done}; about {requests:,} requests"
    return "\n".join([counted, *filter(None, map(not_over, plan.values()))])
