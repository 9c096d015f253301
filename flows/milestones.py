"""How far each stage of a run is: the engine's events in, one milestone for each stage out.

The engine runs in threads of its own and tells what happens; tasks of the flow
wait here until their stage has ended. Nothing here imports Prefect.
"""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Literal, get_args

from msgspec import Struct, field

from pipelines.extract.events import Event
from pipelines.marts.model import MARTS
from pipelines.report.result import Problem, ResourceReport, RunReport, Verdict

StageKind = Literal["extract", "mill", "commit", "mart"]
Counts = dict[str, int | str]
_WAKE_S = 0.2
_STOPPED = Problem("Interrupted", "the run was stopped", "run again: it resumes from the pages already fetched", 130)


class Stage(Struct, frozen=True):
    """One stage of one resource (`extract usgs.events`), or a mart (`mart city_day`, `commit marts.city_day`)."""

    kind: StageKind
    name: str


class Milestone(Struct, frozen=True):
    """How a stage ended: its counts, and what went wrong; *skipped* says why nothing was done."""

    counts: Counts = field(default_factory=dict)
    problem: Problem | None = None
    skipped: str = ""


class Milestones:
    """What the engine told so far; `listen` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[Stage, Future[Milestone]] = {}
        self._counts: dict[Stage, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._started: queue.SimpleQueue[Stage | None] = queue.SimpleQueue()
        self._closed = False

    def stages(self, heed: Callable[[], None] = lambda: None) -> Iterator[Stage]:
        """Each stage as it starts, until the run has ended; *heed* is called now and then meanwhile, and may raise."""
        while (stage := self._next(heed)) is not None:
            yield stage

    def wait(self, stage: Stage) -> Milestone:
        """How *stage* ended, as soon as it has."""
        return self._ends[stage].result()

    def listen(self, source: str, event: Event) -> None:
        """Take one event of one source into account."""
        with self._lock:
            if self._closed:
                return
            if source == MARTS:
                self._mart(event)
            elif event.resource:
                self._resource(source, event)
            if event.kind == "committed":
                for stage in self._committing(source):
                    self._end(stage, Milestone({"commit": event.size}))

    def close(self, report: RunReport | None) -> None:
        """End what is still open as *report* says; without one, as stopped."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for source in report.sources if report else ():
                for resource in source.resources:
                    self._conclude(resource)
                if source.problem:
                    for stage in self._committing(source.source) or [Stage("commit", source.source)]:
                        self._end(stage, Milestone(problem=source.problem))
            for end in self._ends.values():
                if not end.done():
                    end.set_result(Milestone(problem=_STOPPED))
        self._started.put(None)

    @property
    def ended(self) -> int:
        """How many stages have ended."""
        with self._lock:
            return sum(end.done() for end in self._ends.values())

    @property
    def totals(self) -> Mapping[str, int]:
        """What all stages have counted so far, by the names of their counts."""
        found: dict[str, int] = defaultdict(int)
        with self._lock:
            for counts in self._counts.values():
                for name, value in counts.items():
                    found[name] += value
        return found

    def _committing(self, source: str) -> list[Stage]:
        """The datasets of *source* that are ready and wait for its commit."""
        waiting = (stage for stage, end in self._ends.items() if not end.done())
        return [stage for stage in waiting if stage.kind == "commit" and stage.name.startswith(f"{source}.")]

    def _next(self, heed: Callable[[], None]) -> Stage | None:
        while True:
            heed()
            # the system may hand a signal to any thread; the main thread must wake up to see that one came
            with suppress(queue.Empty):
                return self._started.get(timeout=_WAKE_S)

    def _resource(self, source: str, event: Event) -> None:
        name = f"{source}.{event.resource}"
        extract, mill = Stage("extract", name), Stage("mill", name)
        self._start(extract)
        match event.kind:
            case "answered" | "retried":
                self._counts[extract]["requests" if event.kind == "answered" else "retries"] += 1
            case "spooled" | "from_spool":
                self._counts[extract]["pages"] += 1
                self._counts[extract]["bytes"] += event.size
                self._start(mill)
            case "batch":
                self._counts[mill]["batches"] += 1
                self._counts[mill]["rows_read"] += event.size
            case "finished" if event.note in get_args(Verdict):
                self._end(extract, Milestone({**self._counts[extract], "verdict": event.note}))
            case "settled" if event.note != "failed":
                self._end(mill, Milestone({**self._counts[mill], "rows_written": event.size}))
                self._start(Stage("commit", name))

    def _mart(self, event: Event) -> None:
        stage = Stage("mart", event.resource)
        if event.kind == "committed":
            return
        self._start(stage)
        if event.kind == "settled" and event.note == "skipped":
            self._end(stage, Milestone(skipped="what it is made from has no rows yet"))
        elif event.kind == "settled" and event.note != "failed":
            self._end(stage, Milestone({"rows_written": event.size}))
            self._start(Stage("commit", f"{MARTS}.{event.resource}"))

    def _conclude(self, resource: ResourceReport) -> None:
        """A failed resource: the stage that is open failed; its reason is known only now."""
        if resource.problem is None:
            return
        if resource.source == MARTS:
            self._end(Stage("mart", resource.resource), Milestone(problem=resource.problem))
            return
        extract, mill = Stage("extract", resource.name), Stage("mill", resource.name)
        if (end := self._ends.get(extract)) and end.done():
            self._end(mill, Milestone(self._some(mill), resource.problem))
            return
        self._end(extract, Milestone(self._some(extract), resource.problem))
        if mill in self._ends:
            self._end(mill, Milestone(skipped="extraction failed, so nothing of the resource is written"))

    def _some(self, stage: Stage) -> Counts:
        return {**self._counts[stage]}

    def _start(self, stage: Stage) -> None:
        if stage not in self._ends:
            self._ends[stage] = Future()
            self._started.put(stage)

    def _end(self, stage: Stage, milestone: Milestone) -> None:
        self._start(stage)
        if not self._ends[stage].done():
            self._ends[stage].set_result(milestone)
