"""The claim behind the design, with real work: threads do what waits, processes do what computes.

Each figure comes from a process of its own (`essay_step`), in turns, pools ready
before the work begins; what a pool costs to start stands in a table of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import results
from benchmarks.contenders import ROOT
from benchmarks.essay_step import CORES, STEPS
from benchmarks.results import Entry, Section

TIMEOUT_S = 120.0
WAYS = {"sequential": "sequential", "threads": "threads", "processes": "forkserver"}
POOLS = {
    "threads": "threads",
    "fork": "fork",
    "spawn": "spawn",
    "forkserver": "fork server, preloaded, the first time",
    "forkserver-again": "fork server, preloaded, any later time",
}


def measured(base_url: str, out: Path, *, rounds: int, command: str) -> Section:
    """Every step in every way, and every kind of pool."""
    out.mkdir(parents=True, exist_ok=True)
    works = {f"{step} {way}": (step, method) for step in STEPS for way, method in WAYS.items()}
    starts = {f"pool {method}": ("none", method) for method in POOLS}
    entries = {name: Entry(name, _title(name)) for name in (*works, *starts)}
    for _ in range(rounds):
        for name, (step, method) in {**works, **starts}.items():
            figures = _figures(step, method, base_url)
            seconds = figures["start_s" if step == "none" else "work_s"]
            print(f"  essay {name:22} {seconds:7.3f} s {figures['memory_mb']:7.0f} MB", flush=True)
            old = entries[name]
            peak_mb = [*old.peak_mb, figures["memory_mb"]]
            entries[name] = Entry(name, old.title, [*old.wall_s, seconds], [], peak_mb)
    return Section("essay", command, results.machine(), 0, list(entries.values()))


def _figures(step: str, method: str, base_url: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.essay_step", step, method, base_url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_S,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _title(name: str) -> str:
    kind, way = name.split(" ", 1)
    if kind == "pool":
        return POOLS[way] + f", {CORES} workers"
    step = STEPS[kind]
    return f"{step.title}, {step.tasks} times" + (f", {step.width} at once" if way != "sequential" else "")
