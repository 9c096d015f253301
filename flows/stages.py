"""A task for each stage that the engine tells of: Prefect sees a run as it happens.

A task waits for its stage's milestone and ends with a few counts, or Failed with
the problem and what to do about it. Parameters are names. Tasks are as many as
resources, never as many as pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

# the first task would import it while pages already come: a SIGTERM, which Prefect raises as an error wherever the
# main thread is, could then fall into a finalizer of the import system, where errors are ignored
import prefect.task_engine  # noqa: F401
from prefect import Task, get_run_logger, task
from prefect.assets import add_asset_metadata
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State  # noqa: TC002  # Prefect resolves a task's annotations
from prefect.context import TagsContext
from prefect.states import Completed, Failed
from prefect.tasks import MaterializingTask

from flows.assets import Assets
from flows.milestones import Counts, Milestone, Milestones, Stage, StageKind

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture

_MILESTONES: ContextVar[Milestones] = ContextVar("milestones")


@contextmanager
def following(milestones: Milestones, assets: Assets) -> Iterator[Callable[[Stage], PrefectFuture[Any]]]:
    """Inside a flow: yields what starts the task of a stage; a commit materializes its dataset's asset."""
    token = _MILESTONES.set(milestones)  # a task's thread gets a copy of the context, so nothing crosses as a parameter

    def start(stage: Stage) -> PrefectFuture[Any]:
        is_dataset = stage.kind == "commit" and "." in stage.name  # a source that cannot begin fails as a whole
        started = _materializing(stage.name, assets) if is_dataset else _TASKS[stage.kind]
        return started.submit(stage.name)

    try:
        # a tag on a task is a concurrency limit to Prefect: two calls for each task, which wait where no server answers
        with TagsContext(current_tags=set()):
            yield start
    finally:
        _MILESTONES.reset(token)


def _stage_task(kind: StageKind) -> Task[[str], State[Counts]]:
    @task(name=kind, task_run_name=kind + " {name}", cache_policy=NO_CACHE, persist_result=False)
    def wait(name: str) -> State[Counts]:
        return _state(_MILESTONES.get().wait(Stage(kind, name)))

    return wait


_TASKS: dict[StageKind, Task[[str], State[Counts]]] = {
    "extract": _stage_task("extract"),
    "mill": _stage_task("mill"),
    "commit": _stage_task("commit"),
    "mart": _stage_task("mart"),
}


def _materializing(dataset: str, assets: Assets) -> MaterializingTask[[str], State[Counts]]:
    asset = assets.made(dataset)

    def wait(name: str) -> State[Counts]:
        milestone = _MILESTONES.get().wait(Stage("commit", name))
        if milestone.problem is None:
            add_asset_metadata(asset, assets.metadata(name))
        return _state(milestone)

    return MaterializingTask(
        wait,
        assets=[asset],
        materialized_by="threadmill",
        asset_deps=list(assets.made_from(dataset)),
        name="commit",
        task_run_name="commit {name}",
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _state(milestone: Milestone) -> State[Any]:
    if problem := milestone.problem:
        hint = f"\nhint: {problem.hint}" if problem.hint else ""
        return Failed(message=f"{problem.kind}: {problem.message}{hint}")
    if milestone.skipped:
        return Completed(name="Skipped", message=milestone.skipped, data={})
    told = ", ".join(f"{value} {name}" for name, value in milestone.counts.items())
    get_run_logger().info(told)
    name = "Incomplete" if milestone.counts.get("verdict") == "incomplete" else None
    return Completed(name=name, message=told, data=milestone.counts)
