"""Steps waiting for a thread, taken from each resource in turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

Step = TypeVar("Step")


class Turn(Struct, Generic[Step], frozen=True):
    """What a thread does next."""

    resource: str
    step: Step


class Lanes(Generic[Step]):
    """A queue for each resource; a resource with ten thousand steps delays one with a single step by one turn."""

    def __init__(self, on_short: Callable[[int], None] = lambda steps: None) -> None:
        """*on_short* is told how many steps wait for which no thread is idle."""
        self._on_short = on_short
        self._idle = 0
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Step]] = {}
        self._closed = False

    def add(self, resource: str, *steps: Step) -> None:
        """Queue *steps* behind those of the same resource."""
        if steps:
            self._queue(resource, steps, len(steps))

    def follow(self, resource: str, *steps: Step) -> None:
        """Queue what follows from a step that is done: the thread that did it takes one itself, nobody else need wake.

        Call it last in a step: nothing may come between it and the next `take`.
        """
        if steps:
            self._queue(resource, steps, len(steps) - 1)

    def look(self) -> None:
        """Tell how many steps wait that no idle thread will take, if there are any."""
        with self._changed:
            short = self._short()
        if short > 0:
            self._on_short(short)

    def _queue(self, resource: str, steps: Sequence[Step], others: int) -> None:
        """Queue *steps*, so many of which are for other threads than this one."""
        with self._changed:
            self._waiting.setdefault(resource, deque()).extend(steps)
            self._changed.notify(others)
            short = min(self._short(), others)
        if short > 0:
            self._on_short(short)

    def _short(self) -> int:
        return sum(map(len, self._waiting.values())) - self._idle

    def take(self) -> Turn[Step] | None:
        """The next step, waiting for one; None once the lanes are closed."""
        with self._changed:
            while not self._closed:
                if self._waiting:
                    return self._next()
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            return None

    def drop(self, resource: str) -> int:
        """Forget the waiting steps of *resource*; how many there were."""
        with self._changed:
            return len(self._waiting.pop(resource, ()))

    def close(self) -> None:
        """Let all waiting threads go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> Turn[Step]:
        resource, steps = next(iter(self._waiting.items()))
        del self._waiting[resource]
        step = steps.popleft()
        if steps:
            self._waiting[resource] = steps
        return Turn(resource, step)
