"""What a flow run does: one run of the engine, a task for each stage, artifacts, and a state that says it all."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct
from msgspec.structs import replace
from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRunPolicy
from prefect.context import FlowRunContext
from prefect.futures import wait
from prefect.states import Cancelled, Completed, Failed

from flows.artifacts import publish, summary, told
from flows.assets import Assets
from flows.engine import Work, engine
from flows.logs import log_of
from flows.milestones import Milestones
from flows.progress import showing_progress
from flows.reporting import Reporting
from flows.secret_blocks import prefect_secret
from flows.signals import deferred
from flows.stages import following
from flows.terminal import TERMINAL, Terminal
from flows.variables import with_variables
from pipelines.commands.lakes import locked, run_id
from pipelines.config.project import Project, load_project
from pipelines.errors import ConfigError, PipelineError
from pipelines.load.lake import Lake
from pipelines.marts.model import Marts
from pipelines.report.result import RunReport
from pipelines.report.spans import Span
from pipelines.source_run import run_source
from pipelines.watermarks import chosen, forget

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

OnProblem = Literal["fail", "warn"]


class RunFailed(Exception):
    """The run has problems, and the flow has retries left: the next one resumes from the page spool."""


class Assignment(Struct, frozen=True):
    """What one flow run is to do; of no *sources*, all."""

    sources: tuple[str, ...] | None
    profile: str | None = None
    marts: bool = True
    start: str | None = None
    end: str | None = None
    window: Span | None = None
    full_refresh: bool = False
    timeout_s: float | None = None

    @property
    def work(self) -> Work:
        """What is done with each source: bring it up to date, or read the span again.

        Raises:
            ConfigError: Half a span, or a span and a full refresh.
        """
        if self.window is not None:
            return partial(run_source, span=self.window)
        if self.start is None and self.end is None:
            return run_source
        if self.start is None or self.end is None:
            raise ConfigError("a span needs both of its ends", "give `start` and `end`, or neither")
        if self.full_refresh:
            raise ConfigError("a span and a full refresh exclude each other", "give one of them")
        return partial(run_source, span=Span(self.start, self.end))


def bring(
    assignment: Assignment, *, on_problem: OnProblem, key: str, stop: threading.Event | None = None
) -> State[Any]:
    """Do what *assignment* says inside a flow run, until *stop* is set; artifacts are named after *key*."""
    terminal = TERMINAL.get()
    overdue, reporting = threading.Event(), Reporting()
    if terminal:
        terminal.unreported = reporting.missed
    try:
        project = _project(assignment)
        stop = stop or threading.Event()
        report = _run(project, assignment, overdue, stop, terminal=terminal, reporting=reporting, key=key)
    except PipelineError as error:
        if terminal:
            terminal.error = error
        return _failed(f"{error.kind}: {error}")
    reporting.attempt("the result", lambda: publish(report, key=artifact_key(key)))
    if terminal:
        terminal.report = report
    if overdue.is_set() and report.exit_code:
        reporting.attempt("that it shall not be retried", _retry_no_more)
        after = f"stopped after {(assignment.timeout_s or 0) / 60:g} minutes; the next run resumes"
        return Failed(name="TimedOut", message=f"{after}\n{told(report)}")
    if stop.is_set() and report.exit_code:
        return stopped(told(report))
    return _state(report, on_problem)


def stopped(text: str = "") -> State[Any]:
    """How a flow run ends that was told to: not by itself, and without another attempt."""
    return Cancelled(message=f"stopped; the next run resumes\n{text}".strip())


def _run(  # noqa: PLR0913  # whom the run tells what
    project: Project,
    assignment: Assignment,
    overdue: threading.Event,
    stop: threading.Event,
    *,
    terminal: Terminal | None,
    reporting: Reporting,
    key: str,
) -> RunReport:
    """One run of the engine, followed by a task for each stage."""
    work = assignment.work
    if assignment.full_refresh:
        _forget_watermarks(project)
    milestones = Milestones()
    watching = terminal.watching(project) if terminal else nullcontext(_ignore)
    with (
        _deadline(assignment.timeout_s, overdue, stop),
        log_of(get_run_logger(), project.sources.secrets, project.sources.names),
        deferred() as heed,
        watching as listen,
        following(milestones, Assets(project)) as follow,
        engine(project, milestones, listen, work=work, stop=stop) as result,
        showing_progress(project, milestones, reporting, key=artifact_key(f"{key}-progress")),
    ):
        started = [reporting.attempt("its tasks", partial(follow, stage)) for stage in milestones.stages(heed)]
        tasks = [task for task in started if task is not None]
        if terminal:
            terminal.tasks = len(tasks)
        report = result.result()
        wait(tasks)
    return report


def _project(assignment: Assignment) -> Project:
    project = load_project(
        with_variables(os.environ),
        only=assignment.sources,
        profile=assignment.profile,
        prefect_secret=prefect_secret,
    )
    for logger in (logging.getLogger(), *(logging.getLogger(name) for name in ("prefect", "prefect.flow_runs"))):
        project.sources.secrets.guard(logger)
    return project if assignment.marts else replace(project, marts=Marts(marts={}))


def _forget_watermarks(project: Project) -> None:
    """Let every incremental resource begin at its start.

    Once in a flow run, in the first attempt that can: a later one does not forget what was read since.
    """
    context = FlowRunContext.get()
    run = f"refresh-{context.flow_run.id}" if context and context.flow_run else run_id("refresh")
    for source in project.sources:
        lake = Lake(project.settings.data, source.name, project.settings.remote)
        with locked(lake, "refresh"):
            forget(lake, chosen(source, ""), run=run, config_hash=source.config_hash)


@contextmanager
def _deadline(timeout_s: float | None, overdue: threading.Event, stop: threading.Event) -> Iterator[None]:
    """Set *overdue* and *stop* once *timeout_s* have passed, if the block lasts so long."""

    def end() -> None:
        overdue.set()
        stop.set()

    timer = threading.Timer(timeout_s, end) if timeout_s else None
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer:
            timer.cancel()


def _ignore(source: str, event: object) -> None:
    """Nobody watches."""


def _state(report: RunReport, on_problem: OnProblem) -> State[Any]:
    if report.exit_code == 0:
        return Completed(message=summary(report))
    if on_problem == "warn":
        return Completed(name="Incomplete", message=told(report))
    return _failed(told(report), name=_name(report))


def _name(report: RunReport) -> str | None:
    """What kind of failure this is, for automations: of several kinds it is plainly Failed."""
    kinds = {problem.kind for _, problem in report.problems}
    if not kinds:
        return "Incomplete"
    return "ExpectationFailed" if kinds == {"ExpectationFailed"} else None


def _failed(message: str, *, name: str | None = None) -> State[Any]:
    """Failed; by an exception while retries are left, because Prefect retries no returned state in place."""
    context = FlowRunContext.get()
    if context and context.flow and context.flow_run and attempt() <= (context.flow.retries or 0):
        raise RunFailed(message)
    return Failed(name=name, message=message) if name else Failed(message=message)


def _retry_no_more() -> None:
    """Tell the server, which would let a Failed run wait for its next attempt."""
    context = FlowRunContext.get()
    if context and context.flow_run:
        with get_client(sync_client=True) as client:
            client.update_flow_run(context.flow_run.id, empirical_policy=FlowRunPolicy(retries=0))


def attempt() -> int:
    """Which attempt of the flow run this is, from 1."""
    context = FlowRunContext.get()
    return context.flow_run.run_count if context and context.flow_run else 1


def artifact_key(text: str) -> str:
    """Prefect's keys are lower-case letters, digits and dashes."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
