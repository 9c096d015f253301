"""What a Prefect server was told of a flow run, as tests look at it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.processes import eventually

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact, State, TaskRun


def tasks(state: State[Any]) -> dict[str, TaskRun]:
    """The task runs of the flow run that ended in *state*, once the server has the end of each."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    deadline = time.monotonic() + 20
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_task_runs(flow_run_filter=flow_run)
            if (runs and all(run.state and run.state.is_final() for run in runs)) or time.monotonic() > deadline:
                return {run.name: run for run in runs}
            time.sleep(0.05)


def message(run: TaskRun) -> str:
    return str(run.state.message) if run.state else ""


def artifacts(state: State[Any]) -> dict[str, Artifact]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        return {str(one.key): one for one in client.read_artifacts(artifact_filter=wanted)}


def materialized(state: State[Any]) -> dict[str, dict[str, Any]]:
    """What the server heard of materialized assets: related assets and metadata, by key."""
    from prefect.client.orchestration import get_client

    run = f"prefect.flow-run.{state.state_details.flow_run_id}"
    wanted = {"event": {"name": ["prefect.asset.materialization.succeeded"]}, "related": {"id": [run]}}
    found: dict[str, dict[str, Any]] = {}

    def heard() -> bool:
        with get_client(sync_client=True) as client:
            events = client.request("POST", "/events/filter", json={"filter": wanted}).json()["events"]
        for event in events:
            assets = {one["prefect.resource.id"] for one in event["related"] if one["prefect.resource.role"] == "asset"}
            found[event["resource"]["prefect.resource.id"]] = {"related": assets, "payload": event["payload"]}
        return len(found) >= 3

    eventually(heard, within_s=30)
    return found


@contextmanager
def calls() -> Iterator[list[str]]:
    """Every request to Prefect's API while the block lasts, as httpx logs them."""
    found: list[str] = []
    handler, logger = logging.Handler(), logging.getLogger("httpx")
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]  # a handler of one line
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield found
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
