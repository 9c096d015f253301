"""What one host allows, shared by every thread and source that asks it.

`Limits` is what the YAML says. A `Budget` is the living thing: it hands out
places in flight and tokens of the rate, and holds everybody back after a 429.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, cast

from msgspec import Struct
from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from pipelines.errors import Interrupted, RateLimited
from pipelines.extract.daily import Daily
from pipelines.values import Value

if TYPE_CHECKING:
    from pyrate_limiter import InMemoryBucket

SPANS_S = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""What a rate may be per, in seconds."""
_RATE = rf"^(\d+) ?/ ?({'|'.join(SPANS_S)})$"
_POLL_S = 0.1  # how soon a waiting thread notices that the run was asked to stop
_LONG_WAIT_S = 3600.0  # until somebody leaves
_EPOCH_SINCE = 1_000_000_000  # a reset beyond is a time, below it a number of seconds
_MILLISECONDS_SINCE = 100_000_000_000


class RateLimit(NamedTuple):
    """So many requests in any span of so many seconds."""

    requests: int
    seconds: float


def _as_rate(value: object) -> object:
    match = re.match(_RATE, value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        raise PydanticCustomError("unit", "needs a rate such as 10/s, 600/min or 5000/h")
    return RateLimit(int(match[1]), SPANS_S[match[2]])


def _as_rates(value: object) -> object:
    return tuple(_as_rate(rate) for rate in value) if isinstance(value, list) else (_as_rate(value),)


_RATE_SCHEMA = {"type": "string", "pattern": _RATE, "examples": ["10/s"]}
Rates = Annotated[
    tuple[RateLimit, ...],
    BeforeValidator(_as_rates),
    WithJsonSchema({"anyOf": [_RATE_SCHEMA, {"type": "array", "items": _RATE_SCHEMA}]}),
]


class Limits(Value):
    """How fast a host may be asked, by all resources and threads together."""

    rate: Rates = Field((), description="requests in a span of time, such as 10/s; or a list of such")
    in_flight: int = Field(8, ge=1, le=256, description="requests running at once")
    daily: int | None = Field(
        None, ge=1, description="requests from midnight to midnight UTC, by weight, of all runs together"
    )
    remaining_header: str | None = Field(None, description="response header: requests left in the current span")
    reset_header: str | None = Field(
        None, description="response header: when the span ends (a time, a date, or seconds from now)"
    )


class Place(Struct):
    """A place in flight: how long it took to get, and whether the host welcomed the request.

    `paused_s` of that time passed while the host had asked for a pause.
    """

    waited_s: float
    paused_s: float = 0.0
    probe: bool = False
    welcome: bool = True


class Budget:
    """Places in flight and tokens of the rate for one origin; after a pause one request probes first.

    `allowed` is how many may be in flight now: fewer than configured after the host has asked for patience.
    """

    def __init__(
        self, limits: Limits, clock: Callable[[], float] = time.monotonic, *, daily: Daily | None = None
    ) -> None:
        """*daily* counts the requests of the day."""
        self._changed = threading.Condition()
        self._daily = daily
        self._clock = clock
        self._in_flight = limits.in_flight
        self.allowed = limits.in_flight
        self._welcomed = 0
        self._running = 0
        self._left = limits.in_flight
        self._resume_at = 0.0
        self._gated = False
        self._probing = False
        self._buckets = _buckets(limits)

    def tighten(self, limits: Limits, daily: Daily | None) -> None:
        """Another source asks the same host: the stricter of both holds for all."""
        with self._changed:
            self._in_flight = min(self._in_flight, limits.in_flight)
            self.allowed = min(self.allowed, self._in_flight)
            self._buckets += _buckets(limits)
            if daily and (self._daily is None or daily.limit < self._daily.limit):
                self._daily = daily

    @contextmanager
    def place(self, weight: int, stop: threading.Event) -> Iterator[Place]:
        """Wait for permission to send one request, and hold a place in flight while it runs.

        Raises:
            Interrupted: *stop* was set while waiting.
            RateLimited: The requests of today are used up, or the limits never allow so much *weight*.
        """
        asked = since = self._clock()
        paused_s = 0.0
        with self._changed:
            while (wait := self._wait_s(weight)) > 0:
                if stop.is_set():
                    raise Interrupted("the run was asked to stop", "run again to resume")
                self._changed.wait(min(wait, _POLL_S))
                before, since = since, self._clock()
                paused_s += since - before if before < self._resume_at else 0.0
            self._running += 1
            place = Place(self._clock() - asked, paused_s, probe=self._gated)
            self._probing = self._probing or self._gated
        try:
            yield place
        finally:
            self._leave(place)

    def pause(self, seconds: float) -> None:
        """Send nothing to this host for *seconds*; then one request tries, the others follow its success.

        Half as many as before may then be in flight; each round of successes allows one more.
        """
        with self._changed:
            if not self._gated:
                self.allowed = max(self.allowed // 2, 1)
                self._welcomed = 0
            self._resume_at = max(self._resume_at, self._clock() + seconds)
            self._gated = True

    def learn(self, limits: Limits, headers: Mapping[str, str], now: float) -> None:
        """Send no more at once than the API says remain; where none does, pause until the reset. *now* is the epoch."""
        remaining = headers.get((limits.remaining_header or "").lower(), "").strip()
        if not remaining.isdigit():
            return
        with self._changed:
            self._left = max(int(remaining), 1)  # one shows whether more are allowed by now
            self._changed.notify_all()
        reset = headers.get((limits.reset_header or "").lower(), "").strip()
        if int(remaining) == 0 and (seconds := _seconds_until(reset, now)) is not None:
            self.pause(max(seconds, 0.0))

    def _wait_s(self, weight: int) -> float:
        """Seconds until it is worth looking again; 0 grants the place and takes its tokens."""
        now = self._clock()
        if now < self._resume_at:
            return self._resume_at - now
        if self._running >= min(self.allowed, self._left) or (self._gated and self._probing):
            return _LONG_WAIT_S
        wait = self._rate_wait_s(now, weight)
        if wait == 0 and self._daily:
            self._daily.take(weight)
        return wait

    def _rate_wait_s(self, now: float, weight: int) -> float:
        if not self._buckets:
            return 0.0
        from pyrate_limiter import RateItem

        for number, bucket in enumerate(self._buckets):
            item = RateItem("request", int(now * 1000), weight=weight)
            if not bucket.put(item):
                wait_ms = cast("int", bucket.waiting(item))
                for taken in self._buckets[:number]:
                    del taken.items[-weight:]
                if wait_ms < 0:  # never: the limits of another source with this host count as well
                    raise RateLimited(
                        f"one request counts as {weight}, more than the limits of its host allow in their span",
                        "lower `weight`, or raise `limits: {rate: ...}` in every source with this `base_url`",
                    )
                return max(wait_ms, 1) / 1000
            bucket.leak(item.timestamp)
        return 0.0

    def _leave(self, place: Place) -> None:
        with self._changed:
            self._running -= 1
            self._welcomed += place.welcome and self.allowed < self._in_flight
            if self._welcomed > self.allowed:
                self.allowed, self._welcomed = self.allowed + 1, 0
            if place.probe:
                self._probing = False
                self._gated = self._gated and not place.welcome
            self._changed.notify_all()


class Budgets:
    """The budgets of all hosts of a run, by configured origin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_origin: dict[str, Budget] = {}

    def of(self, origin: str, limits: Limits, counts: Path | None = None) -> Budget:
        """The one budget of *origin*; every source that asks adds its limits. *counts* is where days are counted."""
        daily = Daily(origin, limits.daily, counts) if limits.daily else None
        with self._lock:
            if origin in self._by_origin:
                self._by_origin[origin].tighten(limits, daily)
            else:
                self._by_origin[origin] = Budget(limits, daily=daily)
            return self._by_origin[origin]


def _seconds_until(reset: str, now: float) -> float | None:
    """Seconds until *reset*: so many from now, an epoch, or a date; None where it is none."""
    if re.fullmatch(r"\d+(\.\d+)?", reset):
        number = float(reset)
        number = number / 1000 if number > _MILLISECONDS_SINCE else number
        return number - now if number > _EPOCH_SINCE else number
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        with suppress(ValueError):
            moment = read(reset)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return None


def _buckets(limits: Limits) -> list[InMemoryBucket]:
    if not limits.rate:
        return []
    # asyncio comes with it: 50 ms that sources without a rate need not wait for
    from pyrate_limiter import InMemoryBucket, Rate

    return [InMemoryBucket([Rate(rate.requests, int(rate.seconds * 1000))]) for rate in limits.rate]
