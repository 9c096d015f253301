"""The bundled APIs as a program: where it listens, what it counts, when it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from pipelines.demo import serve

ROOT = Path(__file__).resolve().parents[2]
LIVE_ORIGINS = {
    "https://earthquake.usgs.gov",
    "https://api.frankfurter.dev",
    "https://api.worldbank.org",
    "https://archive-api.open-meteo.com",
    "https://date.nager.at",
}
CALLER = """
import json, sys, time
from pipelines.demo import serve
with serve(latency="0ms") as origins:
    print(json.dumps(origins), flush=True)
    sys.stdin.read()
"""


def listens(origin: str) -> bool:
    address = urlsplit(origin)
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((str(address.hostname), int(address.port or 0))) == 0


def ends(condition: Callable[[], bool], *, within_s: float) -> bool:
    """Whether *condition* turns false before the deadline."""
    deadline = time.monotonic() + within_s
    while condition():
        if time.monotonic() > deadline:
            return False
    return True


def test_every_live_origin_has_a_port_of_its_own_on_loopback() -> None:
    with serve(latency="0ms") as origins:
        addresses = [urlsplit(origin) for origin in origins.values()]

    assert set(origins) == LIVE_ORIGINS
    assert {address.hostname for address in addresses} == {"127.0.0.1"}
    assert len({address.port for address in addresses}) == 5


def test_requests_are_counted_by_path() -> None:
    with serve(latency="0ms") as origins:
        api = origins["https://date.nager.at"]
        for year in (2012, 2013, 2013):
            requests.get(f"{api}/api/v3/PublicHolidays/{year}/US", timeout=30)

        counts = requests.get(f"{api}/_demo/requests", timeout=30).json()

    assert counts == {"/api/v3/PublicHolidays/2012/US": 1, "/api/v3/PublicHolidays/2013/US": 2}


def test_answers_are_compressed_when_asked_for() -> None:
    with serve(latency="0ms") as origins:
        url = origins["https://earthquake.usgs.gov"] + "/fdsnws/event/1/query?format=geojson&starttime=2018-01-31"
        packed = requests.get(url, headers={"Accept-Encoding": "gzip"}, timeout=30)
        plain = requests.get(url, headers={"Accept-Encoding": "identity"}, timeout=30)

    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) * 5 < int(plain.headers["Content-Length"])
    assert packed.json() == plain.json()


def test_the_latency_asked_for_is_waited() -> None:
    """With a median of 200 ms, ten answers take longer than 1 s together; with 0 ms they do not."""
    with serve(latency="200ms") as origins:
        api = origins["https://date.nager.at"]
        waits = [requests.get(f"{api}/api/v3/PublicHolidays/2012/US", timeout=30).elapsed for _ in range(10)]

    assert sum(wait.total_seconds() for wait in waits) > 1


def test_the_server_ends_with_the_block() -> None:
    with serve(latency="0ms") as origins:
        during = [listens(origin) for origin in origins.values()]

    assert all(during)
    assert not any(listens(origin) for origin in origins.values())


def test_the_server_ends_when_its_caller_is_killed() -> None:
    """Kill -9 leaves the caller no time to end it: the end of the pipe does."""
    with subprocess.Popen(
        [sys.executable, "-c", CALLER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as caller:
        assert caller.stdout is not None
        origins = json.loads(caller.stdout.readline())
        during = [listens(origin) for origin in origins.values()]
        caller.kill()

    assert all(during)
    assert ends(lambda: any(listens(origin) for origin in origins.values()), within_s=10)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_in_a_terminal_it_serves_until_interrupted(ending: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "pipelines.demo", "--latency", "0ms"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as program:
        assert program.stdout is not None
        origins = json.loads(program.stdout.readline())
        answer = requests.get(origins["https://date.nager.at"] + "/api/v3/PublicHolidays/2012/US", timeout=30)
        program.send_signal(ending)
        _, said = program.communicate(timeout=10)

    assert answer.status_code == 200
    assert said == b""


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        pytest.param("--latency=80", "such as 80ms", id="latency-without-unit"),
        pytest.param("--chaos=2", "between 0 and 1", id="chaos-above-one"),
    ],
)
def test_a_bad_option_is_explained(option: str, hint: str) -> None:
    program = subprocess.run(
        [sys.executable, "-m", "pipelines.demo", option], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert program.returncode == 2
    assert hint in program.stderr
