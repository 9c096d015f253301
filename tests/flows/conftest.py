"""One embedded run and one Prefect server for all tests of flows: each costs seconds.

The run makes a fresh Prefect home; the server starts on a copy of it, so that the
database is made once.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fake_api import FakeApi, fake_api
from tests.processes import in_session, kill
from tests.shop import ROOT, Ended

QUIET = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "CRITICAL"}
_PROMPT = {
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT1S",
}
"""What the server notices by itself, it notices within a second."""
_SOURCE = """\
base_url: {url}
schedule: {{cron: "15 * * * *", timezone: Europe/Madrid}}
retry: {{attempts: 1}}
resources:
  orders:
    path: /orders
    records: data
    paginate: {{next_url: next}}
    key: id
    write: upsert
    transform: shop:note_modules
  refunds: {{path: /refunds, records: data, paginate: {{next_url: next}}, key: id, write: upsert}}
"""
_TRANSFORM = '''\
"""A transform that writes down what its worker has imported."""
import os, sys
from pathlib import Path

def note_modules(frame):
    Path("{noted}", str(os.getpid())).write_text("\\n".join(sys.modules))
    return frame
'''
_RECORDER = '''\
"""Writes down where every Python process of the run connects to, and where it listens."""
import os, sys

def note(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        with open(os.path.join(os.environ["NOTED"], "connections"), "a") as file:
            file.write(f"{args[1][0]}\\n")
    elif event == "socket.bind" and isinstance(args[1], tuple):
        with open(os.path.join(os.environ["NOTED"], "listening"), "a") as file:
            file.write(f"{args[1][0]}\\n")
    elif event == "socket.getaddrinfo" and args[0]:
        with open(os.path.join(os.environ["NOTED"], "names"), "a") as file:
            file.write(f"{args[0]}\\n")

sys.addaudithook(note)
'''


@pytest.fixture(scope="module", autouse=True)
def _no_connection_stays() -> Iterator[None]:
    """Prefect's connection for events would go on pinging, by `random`, which property tests want for themselves."""
    yield
    worker = sys.modules.get("prefect.events.worker")
    if worker is not None:
        worker.EventsWorker.drain_all(timeout=10, at_exit=False)


class ShopProject:
    """A project folder with one source, `shop`, and what its workers wrote down."""

    def __init__(self, folder: Path, api: FakeApi) -> None:
        self.folder, self.api, self.noted = folder, api, folder / "noted"
        self._started: list[subprocess.Popen[bytes]] = []
        for name, text in {
            "config/shop.yaml": _SOURCE.format(url=api.url),
            "config/settings.toml": f'workers = 2\ntransforms = "{folder}/transforms"\n[profiles.live]\n',
            "transforms/shop.py": _TRANSFORM.format(noted=self.noted),
            "recorder/sitecustomize.py": _RECORDER,
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        self.noted.mkdir()
        api.pages("/orders", records=40)
        api.pages("/refunds", records=20)

    def environment(self, **more: str) -> dict[str, str]:
        """What a program of the project finds around it: nothing of the caller's own Prefect."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("THREADMILL_", "PREFECT_"))}
        paths = f"{self.folder}/recorder:{ROOT}"
        return {**kept, **QUIET, "PYTHONPATH": paths, "NOTED": str(self.noted), "HOME": str(self.folder), **more}

    def start(self, *words: str, **env: str) -> subprocess.Popen[bytes]:
        """`python WORDS` in the folder, in a session of its own."""
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=self.folder,
            env=self.environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kill what was started and still runs."""
        for process in self._started:
            with process:
                kill(in_session(process.pid))


@dataclass(frozen=True)
class EmbeddedRun:
    """`python -m flows` in a fresh folder, without a server: what it said, and the folder."""

    ended: Ended
    folder: Path

    @property
    def home(self) -> Path:
        """Where Prefect should keep its things."""
        return self.folder / ".prefect"


def worker_modules(noted: Path) -> list[set[str]]:
    """What each worker that ran the transform had imported."""
    return [set(file.read_text().split("\n")) for file in noted.iterdir() if file.name.isdigit()]


@pytest.fixture(scope="session")
def embedded_run(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedRun:
    """Made once, also where several processes share the tests: the first one runs it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, said = shared / "embedded", shared / "embedded.json"
    with (shared / "embedded.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.is_file():
            with fake_api() as api:
                ended = Ended.of(ShopProject(folder, api).start("-m", "flows"), 200)
            said.write_text(json.dumps([ended.code, ended.out, ended.err]))
        return EmbeddedRun(Ended(*json.loads(said.read_text())), folder)


@pytest.fixture(scope="session")
def server(embedded_run: EmbeddedRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real `prefect server` on a free loopback port."""
    home = tmp_path_factory.mktemp("server") / "home"
    shutil.copytree(embedded_run.home, home)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    env = {**os.environ, **QUIET, **_PROMPT, **_pages(port), "PREFECT_HOME": str(home)}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}/api"
    try:
        _wait_for(url, process, home / "log")
        yield url
    finally:
        with suppress(ProcessLookupError):  # it never started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def prefect_api(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Flows called in this process talk to the server."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_LEVEL, temporary_settings

    with temporary_settings({PREFECT_API_URL: server, PREFECT_LOGGING_LEVEL: "CRITICAL"}):
        yield server


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ShopProject]:
    """The project, which is the current folder while a test runs."""
    project = ShopProject(tmp_path, api)
    monkeypatch.chdir(tmp_path)
    yield project
    project.close()


def _pages(port: int) -> dict[str, str]:
    """Where the server's pages find its API, and where links to them lead."""
    return {"PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_UI_URL": f"http://127.0.0.1:{port}"}


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise AssertionError(f"no Prefect server at {url}:\n{log.read_text()[-2000:]}")
