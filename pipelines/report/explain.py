"""Where the time of a run went: waiting or computing, for each resource and stage.

Everything is computed from the saved report. Thread-seconds are wall time summed
over threads: four threads that wait one second each have waited four.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from pipelines.marts.model import MARTS
from pipelines.report.runs import Document, resources_of

Verdict = Literal["idle", "throttled", "limited", "I/O-bound", "CPU-bound", "contended", "starved"]
IDLE: Verdict = "idle"
THROTTLED: Verdict = "throttled"
"""The API held it back."""
LIMITED: Verdict = "limited"
"""The limits that the source is configured with held it back."""
IO: Verdict = "I/O-bound"
CPU: Verdict = "CPU-bound"
CONTENDED: Verdict = "contended"
"""Workers had work, but waited for disk or for a processor."""
STARVED: Verdict = "starved"
"""Workers had no work: pages came too slowly."""
_NOTHING_S = 0.05
_LITTLE_USE = 0.4
_FETCH = ("answered", "waited", "paused", "throttled", "retried", "blocked")
_NO_TOTAL: Mapping[str, float] = {"count": 0, "seconds": 0.0, "size": 0, "cpu_s": 0.0, "first": 0.0, "last": 0.0}


class Work(Struct, frozen=True):
    """What was done for one resource or mart, in seconds.

    Of the threads that fetch: *network_s* waiting for answers, *turn_s* for a
    place among the requests that are allowed, *pause_s* because the API said so or
    an attempt failed, *blocked_s* because workers were behind, *fetch_cpu_s*
    computing. Of the workers: *mill_s*, of which *mill_cpu_s* computing.
    """

    name: str
    requests: int = 0
    pauses: int = 0
    network_s: float = 0.0
    turn_s: float = 0.0
    pause_s: float = 0.0
    throttled_s: float = 0.0
    blocked_s: float = 0.0
    fetch_cpu_s: float = 0.0
    fetch_wall_s: float = 0.0
    fetched_at: float = 0.0
    batches: int = 0
    mill_s: float = 0.0
    mill_cpu_s: float = 0.0
    mill_wall_s: float = 0.0
    milled_at: float = 0.0
    merge_s: float = 0.0
    merged_at: float = 0.0
    rows: int = 0
    size_bytes: int = 0

    @property
    def is_mart(self) -> bool:
        """Whether it is made from datasets, not fetched."""
        return self.name.startswith(f"{MARTS}.")

    @property
    def fetch_s(self) -> float:
        """Thread-seconds that fetching took."""
        return self.network_s + self.turn_s + self.pause_s + self.blocked_s + self.fetch_cpu_s

    @property
    def wall_s(self) -> float:
        """From its first request to the end of its merge."""
        return max(self.merged_at, self.milled_at, self.fetched_at) - self._began

    @property
    def _began(self) -> float:
        began = [self.fetched_at - self.fetch_wall_s] if self.fetched_at else []
        began += [self.milled_at - self.mill_wall_s] if self.milled_at else []
        return min([*began, *([self.merged_at - self.merge_s] if self.merged_at else [])], default=0.0)

    @property
    def verdict(self) -> Verdict:
        """What held it up most."""
        if self.wall_s < _NOTHING_S:
            return IDLE
        waiting = {IO: self.network_s, LIMITED: self.turn_s, THROTTLED: self.pause_s}
        if self.throttled_s and self.turn_s + self.pause_s > self.network_s:
            return THROTTLED
        most = max(waiting, key=lambda name: waiting[name])
        behind = self.milled_at - self.fetched_at if self.milled_at and self.fetched_at else 0.0
        if self.mill_s + self.merge_s + self.blocked_s > sum(waiting.values()) or behind > self.fetch_wall_s > 0:
            computes = self.mill_cpu_s + self.fetch_cpu_s > (self.mill_s + self.merge_s) / 2
            return CPU if computes else CONTENDED
        return most


class Stage(Struct, frozen=True):
    """One stage of the run: how long it lasted, over how many threads or processes, and what they did."""

    name: str
    wall_s: float
    lanes: int
    busy_s: float
    cpu_s: float
    held_s: float = 0.0
    throttled_s: float = 0.0

    @property
    def use(self) -> float:
        """The share of its lanes' time that was spent in calls, 0 to 1."""
        return min(self.busy_s / (self.wall_s * self.lanes), 1.0) if self.wall_s and self.lanes else 0.0

    @property
    def verdict(self) -> Verdict:
        """What its lanes did most."""
        if self.wall_s < _NOTHING_S:
            return IDLE
        if self.held_s > self.busy_s / 2:
            return THROTTLED if self.throttled_s else LIMITED
        if self.name == "fetch":
            return IO if self.cpu_s < self.busy_s / 2 else CPU
        if self.name in {"merge", "commit"}:
            return IO
        if self.use < _LITTLE_USE:
            return STARVED
        return CPU if self.cpu_s > self.busy_s / 2 else CONTENDED


