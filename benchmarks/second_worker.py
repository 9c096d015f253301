"""What a second worker adds: the transform stage alone, from pages that are kept on disk, with one and with two.

Nothing is fetched meanwhile, so that both processors belong to the workers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import results
from benchmarks.contenders import THREADMILL
from benchmarks.measure import RunFailed, measure
from benchmarks.results import Entry, Section

RESOURCE, SOURCE, ROWS = "x10.flights10", "x10", 3_367_760
TIMEOUT_S = 300.0


def measured(base_url: str, out: Path, *, rounds: int, command: str) -> Section:
    """One worker and two, in turns; `wall_s` is the time from the first batch to the end of the last."""
    entries = {number: Entry(f"workers-{number}", _title(number)) for number in (1, 2)}
    folder = out / "second-worker"
    THREADMILL.prepare(folder)
    _command(["run", SOURCE], base_url, folder)
    for _ in range(rounds):
        for number, entry in list(entries.items()):
            entries[number] = _add(entry, number, base_url, folder)
    return Section("second-worker", command, results.machine(), ROWS, list(entries.values()))


def _title(number: int) -> str:
    return "one worker" if number == 1 else f"{number} workers"


def _add(entry: Entry, number: int, base_url: str, folder: Path) -> Entry:
    try:
        _command(["replay", RESOURCE], base_url, folder, THREADMILL_WORKERS=str(number))
    except RunFailed as error:
        return Entry(entry.name, entry.title, failure=str(error).strip().splitlines()[-1][:200])
    stage = _mill(base_url, folder)
    print(f"  second-worker {entry.title:13} {stage['wall_s']:7.2f} s {stage['cpu_s']:7.2f} s CPU", flush=True)
    return Entry(entry.name, entry.title, [*entry.wall_s, stage["wall_s"]], [*entry.cpu_s, stage["cpu_s"]])


def _command(arguments: list[str], base_url: str, folder: Path, **more: str) -> None:
    env = {**THREADMILL.environment(base_url, folder), **more}
    measure([sys.executable, "-m", "pipelines", *arguments], env=env, folder=folder, timeout_s=TIMEOUT_S)


def _mill(base_url: str, folder: Path) -> dict[str, float]:
    """The stage of the newest run, as `threadmill explain` tells it."""
    asked = [sys.executable, "-m", "pipelines", "explain", "--json"]
    env = THREADMILL.environment(base_url, folder)
    told = json.loads(subprocess.run(asked, env=env, cwd=folder, check=True, capture_output=True, timeout=60).stdout)
    return next(stage for stage in told["stages"] if stage["name"] == "mill")
