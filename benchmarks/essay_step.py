"""One measurement of the essay in a process of its own: `python -m benchmarks.essay_step STEP WAY BASE_URL`.

Prints the seconds that the work took in a pool that was ready, the seconds that
the pool took to be ready, and the memory of all processes at the end.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.pool import Pool, ThreadPool
from multiprocessing.synchronize import Barrier

from benchmarks.measure import Tree, pss_kb

PRELOAD = ["numpy", "pandas", "pyarrow", "requests"]
PAGES = 50
_own = threading.local()


@dataclass(frozen=True)
class Step:
    """A piece of work, how often it is done and by how many at once."""

    title: str
    do: Callable[[str], object]
    tasks: int
    width: int


def fetch(url: str) -> int:
    """Fetch one page over a connection that is kept alive; its size."""
    import requests

    if not hasattr(_own, "session"):
        _own.session = requests.Session()
    response = _own.session.get(url, timeout=30)
    response.raise_for_status()
    return len(response.content)


def with_pandas(_: str) -> int:
    """Build a frame of records, read its times, group it."""
    import pandas as pd

    records = [{"id": n, "shop": f"s{n % 97}", "at": f"2026-01-{n % 28 + 1:02}T10:00:00Z"} for n in range(20_000)]
    frame = pd.DataFrame(records)
    frame["at"] = pd.to_datetime(frame["at"])
    return len(frame.groupby(["shop", frame["at"].dt.day])["id"].agg(["sum", "count"]))


def with_numpy(_: str) -> float:
    """Sort and add up a million numbers: NumPy lets go of the GIL."""
    import numpy as np

    values = np.random.default_rng(7).random(1_000_000)
    return float(np.sort(np.exp(values)).sum())


def with_python(_: str) -> int:
    """A plain loop."""
    return sum(number * number % 7 for number in range(700_000))


CORES = len(os.sched_getaffinity(0))
STEPS = {
    "http-0": Step("HTTP page at once", fetch, 96, 16),
    "http-20": Step("HTTP page after 20 ms", fetch, 96, 16),
    "http-100": Step("HTTP page after 100 ms", fetch, 96, 16),
    "pandas": Step("pandas", with_pandas, 12, CORES),
    "numpy": Step("NumPy without the GIL", with_numpy, 24, CORES),
    "python": Step("pure Python", with_python, 12, CORES),
}
WAYS = ("sequential", "threads", "fork", "spawn", "forkserver", "forkserver-again")


def main() -> None:
    """Do STEP in the given WAY; with `none` for a step, only start the pool."""
    step_name, way, base_url = sys.argv[1:4]
    for module in PRELOAD:
        __import__(module)
    step = STEPS.get(step_name, Step("", with_python, 0, CORES))
    delay = step_name.removeprefix("http-")
    tasks = [f"{base_url}/delay/{delay}/slow/e1?page={number % PAGES + 1}" for number in range(step.tasks)]
    with _pool(way, step.width) as (pool, start_s):
        begun = time.perf_counter()
        done = list(map(step.do, tasks)) if pool is None else pool.map(step.do, tasks, chunksize=1)
        work_s = time.perf_counter() - begun
        memory_mb = (pss_kb(os.getpid()) + Tree(os.getpid()).pss_kb()) * 1024 / 1e6
    if len(done) != step.tasks:
        raise SystemExit("not every task was done")
    print(json.dumps({"work_s": work_s, "start_s": start_s, "memory_mb": memory_mb}))


@contextmanager
def _pool(way: str, width: int) -> Iterator[tuple[Pool | ThreadPool | None, float]]:
    """A pool whose workers are all ready, and the seconds until they were."""
    if way == "sequential":
        yield None, 0.0
        return
    begun = time.perf_counter()
    if way == "threads":
        with ThreadPool(width) as threads:
            yield threads, time.perf_counter() - begun
        return
    if way == "forkserver-again":
        with _processes("forkserver", width):
            begun = time.perf_counter()
    with _processes(way.removesuffix("-again"), width) as processes:
        yield processes, time.perf_counter() - begun


@contextmanager
def _processes(method: str, width: int) -> Iterator[Pool]:
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(PRELOAD)
    all_ready = context.Barrier(width + 1)
    with context.Pool(width, _get_ready, (all_ready,)) as pool:
        all_ready.wait(60)
        yield pool


def _get_ready(all_ready: Barrier) -> None:
    for module in PRELOAD:
        __import__(module)
    all_ready.wait(60)


if __name__ == "__main__":
    main()
