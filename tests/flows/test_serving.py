"""`threadmill serve`: one process that runs what is due, until it is told to end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pyarrow.parquet as pq
import pytest

from tests.processes import children, ended, eventually
from tests.shop import Ended

if TYPE_CHECKING:
    from tests.flows.conftest import ShopProject

pytestmark = pytest.mark.timeout(300)


def test_one_process_registers_runs_and_ends_when_told(shop: ShopProject, server: str) -> None:
    (shop.folder / "config/shop.yaml").rename(shop.folder / "config/served.yaml")
    with (shop.folder / "config/settings.toml").open("a") as settings:
        settings.write("[profiles.staging]\n")
    chosen = {"PREFECT_API_URL": server, "PREFECT_RUNNER_POLL_FREQUENCY": "1", "PREFECT_HOME": f"{shop.folder}/home"}
    chosen["THREADMILL_PROFILE"] = "staging"
    process = shop.start("-m", "flows.cli", "serve", "--json", **chosen)

    deployment = f"{server}/deployments/name/sync-source/served"
    eventually(lambda: process.poll() is not None or httpx.get(deployment).status_code == 200, within_s=90)
    assert process.poll() is None, Ended.of(process)
    found: dict[str, Any] = httpx.get(deployment).json()
    run = (
        httpx.post(f"{server}/deployments/{found['id']}/create_flow_run", json={}, timeout=30)
        .raise_for_status()
        .json()["id"]
    )
    eventually(lambda: httpx.get(f"{server}/flow_runs/{run}").json()["state"]["type"] == "COMPLETED", within_s=120)
    below = children(process.pid)
    process.send_signal(signal.SIGTERM)
    told = Ended.of(process, 30)

    assert (found["work_pool_name"], found["global_concurrency_limit"]["limit"]) == (None, 1), told
    assert found["schedules"][0]["schedule"]["cron"] == "15 * * * *"
    assert found["parameters"] == {"source": "served", "profile": "staging"}
    assert orjson.loads(told.out)["deployments"][0]["name"] == "sync-source/served"
    assert ended(below, within_s=10)
    assert pq.read_table("data/parquet/served/orders").num_rows == 40
