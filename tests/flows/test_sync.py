"""Flows against a real Prefect server: states, artifacts, secrets, calls, retries."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.fake_api import Answer, Asked, say
from tests.flows.conftest import ShopProject, worker_modules

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact, State, TaskRun

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("prefect_api"),
]


def test_a_failed_resource_is_named_and_the_others_are_committed(shop: ShopProject) -> None:
    from flows.sync import sync

    shop.api.answer("/refunds", say({"error": "no"}, 401))

    state: State[Any] = sync(return_state=True)

    tasks = _tasks(state)
    assert state.is_failed()
    assert "failed: shop.refunds" in str(state.message)
    assert pq.read_table("data/parquet/shop/orders").num_rows == 40
    assert tasks["extract shop.refunds"].state_name == "Failed"
    assert "hint: " in _message(tasks["extract shop.refunds"])
    assert {tasks[name].state_name for name in ("extract shop.orders", "mill shop.orders", "commit shop.orders")} == {
        "Completed"
    }


def test_a_run_with_problems_may_end_completed_by_policy(shop: ShopProject) -> None:
    from flows.sync import sync

    shop.api.answer("/refunds", say({"error": "no"}, 404))

    state: State[Any] = sync(on_problem="warn", return_state=True)

    assert (state.is_completed(), state.name) == (True, "Incomplete")
    assert "shop.refunds" in str(state.message)


def test_a_configuration_that_cannot_be_read_fails_the_flow_with_file_and_line(shop: ShopProject) -> None:
    from flows.sync import sync

    (shop.folder / "config/shop.yaml").write_text("base_url: https://a.example\nresorces: {}\n")

    state: State[Any] = sync(return_state=True)

    assert state.is_failed()
    assert "shop.yaml:2: resorces" in str(state.message)
    assert shop.api.asked == []


def test_the_result_is_an_artifact_and_so_are_the_problems(shop: ShopProject) -> None:
    from flows.sync import sync

    shop.api.answer("/refunds", say({"error": "no"}, 401))

    state: State[Any] = sync(return_state=True)

    artifacts = _artifacts(state)
    table, text = str(artifacts["sync-result"].data), str(artifacts["sync-summary"].data)
    assert "shop.orders" in table
    assert "unproved" in table
    assert "**shop.refunds**: AuthError" in text
    assert "data/parquet/shop/" in text


def test_a_token_from_a_secret_block_reaches_the_api_and_nothing_else(
    shop: ShopProject, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.blocks.system import Secret

    from flows.sync import sync_source

    Secret(value="sesame-open-7341").save("shop-token", overwrite=True)
    config = shop.folder / "config/shop.yaml"
    config.write_text(config.read_text() + "auth: {bearer: 'prefect-secret:shop-token'}\n")
    shop.api.answer("/refunds", say({"error": "bad token sesame-open-7341"}, 401))

    state: State[Any] = sync_source.with_options(retries=0)("shop", return_state=True)

    told = f"{state.message} {_tasks(state)} {_artifacts(state)} {caplog.text}"
    assert {asked.headers["authorization"] for asked in shop.api.asked} == {"Bearer sesame-open-7341"}
    assert state.is_failed()
    assert "sesame" not in told
    assert not any(b"sesame" in path.read_bytes() for path in (shop.folder / "data").rglob("*") if path.is_file())


def test_a_missing_secret_block_is_a_problem_with_its_line(shop: ShopProject) -> None:
    from flows.sync import sync

    config = shop.folder / "config/shop.yaml"
    config.write_text(config.read_text() + "auth: {bearer: 'prefect-secret:no-such-block'}\n")

    state: State[Any] = sync(return_state=True)

    assert "Prefect has no Secret block 'no-such-block'" in str(state.message)
    assert shop.api.asked == []


def test_calls_to_prefect_do_not_grow_with_pages_or_rows(shop: ShopProject) -> None:
    """At most 25 calls for two resources, whether they have 6 pages or 400."""
    from flows.sync import sync

    with _calls() as few:
        sync(return_state=True)
    shop.api.pages("/orders", records=3000)
    shop.api.pages("/refunds", records=1000)

    with _calls() as many:
        state: State[Any] = sync(return_state=True)

    assert state.is_completed()
    assert shop.api.calls["/orders"] > 300
    assert len(many) <= len(few) + 3  # log records are sent by the second
    assert len(many) <= 25


def test_a_retry_resumes_from_the_pages_that_were_fetched(shop: ShopProject) -> None:
    """Page 3 of 4 fails once: the second attempt asks for pages 3 and 4 only."""
    from flows.sync import sync_source

    answers = shop.api._routes["/orders"]
    broken = [True]

    def route(asked: Asked) -> Answer:
        if asked.params.get("page") == "3" and broken:
            broken.pop()
            return say({"error": "no"}, 500)
        return answers(asked)

    shop.api.route("/orders", route)

    state: State[Any] = sync_source.with_options(retries=1, retry_delay_seconds=0)("shop", return_state=True)

    pages = [asked.params.get("page", "1") for asked in shop.api.asked if asked.path == "/orders"]
    assert state.is_completed(), state.message
    assert sorted(pages) == ["1", "2", "3", "3", "4"]
    assert pq.read_table("data/parquet/shop/orders").num_rows == 40


def test_workers_of_a_flow_called_in_a_program_never_import_prefect(shop: ShopProject) -> None:
    from flows.sync import sync_source

    sync_source("shop", return_state=True)

    modules = worker_modules(shop.noted)
    assert modules
    assert not any(name.split(".")[0] in ("prefect", "flows", "pytest") for worker in modules for name in worker)


def _tasks(state: State[Any]) -> dict[str, TaskRun]:
    """The task runs of the flow run that ended in *state*, once the server has the end of each."""
    import time

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


def _message(run: TaskRun) -> str:
    return str(run.state.message) if run.state else ""


def _artifacts(state: State[Any]) -> dict[str, Artifact]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        return {str(one.key): one for one in client.read_artifacts(artifact_filter=wanted)}


@contextmanager
def _calls() -> Iterator[list[str]]:
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
