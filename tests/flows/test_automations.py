"""What Prefect's server notices and tells by itself: silent runs, and runs that need a person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_api import Answer, Asked, fake_api, say
from tests.flows.conftest import ShopProject
from tests.processes import eventually
from tests.shop import Ended

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_COUNTED = "paginate: {page_number: {total: total}}, key: id, write: upsert}"
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("prefect_api")]


def test_a_webhook_hears_of_runs_that_need_a_person_and_of_no_other(shop: ShopProject) -> None:
    """A complete run, a failed one, an incomplete one and one whose data breaks an expectation."""
    from prefect.blocks.webhook import Webhook

    from flows.automations import register_automations

    heard: list[dict[str, str]] = []

    def hear(asked: Asked) -> Answer:
        heard.append(json.loads(asked.body))
        return say({})

    with fake_api() as receiver:
        receiver.route("/hook", hear)
        Webhook(url=f"{receiver.url}/hook").save("hook", overwrite=True)
        register_automations(notify="hook")
        states = [_sync(shop)]
        shop.api.answer("/refunds", say({"error": "no"}, 401))
        states += [_sync(shop)]
        shop.api.route("/refunds", _one_of_seven)
        _edit(shop, "paginate: {next_url: next}, key: id, write: upsert}", _COUNTED)
        states += [_sync(shop)]
        _edit(shop, _COUNTED, "paginate: none, write: replace, expect: [{min_rows: 5}]}")
        states += [_sync(shop)]
        eventually(lambda: len({one["state"] for one in heard}) >= 3, within_s=60)

    assert [state.name for state in states] == ["Completed", "Failed", "Incomplete", "ExpectationFailed"]
    # a set: Prefect delivers at least once, and under load sometimes twice
    assert {one["state"] for one in heard} == {"ExpectationFailed", "Failed", "Incomplete"}
    assert {one["flow_run"] for one in heard} == {"sync shop"}
    assert all("shop.refunds" in one["message"] and "/runs/flow-run/" in one["url"] for one in heard)


def test_a_webhook_block_that_is_not_there_is_named() -> None:
    from flows.automations import register_automations
    from pipelines.errors import ConfigError

    with pytest.raises(ConfigError, match="no Webhook block 'nowhere'"):
        register_automations(notify="nowhere")


def test_a_run_that_falls_silent_is_crashed_by_the_server(shop: ShopProject, prefect_api: str) -> None:
    """Its process and all others are killed; nobody is left to say so."""
    from flows.automations import SILENT_S, register_automations

    register_automations(notify=None, silent_s=10)
    try:
        shop.api.answer("/orders", say({}, delay_s=60))
        process = shop.start("-m", "flows", PREFECT_API_URL=prefect_api)
        eventually(lambda: shop.api.calls["/orders"], within_s=90)
        (run, *_) = _running()
        eventually(lambda: _has_beaten(run))
        process.kill()
        Ended.of(process)
        eventually(lambda: _state(run).name == "Crashed", within_s=60)
    finally:
        register_automations(notify=None, silent_s=SILENT_S)

    assert "No heartbeat for 10 s" in str(_state(run).message)


def _one_of_seven(asked: Asked) -> Answer:
    return say({"data": [{"id": 1}] if asked.params.get("page", "1") == "1" else [], "total": 7})


def _sync(shop: ShopProject) -> State[Any]:
    from prefect import tags

    from flows.sync import sync_source

    with tags("threadmill"):
        return sync_source.with_options(retries=0)("shop", return_state=True)


def _edit(shop: ShopProject, old: str, new: str) -> None:
    path = shop.folder / "config/shop.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _running() -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING])))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.START_TIME_DESC)
    return [run.id for run in runs]


def _has_beaten(run: Any) -> bool:
    """Whether the server has heard the heart of *run*."""
    from prefect.client.orchestration import get_client

    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    with get_client(sync_client=True) as client:
        return bool(client.request("POST", "/events/filter", json={"filter": wanted}).json()["events"])


def _state(run: Any) -> State[Any]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
    assert state
    return state
