"""Processes as /proc tells them: whose children they are, and whether they are gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path


def eventually(condition: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Wait until *condition* holds; an AssertionError if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """All processes below *pid*, near and far, that are running now."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(stat)
        if fields:
            parents[int(stat.parent.name)] = int(fields[1])
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        below = [one for one, above in parents.items() if above == parent]
        found += below
        waiting += below
    return found


def in_session(session: int) -> list[int]:
    """All processes of *session*, the number of its first process, that are running now."""
    stats = ((int(path.parent.name), _stat(path)) for path in Path("/proc").glob("[0-9]*/stat"))
    return [pid for pid, fields in stats if fields and fields[3] == str(session) and fields[0] not in "ZX"]


def alive(pids: Iterable[int]) -> list[int]:
    """Those of *pids* that still run; a zombie does not."""
    return [pid for pid in pids if (fields := _stat(Path(f"/proc/{pid}/stat"))) and fields[0] not in "ZX"]


def ended(pids: Iterable[int], *, within_s: float) -> bool:
    """Whether all of *pids* end in time."""
    deadline = time.monotonic() + within_s
    while alive(pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def kill(pids: Iterable[int]) -> None:
    """SIGKILL for those of *pids* that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _stat(path: Path) -> list[str]:
    """State, parent, group, session and so on of a process; nothing if it is gone."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []
