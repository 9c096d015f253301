"""Runs the contenders of a workload side by side: A B C, A B C, then once more for memory."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks import results, rows
from benchmarks.contenders import Contender
from benchmarks.measure import Figures, RunFailed, measure
from benchmarks.pages import served_bytes
from benchmarks.peers.workload import ENDPOINTS, table
from benchmarks.results import Entry, Section
from benchmarks.server import PageServer

TIMEOUT_S = {"x10": 900.0, "api": 600.0}
USUAL_TIMEOUT_S = 180.0
_LONG_S = 30.0
"""What takes so long has its memory sampled once: it is nearly the same each time."""


@dataclass(frozen=True)
class Contest:
    """Where it takes place, and how often."""

    server: PageServer
    pages: Path
    out: Path
    rounds: int
    command: str

    def hold(self, workload: str, contenders: list[Contender]) -> Section:
        """Every contender that takes part in *workload*, in turns; one that fails is out."""
        contenders = [contender for contender in contenders if workload in contender.workloads]
        entries = {one.name: Entry(one.name, one.title) for one in contenders}
        served_bytes(self.pages, workload)  # all from memory, for the first as for the last
        cpu_before = self.server.cpu_s()
        for memory in (False, True):
            for number in range(self.rounds):
                for contender in contenders:
                    entry = entries[contender.name]
                    if entry.failure:
                        continue
                    rounds = self._memory_rounds(entry) if memory else contender.rounds.get(workload, self.rounds)
                    if number < rounds:
                        entries[contender.name] = self._add(entry, contender, workload, memory=memory)
        runs = sum(len(entry.wall_s) + len(entry.peak_mb) for entry in entries.values())
        return Section(
            workload,
            self.command,
            results.machine(),
            sum(rows.served(table(endpoint)).count for endpoint in ENDPOINTS[workload]),
            list(entries.values()),
            self.server.kind,
            (self.server.cpu_s() - cpu_before) / max(runs, 1),
        )

    def _memory_rounds(self, entry: Entry) -> int:
        """Rounds whose memory is sampled and whose time does not count."""
        return 1 if median(entry.wall_s) > _LONG_S else (self.rounds + 1) // 2

    def _add(self, entry: Entry, contender: Contender, workload: str, *, memory: bool) -> Entry:
        """*entry* with the figures of one more run, or with why it failed."""
        try:
            figures, own_s = self._run(contender, workload, memory=memory)
        except (RunFailed, rows.WrongRows) as error:
            print(f"  {workload:12} {contender.name:14} FAILED {error}", flush=True)
            return Entry(entry.name, entry.title, failure=str(error).strip().splitlines()[-1][:200])
        if memory:
            print(f"  {workload:12} {contender.name:14} {figures.peak_mb:7.0f} MB", flush=True)
            return replace(entry, peak_mb=[*entry.peak_mb, figures.peak_mb])
        print(f"  {workload:12} {contender.name:14} {figures.wall_s:7.2f} s {figures.cpu_s:7.2f} s CPU", flush=True)
        wall_s, cpu_s = [*entry.wall_s, figures.wall_s], [*entry.cpu_s, figures.cpu_s]
        return replace(entry, wall_s=wall_s, cpu_s=cpu_s, own_s=[*entry.own_s, *own_s])

    def _run(self, contender: Contender, workload: str, *, memory: bool) -> tuple[Figures, list[float]]:
        """What one run took, and what the reports that it left say themselves."""
        folder = self.out / contender.name
        contender.prepare(folder)
        figures = measure(
            contender.command(self.server.base_url, folder, workload),
            env=contender.environment(self.server.base_url, folder),
            folder=folder,
            timeout_s=TIMEOUT_S.get(workload, USUAL_TIMEOUT_S),
            memory=memory,
        )
        for name, files in contender.written(folder, workload).items():
            rows.check(files, name)
        own_s = [json.loads(report.read_bytes())["seconds"] for report in folder.glob("runs/*.json")]
        shutil.rmtree(folder)
        return figures, own_s
