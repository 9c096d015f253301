"""What every thread and process of a run did, and when; kept small however long the run.

`Timeline.listen` hears the run's events. Totals are exact. Spans are exact too
until there are too many; then those of one thread, kind and resource that lie in
one cell of time become one, and cells grow until all fit.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from pipelines.extract.events import Event, EventKind

MAX_SPANS = 4_000
_FOLD_AT = 2_048
_FIRST_CELLS = 2_048
_FETCH: frozenset[EventKind] = frozenset({"answered", "waited", "paused", "retried", "blocked"})
_PARENT: frozenset[EventKind] = frozenset({"merged", "committed"})
_AFTER_WORK: frozenset[EventKind] = frozenset({"spooled", "from_spool", "retried", "throttled"})
"""Kinds that end a step of a thread that fetches: only then its CPU time is looked up, which is a system call."""


class Total(Struct):
    """All events of one kind of one resource; *first* and *last* in seconds since the run began."""

    count: int = 0
    seconds: float = 0.0
    size: int = 0
    cpu_s: float = 0.0
    first: float = float("inf")
    last: float = 0.0

    def add(self, event: Event, start: float, end: float, cpu_s: float) -> None:
        """Count one more event."""
        self.count += 1
        self.seconds += end - start
        self.size += event.size
        self.cpu_s += cpu_s
        if start < self.first:  # noqa: PLR1730  # min() takes three times as long, and this is done for each request
            self.first = start
        if end > self.last:  # noqa: PLR1730  # the same
            self.last = end


class Span(Struct):
    """A stretch of time in one lane; after folding *count* events share it, busy for *busy_s* of it."""

    lane: str
    kind: str
    name: str
    start: float
    end: float
    busy_s: float
    count: int = 1
    size: int = 0

    def join(self, other: Span) -> None:
        """Take in *other*, of the same lane, kind and name."""
        self.start, self.end = min(self.start, other.start), max(self.end, other.end)
        self.busy_s += other.busy_s
        self.count += other.count
        self.size += other.size


_Heard = tuple[str, Event, threading.Thread, float]


class Timeline(Struct):
    """Listens to a run that began at *began* on the monotonic clock; call `listen` from any thread."""

    began: float = field(default_factory=time.monotonic)
    max_spans: int = MAX_SPANS
    spans: list[Span] = field(default_factory=list)
    cell_s: float = 0.0
    """How long the cells are that spans were folded into; 0 while every event has its own."""
    _known: dict[tuple[str, str, str], tuple[str, Total]] = field(default_factory=dict)
    _heard: deque[_Heard] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _cpu: dict[threading.Thread, float] = field(default_factory=dict)
    _workers: dict[str, str] = field(default_factory=dict)

    def listen(self, source: str, event: Event) -> None:
        """Hear one event of *source*; what a thread computed since its last page counts for its resource."""
        cpu_s = time.thread_time() if event.kind in _AFTER_WORK else 0.0
        self._heard.append((source, event, threading.current_thread(), cpu_s))
        if len(self._heard) >= _FOLD_AT:
            self._take_in()

    def threads(self) -> dict[str, int]:
        """How many threads fetched from each source."""
        self._take_in()
        return dict(Counter(thread.name.removeprefix("fetch-").rpartition("-")[0] for thread in self._cpu))

    def to_json(self) -> dict[str, Any]:
        """Totals by resource and kind, and the spans as rows of numbers that point into lists of names."""
        self._take_in()
        lanes, kinds, names = (
            sorted({getattr(span, what) for span in self.spans}) for what in ("lane", "kind", "name")
        )
        place = [{text: number for number, text in enumerate(texts)} for texts in (lanes, kinds, names)]
        totals: dict[str, dict[str, Any]] = {}
        for (_, _, kind), (name, total) in sorted(self._known.items(), key=lambda item: item[0]):
            totals.setdefault(name, {})[kind] = _rounded(total)
        return {
            "totals": totals,
            "cell_s": self.cell_s,
            "lanes": lanes,
            "kinds": kinds,
            "names": names,
            "spans": [
                [place[0][one.lane], place[1][one.kind], place[2][one.name], round(one.start, 4), round(one.end, 4),
                 round(one.busy_s, 4), one.count, one.size]
                for one in sorted(self.spans, key=lambda span: span.start)
            ],
        }  # fmt: skip

    def _take_in(self) -> None:
        with self._lock:
            while self._heard:
                self._add(*self._heard.popleft())
            if len(self.spans) > self.max_spans:
                self._fold()

    def _add(self, source: str, event: Event, thread: threading.Thread, cpu_s: float) -> None:
        kind = event.kind
        seconds = 0.0 if kind == "throttled" else event.seconds  # its pause is told when it is over, as `paused`
        known = self._known.get((source, event.resource, kind))
        name, total = known or self._new(source, event)
        spent = event.cpu_s
        if cpu_s and thread.name.startswith("fetch-"):
            spent += cpu_s - self._cpu.get(thread, 0.0)
            self._cpu[thread] = cpu_s
        start = event.at - self.began - (0.0 if kind == "retried" else seconds)  # told before the thread waits
        end = start + seconds
        total.add(event, start, end, spent)
        if lane := thread.name if kind in _FETCH else self._lane(source, event):
            self.spans.append(Span(lane, kind, name, start, end, seconds, 1, event.size))

    def _new(self, source: str, event: Event) -> tuple[str, Total]:
        name = f"{source}.{event.resource}" if event.resource else source
        known = self._known[source, event.resource, event.kind] = (name, Total())
        return known

    def _lane(self, source: str, event: Event) -> str:
        """Where the span of an event is drawn that no fetching thread told; empty for what takes no time."""
        if event.kind == "batch":
            return self._workers.setdefault(event.note, f"worker {len(self._workers) + 1}")
        return f"commit-{source}" if event.kind in _PARENT else ""

    def _fold(self) -> None:
        """Join spans until half of the room is free again, or one cell holds everything."""
        until = max(span.end for span in self.spans)
        self.cell_s = self.cell_s or until / _FIRST_CELLS
        self.spans = _joined(self.spans, self.cell_s)
        while len(self.spans) > self.max_spans // 2 and self.cell_s < until:
            self.cell_s *= 2
            self.spans = _joined(self.spans, self.cell_s)


def _joined(spans: list[Span], cell_s: float) -> list[Span]:
    cells: dict[tuple[str, str, str, int], Span] = {}
    for span in spans:
        key = (span.lane, span.kind, span.name, int((span.start + span.end) / 2 / cell_s))
        cell = cells.setdefault(key, span)
        if cell is not span:
            cell.join(span)
    return list(cells.values())


def _rounded(total: Total) -> dict[str, float | int]:
    return {
        "count": total.count,
        "seconds": round(total.seconds, 4),
        "size": total.size,
        "cpu_s": round(total.cpu_s, 4),
        "first": round(total.first, 4),
        "last": round(total.last, 4),
    }


def spans_of(timeline: Mapping[str, Any]) -> list[Span]:
    """The spans of what `Timeline.to_json` wrote."""
    lanes, kinds, names = timeline["lanes"], timeline["kinds"], timeline["names"]
    return [Span(lanes[lane], kinds[kind], names[name], *rest) for lane, kind, name, *rest in timeline["spans"]]
