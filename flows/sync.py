"""The flows: `sync` brings all sources up to date in one flow run, `sync_source` one, for its deployment.

`make run` is `python -m flows`; `python -m flows.sync` is the same, two seconds slower.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State  # noqa: TC002  # Prefect resolves a flow's annotations
from prefect.context import FlowRunContext
from prefect.futures import wait
from prefect.states import Completed, Failed

from flows.artifacts import publish, summary
from flows.engine import engine
from flows.milestones import Milestones
from flows.secret_blocks import prefect_secret
from flows.stages import following
from flows.terminal import TERMINAL, Terminal
from pipelines.config.project import Project, load_project
from pipelines.errors import PipelineError
from pipelines.marts.model import Marts
from pipelines.report.result import RunReport

OnProblem = Literal["fail", "warn"]
RETRIES = 2
RETRY_DELAY_S = 60


class RunFailed(Exception):
    """The run has problems, and the flow has retries left: the next one resumes from the page spool."""


@flow(name="sync", flow_run_name="sync", persist_result=False)
def sync(
    sources: list[str] | None = None, *, profile: str | None = None, marts: bool = True, on_problem: OnProblem = "fail"
) -> State[Any]:
    """Bring *sources* (all by default) up to date side by side, then the marts.

    One failed resource stops no other: what is whole is committed. With problems
    the flow run ends Failed; with `on_problem="warn"` Completed, named Incomplete.
    """
    return _bring(sources, profile=profile, marts=marts, on_problem=on_problem, key="sync")


@flow(
    name="sync-source",
    flow_run_name="sync {source}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_S,
    persist_result=False,
)
def sync_source(
    source: str, *, profile: str | None = None, marts: bool = True, on_problem: OnProblem = "fail"
) -> State[Any]:
    """Bring one *source* up to date, then the marts that are made from it.

    A retry resumes: pages that were fetched are not fetched again.
    """
    return _bring([source], profile=profile, marts=marts, on_problem=on_problem, key=f"sync-{source}")


def _bring(
    sources: list[str] | None, *, profile: str | None, marts: bool, on_problem: OnProblem, key: str
) -> State[Any]:
    terminal = TERMINAL.get()
    try:
        project = _project(sources, profile, marts=marts)
        report = _run(project, terminal)
    except PipelineError as error:
        if terminal:
            terminal.error = error
        return _failed(f"{error.kind}: {error}")
    publish(report, key=_artifact_key(key))
    if terminal:
        terminal.report = report
    if report.exit_code == 0:
        return Completed(message=summary(report))
    if on_problem == "warn":
        return Completed(name="Incomplete", message=_told(report))
    return _failed(_told(report))


def _project(sources: list[str] | None, profile: str | None, *, marts: bool) -> Project:
    project = load_project(os.environ, only=sources, profile=profile, prefect_secret=prefect_secret)
    for logger in (logging.getLogger(), *(logging.getLogger(name) for name in ("prefect", "prefect.flow_runs"))):
        project.sources.secrets.guard(logger)
    return project if marts else replace(project, marts=Marts(marts={}))


def _run(project: Project, terminal: Terminal | None) -> RunReport:
    """One run of the engine, followed by a task for each stage."""
    milestones = Milestones()
    watching = terminal.watching(project) if terminal else nullcontext(_ignore)
    with watching as listen, following(milestones) as follow, engine(project, milestones, listen) as result:
        tasks = [follow(stage) for stage in milestones.stages()]
        if terminal:
            terminal.tasks = len(tasks)
        report = result.result()
        wait(tasks)
    return report


def _ignore(source: str, event: object) -> None:
    """Nobody watches."""


def _failed(message: str) -> State[Any]:
    """Failed; by an exception while retries are left, because Prefect retries no returned state in place."""
    context = FlowRunContext.get()
    if context and context.flow and context.flow_run and context.flow_run.run_count <= (context.flow.retries or 0):
        raise RunFailed(message)
    return Failed(message=message)


def _told(report: RunReport) -> str:
    problems = [f"{name}: {problem.kind}: {problem.message}" for name, problem in report.problems]
    return "\n".join([summary(report), *problems])


def _artifact_key(text: str) -> str:
    """Prefect's keys are lower-case letters, digits and dashes."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())


if __name__ == "__main__":
    # Prefect read its settings when it was imported above; the command must choose its API before that
    os.execv(sys.executable, [sys.executable, "-m", "flows", *sys.argv[1:]])  # noqa: S606  # our own interpreter
