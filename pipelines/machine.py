"""What this process may use of the machine it runs on: processors and memory, containers' limits included."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

WORKER_BYTES = 200_000_000
"""What a worker process takes while it mills, measured with the default `batch_size`."""
_GROUP = Path("/sys/fs/cgroup")


def processors(group: Path = _GROUP) -> int:
    """How many processors this process may use; a quota such as Docker's `--cpus 1.5` counts as two."""
    # macOS has no such function
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = (group / "cpu.max").read_text().split()
        usable = min(usable, max(-(-int(quota) // int(period)), 1))
    return usable


def available_memory(group: Path = _GROUP, meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that this process may still take, of the machine and of its control group; None where nothing tells."""
    free = None
    with suppress(OSError, ValueError, StopIteration):
        line = next(one for one in meminfo.read_text().splitlines() if one.startswith("MemAvailable"))
        free = int(line.split()[1]) * 1024
    with suppress(OSError, ValueError):
        left = int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        free = min(free, left) if free is not None else left
    return free


def automatic_workers(usable: int, free: int | None) -> int:
    """One worker for each of *usable* processors, but no more than *free* memory holds; at least one."""
    room = usable if free is None else free // WORKER_BYTES
    return max(min(usable, room), 1)
