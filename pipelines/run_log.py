"""What the log says of a run: a page at DEBUG, a resource at INFO, a retry at WARNING, a failure at ERROR."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from pipelines.extract.events import Event
from pipelines.report.result import Problem, RunReport

log = logging.getLogger("pipelines.run")

_OFTEN_S = 10.0
"""Retries of one kind are told once in so long, with how many there were; so is progress."""
_EACH = {
    "answered": "request answered",
    "spooled": "page fetched",
    "from_spool": "page resumed",
    "batch": "batch milled",
    "merged": "parts merged",
}
_SIZES = {"answered": "wire_bytes", "spooled": "bytes", "from_spool": "bytes", "batch": "rows"}
_SHOWN = ("request throttled", "request is repeated", "resource failed", "warning")
"""What progress or the table of a run says as well."""
_NOTES = {"answered": "status", "batch": "worker"}


class Watcher(Protocol):
    """Who is told of a run from its beginning to its end."""

    def began(self, sources: Sequence[str], workers: int) -> None:
        """The run has begun."""

    def listen(self, source: str, event: Event) -> None:
        """Something happened in *source*; called from any thread."""

    def ended(self, report: RunReport) -> None:
        """The run has ended; its report is saved."""


class RunLog:
    """Listens to one run; call `listen` from any thread. Each record has its `sources`: runs may be side by side."""

    def __init__(self, run_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run_id, clock
        self._sources: tuple[str, ...] = ()
        self._requests = log.isEnabledFor(logging.DEBUG)
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str, str], float] = {}
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def began(self, sources: Sequence[str], workers: int) -> None:
        """The run has begun."""
        self._sources = tuple(sources)
        self._tell(logging.INFO, "run began", {"sources": list(sources), "workers": workers})

    def listen(self, source: str, event: Event) -> None:
        """Log *event* of *source* at its level."""
        if event.kind == "answered" and not self._requests:
            return  # the commonest event by far
        match event.kind:
            case "retried" | "throttled":
                self._repeated(source, event)
            case "finished":
                pages = self._count(source, event.resource, "pages", 0)
                fields: dict[str, object] = {"pages": pages, "result": event.note}
                self._tell(logging.INFO, "resource fetched", fields, source, event.resource)
            case "settled":
                fields = {"verdict": event.note, "rows_written": event.size, "seconds": round(event.seconds, 3)}
                self._tell(logging.INFO, "resource settled", fields, source, event.resource)
            case "committed":
                fields = {"commit": event.size, "seconds": round(event.seconds, 3)}
                self._tell(logging.INFO, "source committed", fields, source)
            case kind if kind in _EACH:
                self._each(source, event)

    def ended(self, report: RunReport) -> None:
        """The run has ended as *report* says."""
        for name, problem in report.problems:
            self._failed(name, problem)
        for warning in report.all_warnings:
            self._tell(logging.WARNING, "warning", {"text": warning})
        fields = {
            "exit_code": report.exit_code,
            "seconds": round(report.seconds, 3),
            "requests": sum(one.requests for one in report.resources),
            "retries": sum(one.retries for one in report.resources),
            "rows_written": report.rows,
        }
        self._tell(logging.INFO, "run ended", fields)

    def _each(self, source: str, event: Event) -> None:
        """What there is much of: one line each at DEBUG, now and then one at INFO with what came so far."""
        if self._requests:
            fields: dict[str, object] = {"seconds": round(event.seconds, 3)} if event.seconds else {}
            fields |= {_SIZES[event.kind]: event.size} if event.kind in _SIZES else {}
            fields |= {_NOTES[event.kind]: event.note} if event.kind in _NOTES else {}
            self._tell(logging.DEBUG, _EACH[event.kind], fields, source, event.resource)
        if event.kind == "batch":
            self._count(source, event.resource, "rows", event.size)
        elif event.kind in ("spooled", "from_spool"):
            pages = self._count(source, event.resource, "pages", 1)
            if self._is_due(source, event.resource, "progress"):
                rows = self._count(source, event.resource, "rows", 0)
                fields = {"pages": pages, "rows_milled": rows}
                self._tell(logging.INFO, "resource progress", fields, source, event.resource)

    def _repeated(self, source: str, event: Event) -> None:
        kind = f"{event.kind} {event.note}"
        times = self._count(source, event.resource, kind, 1)
        if self._is_due(source, event.resource, kind, at_once=True):
            text = "request throttled" if event.kind == "throttled" else "request is repeated"
            fields = {"kind": event.note, "wait_s": round(event.seconds, 3), "times": times}
            self._tell(logging.WARNING, text, fields, source, event.resource)

    def _count(self, source: str, resource: str, what: str, amount: int) -> int:
        """Add *amount* and return how many there are."""
        with self._lock:
            self._counts[source, resource, what] += amount
            return self._counts[source, resource, what]

    def _is_due(self, source: str, resource: str, kind: str, *, at_once: bool = False) -> bool:
        """Whether that kind of line may be told again; the first one after a while, or *at_once*."""
        now, key = self._clock(), (source, resource, kind)
        with self._lock:
            due = now - self._told.setdefault(key, now - _OFTEN_S if at_once else now) >= _OFTEN_S
            if due:
                self._told[key] = now
        return due

    def _failed(self, name: str, problem: Problem) -> None:
        source, _, resource = name.partition(".")
        fields = {"kind": problem.kind, "message": problem.message, "hint": problem.hint, "repeat": problem.curl}
        self._tell(logging.ERROR, "resource failed", fields, source, resource)

    def _tell(self, level: int, text: str, fields: Mapping[str, object], source: str = "", resource: str = "") -> None:
        if log.isEnabledFor(level):
            places = {"source": source, "resource": resource, "run": self._run, "sources": self._sources}
            log.log(level, text, extra={**places, "fields": fields, "shown": text in _SHOWN})
