"""What was measured, as it is kept in `results.json`: every figure of every round."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec


@dataclass(frozen=True)
class Entry:
    """One contender or command: the figures of its rounds, and why there are none if there are none.

    `own_s` are the seconds that Threadmill's own report tells of the run, whatever started it.
    `rows` and `size_mb` say how much it worked on, where that is told of the single entry.
    """

    name: str
    title: str
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)
    own_s: list[float] = field(default_factory=list)
    failure: str = ""
    rows: int = 0
    size_mb: float = 0.0

    @property
    def wall(self) -> float:
        """Median seconds from start to exit; 0 where it never ended well."""
        return _median(self.wall_s)

    @property
    def cpu(self) -> float:
        """Median CPU seconds of the process tree."""
        return _median(self.cpu_s)

    @property
    def own(self) -> float:
        """Median seconds of the run itself."""
        return _median(self.own_s)

    @property
    def peak(self) -> float:
        """Median of the highest memory (PSS) of the process tree, in MB."""
        return _median(self.peak_mb)


@dataclass(frozen=True)
class Section:
    """One table: entries measured side by side, round after round."""

    name: str
    command: str
    machine: str
    rows: int
    entries: list[Entry]
    server: str = ""
    server_cpu_s: float = 0.0

    def entry(self, name: str) -> Entry | None:
        """The entry called *name*, if it took part and ended well."""
        return next((entry for entry in self.entries if entry.name == name and entry.wall_s), None)


@dataclass(frozen=True)
class Results:
    """All sections, the newest of each name."""

    sections: dict[str, Section] = field(default_factory=dict)

    def with_section(self, section: Section) -> Results:
        """The same with *section* in place of an older one of its name."""
        return Results({**self.sections, section.name: section})


def read(file: Path) -> Results:
    """The results in *file*; none where there is no file."""
    return msgspec.json.decode(file.read_bytes(), type=Results) if file.exists() else Results()


def write(results: Results, file: Path) -> None:
    """Keep *results*, so that a later run of one section leaves the others."""
    rounded = json.loads(msgspec.json.encode(results), parse_float=lambda text: round(float(text), 4))
    file.write_text(json.dumps(rounded, indent=1) + "\n")


def machine() -> str:
    """This machine in one line that names nobody."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {_processor()}, {memory_gb:.0f} GB, {system}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _median(values: list[float]) -> float:
    return median(values) if values else 0.0
