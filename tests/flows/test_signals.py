"""A flow run that is told to end: within ten seconds, leaving nothing running, ready to resume."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.fake_api import Answer, Asked, say
from tests.flows.conftest import ShopProject
from tests.processes import ended, in_session, kill
from tests.shop import Ended

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(
    ("number", "codes"),
    [pytest.param(signal.SIGTERM, {143, -15}, id="sigterm"), pytest.param(signal.SIGINT, {130}, id="ctrl-c")],
)
def test_a_signal_ends_threads_and_workers_and_the_next_run_resumes(
    number: signal.Signals, codes: set[int], shop: ShopProject, prefect_api: str
) -> None:
    from flows.sync import sync

    slow = _Slow(shop)
    process = shop.start("-m", "flows", PREFECT_API_URL=prefect_api)
    assert slow.asked.wait(60), Ended.of(process, 1)

    told_at = time.monotonic()
    process.send_signal(number)
    told = Ended.of(process, 30)
    took_s = time.monotonic() - told_at
    all_gone = ended(in_session(process.pid), within_s=1)
    state = _last_state()
    slow.over.set()
    again: State[Any] = sync(return_state=True)

    assert took_s < 10
    assert all_gone
    assert told.code in codes, told
    assert state == "Crashed"
    assert again.is_completed(), again.message
    assert slow.pages.count("1") == 1, "the first page was fetched twice"
    assert pq.read_table(shop.folder / "data/parquet/shop/orders").num_rows == 40


_WAITING = """
import os
import time
from pathlib import Path
from flows.embedded import embedded_api
with embedded_api(os.environ, Path("home")):
    print("started", flush=True)
    time.sleep(60)
"""


class _Slow:
    """Holds back page 3 of the orders until `over`."""

    def __init__(self, shop: ShopProject) -> None:
        self.asked, self.over, self.pages = threading.Event(), threading.Event(), list[str]()
        self._pages = shop.api._routes["/orders"]
        shop.api.route("/orders", self.answer)

    def answer(self, asked: Asked) -> Answer:
        page = asked.params.get("page", "1")
        self.pages.append(page)
        if page == "3" and not self.over.is_set():
            self.asked.set()
            self.over.wait(60)
            return say({}, 500)
        return self._pages(asked)


def test_an_embedded_api_ends_with_the_process_that_started_it_even_if_that_is_killed(shop: ShopProject) -> None:
    home = str(shop.folder / "home")
    process = shop.start("-c", _WAITING, PREFECT_HOME=home)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"started\n"
        (api,) = [pid for pid in _at_home(home) if pid != process.pid]

        process.kill()
        process.communicate(timeout=30)

        assert process.returncode == -signal.SIGKILL
        assert ended([api], within_s=60)
    finally:
        kill(_at_home(home))


def _at_home(home: str) -> list[int]:
    """The processes that have *home* as their PREFECT_HOME."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"PREFECT_HOME={home}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def _last_state() -> str | None:
    """The state of the flow run that was created last."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import FlowRunSort

    with get_client(sync_client=True) as client:
        return client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=1)[0].state_name
