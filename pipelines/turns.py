"""Things that are lent and come back, for callers in the order in which they came."""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import Generic, TypeVar

Thing = TypeVar("Thing")


class Turns(Generic[Thing]):
    """A queue whose callers wait in a line.

    Of a plain queue, who has just put something back often takes it again before another
    thread has woken up: who has much to do would keep all others waiting.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: deque[Thing] = deque()
        self._waiting: deque[queue.SimpleQueue[Thing]] = deque()

    def put(self, thing: Thing) -> None:
        """Hand *thing* to whoever has waited longest, or keep it for the next."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().put(thing)
            else:
                self._free.append(thing)

    def get(self) -> Thing:
        """Take what is free, or wait for it; who is interrupted while waiting leaves the line."""
        with self._lock:
            if self._free:
                return self._free.popleft()
            turn: queue.SimpleQueue[Thing] = queue.SimpleQueue()
            self._waiting.append(turn)
        try:
            return turn.get()
        except BaseException:
            self._leave(turn)
            raise

    def _leave(self, turn: queue.SimpleQueue[Thing]) -> None:
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self.put(turn.get())