def works(run: Document) -> list[Work]:
    """What was done for each resource and mart of *run*, in the report's order."""
    totals = run.get("timeline", {}).get("totals", {})
    return [_work(one["name"], totals.get(one["name"], {})) for one in resources_of(run)]


def stages(run: Document) -> list[Stage]:
    """The stages of *run*: fetch, mill, merge, commit and marts."""
    found, machine = works(run), run["machine"]
    sources, marts = [one for one in found if not one.is_mart], [one for one in found if one.is_mart]
    totals = run.get("timeline", {}).get("totals", {})
    commits = [kinds["committed"] for name, kinds in totals.items() if "committed" in kinds and name != MARTS]
    workers, threads = int(machine["workers"]), machine.get("threads", {})
    fetch = [(one.fetched_at - one.fetch_wall_s, one.fetched_at) for one in sources if one.fetched_at]
    mill = [(one.milled_at - one.mill_wall_s, one.milled_at) for one in sources if one.milled_at]
    merge = [(one.merged_at - one.merge_s, one.merged_at) for one in sources if one.merged_at]
    made = [(one.milled_at - one.mill_wall_s, one.merged_at) for one in marts if one.milled_at]
    commit_s = sum(one["seconds"] for one in commits)
    held_s = _sum(sources, "turn_s") + _sum(sources, "pause_s")
    fetching = _sum(sources, "fetch_s"), _sum(sources, "fetch_cpu_s"), held_s, _sum(sources, "throttled_s")
    return [
        Stage("fetch", _union(fetch), sum(threads.values()), *fetching),
        Stage("mill", _union(mill), workers, _sum(sources, "mill_s"), _sum(sources, "mill_cpu_s")),
        Stage("merge", _union(merge), max(len(threads), 1), _sum(sources, "merge_s"), 0.0),
        Stage("commit", _union([(one["first"], one["last"]) for one in commits]), max(len(commits), 1), commit_s, 0.0),
        Stage(
            "marts", _union(made), workers, _sum(marts, "mill_s") + _sum(marts, "merge_s"), _sum(marts, "mill_cpu_s")
        ),
    ]


def _work(name: str, kinds: Mapping[str, Any]) -> Work:
    of = {kind: kinds.get(kind, _NO_TOTAL) for kind in _FETCH}
    batch, merged = kinds.get("batch", _NO_TOTAL), kinds.get("merged", _NO_TOTAL)
    steps = [total for kind, total in kinds.items() if kind in {*of, "spooled", "from_spool"}]
    first = min((total["first"] for total in steps), default=0.0)
    last = max((total["last"] for total in steps), default=0.0)
    return Work(
        name,
        requests=of["answered"]["count"],
        pauses=of["throttled"]["count"] + of["retried"]["count"],
        network_s=of["answered"]["seconds"],
        turn_s=of["waited"]["seconds"],
        pause_s=of["paused"]["seconds"] + of["retried"]["seconds"],
        throttled_s=of["paused"]["seconds"],
        blocked_s=of["blocked"]["seconds"],
        fetch_cpu_s=sum(total["cpu_s"] for kind, total in kinds.items() if kind != "batch"),
        fetch_wall_s=last - first,
        fetched_at=last,
        batches=batch["count"],
        mill_s=batch["seconds"],
        mill_cpu_s=batch["cpu_s"],
        mill_wall_s=batch["last"] - batch["first"],
        milled_at=batch["last"],
        merge_s=merged["seconds"],
        merged_at=merged["last"],
        rows=batch["size"],
        size_bytes=of["answered"]["size"],
    )


def _sum(found: list[Work], name: str) -> float:
    return float(sum(getattr(one, name) for one in found))


def _union(spans: list[tuple[float, float]]) -> float:
    """How much time at least one of *spans* covers."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return covered
