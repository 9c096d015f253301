"""Deployments with a real worker: late, overlapping, scheduled, cancelled and killed runs.

One server, one worker and one project for all of them: each start costs seconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import yaml

from tests.fake_api import Answer, Asked, fake_api, say
from tests.flows.conftest import ShopProject
from tests.processes import alive, children, ended, eventually
from tests.shop import Ended

pytestmark = pytest.mark.timeout(300)
_TICK = """\
base_url: {url}
schedule: {{interval: 10s}}
resources: {{ticks: {{path: /ticks, records: data, paginate: none, key: id, write: upsert}}}}
"""
_ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


@dataclass
class Deployed:
    """A project whose sources are deployed to a server, and its worker."""

    project: ShopProject
    url: str
    worker: subprocess.Popen[bytes] | None = None
    over: threading.Event = field(default_factory=threading.Event)
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def start(self, source: str = "shop", *, scheduled: datetime | None = None, **parameters: object) -> str:
        """Create a run of the deployment of *source*, as a person does; its id."""
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": scheduled.isoformat()}} if scheduled else None
        body = {"parameters": parameters, **({"state": state} if state else {})}
        return str(self.ask("POST", f"/deployments/{self.deployment(source)['id']}/create_flow_run", body)["id"])

    def deployment(self, source: str) -> dict[str, Any]:
        """What the server says of the deployment of *source*."""
        return dict(self.ask("GET", f"/deployments/name/sync-source/{source}"))

    def state(self, run: str) -> tuple[str, str]:
        """Type and name of the state of a run."""
        state = self.ask("GET", f"/flow_runs/{run}")["state"]
        return state["type"], state["name"]

    def ended(self, *runs: str) -> list[str]:
        """The states in which *runs* end."""
        eventually(lambda: all(self.state(run)[0] in _ENDED for run in runs), within_s=120)
        return [self.state(run)[1] for run in runs]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One call of Prefect's API; while its database is locked it answers 503, and Prefect's clients ask again."""
        deadline = time.monotonic() + 60
        while (answer := httpx.request(method, self.url + path, json=body, timeout=60)).status_code == 503:
            assert time.monotonic() < deadline, answer.text
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def work(self) -> int:
        """Start the worker, unless it runs; its process."""
        if self.worker is None:
            self.worker = self.project.start(
                *("-m", "prefect", "worker", "start", "--pool", "threadmill", "--type", "process"),
                PREFECT_API_URL=self.url,
                PREFECT_WORKER_QUERY_SECONDS="1",
                PREFECT_HOME=str(self.project.folder / "home"),
            )
        return self.worker.pid

    @contextmanager
    def held(self) -> Iterator[tuple[str, list[int], list[str]]]:
        """A run that waits for page 3 of the orders: its id, its processes, and the pages that were asked for."""
        answers, asked, pages = self.project.api.routed("/orders"), threading.Event(), list[str]()
        self.over.clear()

        def answer(question: Asked) -> Answer:
            page = question.params.get("page", "1")
            pages.append(page)
            if page == "3" and not self.over.is_set():
                asked.set()
                self.over.wait(60)
                return say({}, 500)
            return answers(question)

        self.project.api.route("/orders", answer)
        worker = self.work()
        run = self.start()
        try:
            assert asked.wait(90), self.state(run)
            yield run, children(worker), pages
        finally:
            self.over.set()


