"""What the second processor of this machine is worth: `python -m benchmarks.cores [rounds]`.

Three kinds of work, each by one process alone and by two at once, in turn. Two
processors that share nothing would do twice as much in the same time; where they are
threads of one core, or share its cache and its memory with neighbours, they do less.
It bounds what any program gains over one that uses a single processor. Medians.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from typing import Any

import numpy as np
import pandas as pd

_CONTEXT = multiprocessing.get_context("spawn")
_ROW = {"year": 2013, "month": 1, "dep_time": 517, "carrier": "UA", "tailnum": "N14228", "distance": 1400}
_PAGE = json.dumps([_ROW] * 1_000)


def loop() -> None:
    """Pure Python: no more memory than a few numbers."""
    for number in range(10_000_000):
        number * number


def frames() -> None:
    """What an analyst's script does with pages: JSON to records, records to pandas."""
    pd.concat([pd.DataFrame(json.loads(_PAGE)) for _ in range(300)])


def copies() -> None:
    """Blocks of 256 MB, from memory to memory."""
    block = np.ones(32_000_000)
    for _ in range(10):
        block = block.copy()


WORK: dict[str, Callable[[], None]] = {"a Python loop": loop, "JSON to pandas": frames, "copies of memory": copies}


def main(rounds: int = 5) -> None:
    """Print one line for each kind of work."""
    for name, work in WORK.items():
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for processes, found in seconds.items():
                found.append(_at_once(work, processes))
        one, two = (statistics.median(found) for found in seconds.values())
        print(f"{name}: alone {one:.2f} s, two at once {two:.2f} s each: {2 * one / two:.2f} times one processor")


def _at_once(work: Callable[[], None], processes: int) -> float:
    """Seconds that each of *processes* takes, on average, when all begin together."""
    start, results = _CONTEXT.Barrier(processes), _CONTEXT.SimpleQueue()
    running = [_CONTEXT.Process(target=_timed, args=(work, start, results)) for _ in range(processes)]
    for process in running:
        process.start()
    found: list[float] = [results.get() for _ in running]
    for process in running:
        process.join()
    return sum(found) / processes


def _timed(work: Callable[[], None], start: Barrier, results: Any) -> None:
    start.wait()
    began = time.perf_counter()
    work()
    results.put(time.perf_counter() - began)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
