"""How long an answer of a real API takes: mostly about the median, now and then much longer."""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

DEFAULT_LATENCY = "35ms"
_SPREAD = 0.3
"""Sigma of the logarithm: nine of ten answers take between 0.6 and 1.6 times the median."""


def seconds(text: str) -> float:
    """Seconds in `80ms` or `1.5s`."""
    # not pipelines.values: its models would double the time that the program takes to start
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} needs a number with its unit, such as 80ms")
    return float(match[1]) / (1000 if match[2] == "ms" else 1)


class Latency:
    """Wait before each answer; lognormal around *median_s*, none with 0."""

    def __init__(self, app: ASGIApp, *, median_s: float, seed: int = 0) -> None:
        self.app = app
        self.median_s = median_s
        self.random = random.Random(seed)  # noqa: S311 - no secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then pass on."""
        if self.median_s:
            await asyncio.sleep(self.random.lognormvariate(math.log(self.median_s), _SPREAD))
        await self.app(scope, receive, send)
