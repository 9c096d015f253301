"""What goes wrong with a request, decided by a seed and not by the order of arrival.

The same seed gives the same faults to the same requests, however many threads
ask. No request goes wrong more than twice in a row, so that a client which
repeats three times always comes through.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Literal, get_args

Fault = Literal["429", "429 with Retry-After", "500", "503", "cut connection", "truncated body", "slow answer"]
KINDS: tuple[Fault, ...] = get_args(Fault)
MOST_IN_A_ROW = 2


class Faults:
    """Which attempt of which request goes wrong, and how."""

    def __init__(self, rate: float, *, seed: int = 0) -> None:
        self.rate = rate
        self.seed = seed
        self._attempts: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()

    def next(self, request: str) -> Fault | None:
        """The fault of the next attempt of *request* (method, origin, path and query), or None."""
        self._attempts[request] += 1
        chance = random.Random(f"{self.seed} {self._attempts[request]} {request}")  # noqa: S311 - no secret
        if chance.random() >= self.rate or self._in_a_row[request] >= MOST_IN_A_ROW:
            self._in_a_row[request] = 0
            return None
        self._in_a_row[request] += 1
        return chance.choice(KINDS)
