"""What a command costs before it does anything, beside the imports it cannot do without."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import results
from benchmarks.contenders import THREADMILL
from benchmarks.measure import RunFailed, measure
from benchmarks.results import Entry, Section

TIMEOUT_S = 60.0
COMMANDS = {
    "python": ("python, nothing else", ["-c", "pass"]),
    "pyarrow": ("import pyarrow", ["-c", "import pyarrow"]),
    "pandas": ("import pandas, pyarrow", ["-c", "import pandas, pyarrow"]),
    "help": ("threadmill --help", ["-m", "pipelines", "--help"]),
    "one": ("threadmill run of one page", ["-m", "pipelines", "run", "one"]),
}


def measured(base_url: str, out: Path, *, rounds: int, command: str) -> Section:
    """All commands in turns; the one-page run asks the server at *base_url*."""
    entries = {name: Entry(name, title) for name, (title, _) in COMMANDS.items()}
    for _ in range(rounds):
        for name, entry in entries.items():
            if not entry.failure:
                entries[name] = _add(entry, base_url, out / "startup")
    return Section("startup", command, results.machine(), 0, list(entries.values()))


def _add(entry: Entry, base_url: str, folder: Path) -> Entry:
    THREADMILL.prepare(folder)
    arguments = COMMANDS[entry.name][1]
    try:
        figures = measure(
            [sys.executable, *arguments],
            env=THREADMILL.environment(base_url, folder),
            folder=folder,
            timeout_s=TIMEOUT_S,
        )
    except RunFailed as error:
        print(f"  startup      {entry.name:14} FAILED {error}", flush=True)
        return Entry(entry.name, entry.title, failure=str(error).strip().splitlines()[-1][:200])
    print(f"  startup      {entry.name:14} {figures.wall_s:7.3f} s", flush=True)
    return Entry(entry.name, entry.title, [*entry.wall_s, figures.wall_s], [*entry.cpu_s, figures.cpu_s])
