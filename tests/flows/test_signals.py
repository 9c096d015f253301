"""A flow run that is told to end: within ten seconds, leaving nothing running, ready to resume."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.fake_api import Answer, Asked, say
from tests.flows.conftest import EmbeddedRun, ShopProject
from tests.shop import Ended

pytestmark = pytest.mark.xdist_group("prefect")


@pytest.mark.parametrize(
    ("number", "state"),
    [pytest.param(signal.SIGTERM, "Crashed", id="sigterm"), pytest.param(signal.SIGINT, "Crashed", id="ctrl-c")],
)
def test_a_signal_ends_threads_and_workers_and_the_next_run_resumes(
    number: signal.Signals, state: str, shop: ShopProject, server: str
) -> None:
    slow = _Slow(shop)
    process = shop.start("-m", "flows", PREFECT_API_URL=server)
    assert slow.asked.wait(60), "the run never asked for page 3"

    told_at = time.monotonic()
    process.send_signal(number)
    ended = Ended.of(process, 30)
    took_s = time.monotonic() - told_at
    left = _session(process)
    slow.over.set()
    again = Ended.of(shop.start("-m", "flows", PREFECT_API_URL=server), 60)

    assert took_s < 10
    assert left == []
    assert ended.code != 0, ended
    assert again.code == 0, again
    assert slow.pages.count("1") == 1, "the first page was fetched twice"
    assert pq.read_table(shop.folder / "data/parquet/shop/orders").num_rows == 40


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


def _session(process: subprocess.Popen[bytes]) -> list[str]:
    """The command lines of what still runs in the session of *process*, after a second of grace."""
    deadline = time.monotonic() + 1
    while (found := _running(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _running(session: int) -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and os.getsid(int(folder.name)) == session:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found
