"""What Prefect adds to a run: `threadmill run` and the same work as a flow, in turns, from one page to 3.7 M rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks import results
from benchmarks.contenders import THREADMILL, flow
from benchmarks.contest import Contest
from benchmarks.results import Section

SIZES = ("one", "api", "x10")
"""Workloads that differ in nothing but their size."""


def measured(contest: Contest, cache: Path) -> Section:
    """Both ways at each size, as entries `SIZE threadmill` and `SIZE flow`; *cache* keeps Prefect's database."""
    pair = [THREADMILL, flow(cache)]
    held = [contest.hold(size, pair) for size in SIZES]
    entries = [
        replace(entry, name=f"{section.name} {entry.name}", rows=section.rows)
        for section in held
        for entry in section.entries
    ]
    return Section("prefect", contest.command, results.machine(), held[-1].rows, entries)