@pytest.fixture(scope="module")
def deployed(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """`threadmill deploy` for two sources: `shop` is run by hand, `tick` every ten seconds."""
    with fake_api() as api:
        project = ShopProject(tmp_path_factory.mktemp("deployed"), api)
        api.answer("/ticks", say({"data": [{"id": 1}]}))
        (project.folder / "config/tick.yaml").write_text(_TICK.format(url=api.url))
        shop = project.folder / "config/shop.yaml"
        shop.write_text(shop.read_text().replace("schedule:", "# schedule:"))
        chosen = {"PREFECT_API_URL": server, "PREFECT_HOME": str(project.folder / "home")}
        told = Ended.of(project.start("-m", "flows.cli", "deploy", **chosen), 200)
        assert told.code == 0, told
        found = Deployed(project, server)
        try:
            yield found
        finally:
            found.over.set()
            if found.worker:
                below = children(found.worker.pid)
                found.worker.kill()
                found.worker.communicate()
                for process in alive(below):
                    os.kill(process, signal.SIGKILL)


def test_the_server_has_what_prefect_yaml_says(deployed: Deployed) -> None:
    written = yaml.safe_load((deployed.project.folder / "prefect.yaml").read_text())
    told = {one["name"]: one for one in written["deployments"]}
    shop, tick = deployed.deployment("shop"), deployed.deployment("tick")

    schema = shop["parameter_openapi_schema"]["properties"]

    assert tick["schedules"][0]["schedule"] == {
        "interval": 10.0,
        "anchor_date": "2024-01-01T00:00:00Z",
        "timezone": "UTC",
    }
    assert shop["schedules"] == []
    for one in (shop, tick):
        wanted = told[one["name"]]
        assert {name: one[name] for name in ("tags", "description", "parameters", "entrypoint")} == {
            name: wanted[name] for name in ("tags", "description", "parameters", "entrypoint")
        }
        assert one["work_pool_name"] == wanted["work_pool"]["name"] == "threadmill"
        assert one["global_concurrency_limit"]["limit"] == wanted["concurrency_limit"]["limit"] == 1
        assert one["concurrency_options"]["collision_strategy"] == wanted["concurrency_limit"]["collision_strategy"]
    assert {"source", "start", "end", "full_refresh", "profile"} <= schema.keys()
    assert all(parameter["description"] for parameter in schema.values())


def test_of_runs_that_are_late_one_is_run_and_the_others_are_cancelled(deployed: Deployed) -> None:
    """No worker runs when they are due; when it starts, the limit of one lets one through."""
    due = datetime.now(UTC) - timedelta(minutes=1)
    runs = [deployed.start(scheduled=due), deployed.start(scheduled=due)]
    eventually(lambda: all(deployed.state(run)[1] == "Late" for run in runs))

    deployed.work()
    states = deployed.ended(*runs)

    assert sorted(states) == ["Cancelled", "Completed"]
    assert pq.read_table(deployed.project.folder / "data/parquet/shop/orders").num_rows == 40


def test_a_schedule_runs_without_anybody(deployed: Deployed) -> None:
    deployed.work()
    done = {"state": {"type": {"any_": ["COMPLETED"]}}, "start_time": {"after_": deployed.since.isoformat()}}
    wanted = {"deployments": {"name": {"any_": ["tick"]}}, "flow_runs": done}
    tick = deployed.deployment("tick")["id"]

    eventually(lambda: deployed.ask("POST", "/flow_runs/filter", wanted))
    deployed.ask("POST", f"/deployments/{tick}/pause_deployment")

    (run, *_) = deployed.ask("POST", "/flow_runs/filter", wanted)
    assert (run["auto_scheduled"], run["name"]) == (True, "sync tick")
    assert pq.read_table(deployed.project.folder / "data/parquet/tick/ticks").num_rows == 1


def test_cancelling_ends_every_thread_and_process_within_ten_seconds(deployed: Deployed) -> None:
    with deployed.held() as (run, processes, _):
        told_at = time.monotonic()
        deployed.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
        gone = ended(processes, within_s=30)
        took_s = time.monotonic() - told_at
    states = deployed.ended(run)

    assert len(processes) >= 3
    assert gone
    assert took_s < 10
    assert states == ["Cancelled"]


def test_a_killed_flow_process_is_crashed_and_the_next_run_resumes(deployed: Deployed) -> None:
    with deployed.held() as (run, processes, pages):
        os.kill(_parent_of_workers(processes), signal.SIGKILL)
        gone = ended(processes, within_s=10)
    states = deployed.ended(run)
    again = deployed.ended(deployed.start())

    assert (gone, states, again) == (True, ["Crashed"], ["Completed"])
    assert {page for page in pages if pages.count(page) > 1} == {"3"}, "a page that had been fetched was fetched again"
    assert alive(processes) == []


def _parent_of_workers(processes: list[int]) -> int:
    """Of all below Prefect's worker, the process in which the flow runs: the one that has started our workers."""
    ours = next(one for one in processes if b"multiprocessing" in Path(f"/proc/{one}/cmdline").read_bytes())
    return int(Path(f"/proc/{ours}/stat").read_text().rpartition(")")[2].split()[1])
