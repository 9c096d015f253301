"""Saved reports of runs that never were, for what is computed from reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.extract.events import Event
from pipelines.report.result import ResourceReport, RunReport, SourceReport
from pipelines.report.runs import read_run
from pipelines.report.timeline import Timeline

Told = tuple[str, Event]


def answer(at: float, seconds: float, resource: str = "events") -> Event:
    """A request that was answered."""
    return Event("answered", resource, at, seconds, 1000, "200")


def batch(at: float, seconds: float, cpu_s: float, *, resource: str = "events", worker: str = "1") -> Event:
    """A batch of 100 rows that a worker milled."""
    return Event("batch", resource, at, seconds, 100, worker, cpu_s)


def saved(data: Path, *told: Told, seconds: float, threads: int = 4, allowed: int = 4, **more: Any) -> dict[str, Any]:
    """The report of a run of two workers that lasted *seconds*, in which the events *told* happened.

    *threads* fetched, of the *allowed* ones that come when steps wait.
    """
    timeline = Timeline(began=0.0)
    for source, event in told:
        timeline.listen(source, event)
    names = list(dict.fromkeys((source, event.resource) for source, event in told if event.resource))
    sources = list(dict.fromkeys(source for source, _ in names))
    reports = tuple(
        SourceReport(
            source,
            1,
            True,
            tuple(ResourceReport(one, name, verdict="complete", new=3) for one, name in names if one == source),
        )
        for source in sources
    )
    report = RunReport(
        run_id="20240101T000000-abcdef",
        started_at="2024-01-01T00:00:00+00:00",
        seconds=seconds,
        data=str(data),
        sources=reports,
        machine={
            "workers": 2,
            "cpus": 4,
            "threads": {source: threads for source in sources if source != "marts"},
            "threads_allowed": {source: allowed for source in sources if source != "marts"},
        },
        timeline=timeline.to_json(),
        **more,
    )
    report.save(data / "runs")
    return read_run(data)
