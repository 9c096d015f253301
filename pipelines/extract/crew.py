"""Threads that fetch: they come when steps wait, as long as one more would wait and not compute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from msgspec import Struct

AT_ONCE = 8
"""So many come in any case, as far as memory allows."""
_BUSY = 0.8
"""Threads of one process compute on one processor: beyond this share of it, one more only takes turns."""
_WINDOW_S = 0.05


class Size(Struct, frozen=True):
    """How many threads a crew may have.

    `most` is how many requests may run at once, or what the settings say;
    `memory` the bytes that the pages in the hands of all threads may take.
    """

    most: int
    is_fixed: bool = False
    memory: int = 256_000_000


class Crew:
    """The threads of one source, once it is open. Each runs *serve* until it returns."""

    def __init__(self, serve: Callable[[], None], size: Size, name: str) -> None:
        self._serve, self._size, self._name = serve, size, name
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._largest = 0
        self._is_open = False
        self._looked, self._share = (0.0, 0.0), 0.0

    def wanted(self, steps: int) -> None:
        """There are *steps* that wait and that no idle thread will take: let more threads come if it helps."""
        with self._lock:
            for _ in range(steps):
                if not self._is_open or len(self._threads) >= self._size.most or not self._helps():
                    return
                thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def has_page(self, size: int) -> None:
        """A page of *size* bytes has come: so much may be in the hands of each."""
        self._largest = max(self._largest, size)

    def open(self) -> None:
        """From now on threads may come."""
        self._looked = (time.monotonic(), 0.0)
        self._is_open = True

    def close(self) -> None:
        """Let no more come."""
        with self._lock:
            self._is_open = False

    def join(self) -> None:
        """Wait until all have returned; close it first, and let go what they wait for."""
        for thread in self._threads:
            thread.join()

    def _helps(self) -> bool:
        count = len(self._threads)
        if self._size.is_fixed or not count:
            return True
        if (count + 1) * self._largest > self._size.memory:
            return False
        if count < AT_ONCE:
            return True
        return self._computing() < _BUSY

    def _computing(self) -> float:
        """The share of a processor that the threads took lately; none at first, as nothing is known."""
        now = time.monotonic()
        before, had = self._looked
        if now - before >= _WINDOW_S:
            used = sum(map(_cpu_s, self._threads))
            self._looked, self._share = (now, used), (used - had) / (now - before)
        return self._share


def _cpu_s(thread: threading.Thread) -> float:
    if thread.ident is None or not thread.is_alive():
        return 0.0
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    except OSError:
        return 0.0  # it has just ended
