"""What the lake costs: 1 % upserted into 10 M rows, a commit of 50 files, compaction, verify; beside deltalake.

Both read the same rows, each step in a process of its own whose workers are up; after each both must have
as many rows, and the same sums of ids and versions. Ours syncs to the disk before it commits, deltalake does not.
`python -m benchmarks.lake [--rows N] [--rounds N] [--peers]` prints the table alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.contenders import HERE, ROOT, environment
from benchmarks.lake_rows import SMALL_FILES, SMALL_ROWS, prepare
from benchmarks.measure import RunFailed, measure
from benchmarks.results import Entry, Section

CACHE = ROOT / "data" / "bench"
ROWS = 10_000_000
US, THEM = "threadmill", "deltalake"
STEPS = {
    "write": "write the rows",
    "recent": "upsert 1 %, the newest keys",
    "spread": "upsert 1 %, keys from all over",
    "fifty": "commit 200,000 rows in 50 files",
    "compact": f"compact {SMALL_FILES} files of {SMALL_ROWS:,} rows",
    "verify": "verify: read all of it again",
}
_TIMEOUT_S = 900.0


def measured(cache: Path, *, rounds: int, command: str, peers: bool, count: int = ROWS) -> Section:
    """Every step, in turns; then once more for memory.

    Raises:
        RunFailed: A step failed, or left other rows than the same step of the other.
    """
    folder = cache / "lake" / str(count)
    prepare(folder, count)
    pythons = {US: sys.executable}
    if peers:
        pythons[THEM] = str(environment(cache / "lake" / "delta", HERE / "peers" / "delta.lock"))
    entries: dict[str, Entry] = {}
    for number in range(rounds + 1):
        sums: dict[str, dict[str, Any]] = {}
        for who, python in pythons.items():
            shutil.rmtree(folder / ("ours" if who == US else "delta"), ignore_errors=True)
            for step in STEPS if who == US else [step for step in STEPS if step != "verify"]:
                found, peak_mb = _step(who, python, step, folder, memory=number == rounds)
                sums.setdefault(step, {})[who] = found["sums"]
                _noted(entries, f"{step} {who}", found, peak_mb)
        _check(sums)
    shutil.rmtree(folder / "ours")
    return Section("lake", command, results.machine(), count, list(entries.values()))


def _noted(entries: dict[str, Entry], name: str, found: dict[str, Any], peak_mb: float) -> None:
    known = entries.get(name) or Entry(name, STEPS[name.split(maxsplit=1)[0]])
    if peak_mb:
        entries[name] = replace(known, peak_mb=[*known.peak_mb, peak_mb])
    else:
        wall_s = [*known.wall_s, found["seconds"]]
        entries[name] = replace(known, wall_s=wall_s, size_mb=found["size_mb"], rows=found.get("rows", 0))
    print(f"  lake {name:20} {found['seconds']:8.3f} s {peak_mb:6.0f} MB {found['files']:5} files", flush=True)


def _step(who: str, python: str, step: str, folder: Path, *, memory: bool) -> tuple[dict[str, Any], float]:
    module = ["-m", "benchmarks.lake_step"] if who == US else [str(HERE / "peers" / "delta_merge.py")]
    work = folder / "work"
    work.mkdir(exist_ok=True)
    figures = measure(
        [python, *module, step, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        folder=work,
        timeout_s=_TIMEOUT_S,
        memory=memory,
    )
    told = (folder / "work.log").read_text().strip().splitlines()[-1]
    return json.loads(told), figures.peak_mb


def _check(sums: dict[str, dict[str, Any]]) -> None:
    for step, each in sums.items():
        if len({tuple(one) for one in each.values()}) > 1:
            raise RunFailed(f"lake {step}: the rows are not the same: {each}")


def main() -> None:
    """Measure and print; nothing is kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lake", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of the base ({ROWS:,})")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median is told (3)")
    parser.add_argument("--peers", action="store_true", help="with deltalake, in an environment built on first use")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for rows, output and the environment")
    asked = parser.parse_args()
    section = measured(asked.cache.resolve(), rounds=asked.rounds, command="", peers=asked.peers, count=asked.rows)
    print("\n".join(table(section)))


def table(section: Section) -> list[str]:
    """The figures as lines of Markdown."""
    lines = [
        "| step | Threadmill s | lowest to highest | deltalake s | lowest to highest | times | MB | MB, deltalake | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for step, title in STEPS.items():
        us, them = section.entry(f"{step} {US}"), section.entry(f"{step} {THEM}")
        if us is None:
            continue
        rate = f"{us.size_mb / us.wall:,.0f} MB/s, {us.rows / us.wall / 1e6:.1f} M rows/s" if us.size_mb else ""
        theirs = f"{them.wall:.2f} | {_span(them)} | {us.wall / them.wall:.2f}x" if them else " | | "
        peaks = f"{us.peak:.0f} | {f'{them.peak:.0f}' if them else ''}"
        lines.append(f"| {title} | {us.wall:.2f} | {_span(us)} | {theirs} | {peaks} | {rate} |")
    return lines


def _span(entry: Entry) -> str:
    return f"{min(entry.wall_s):.2f} to {max(entry.wall_s):.2f}"


if __name__ == "__main__":
    main()
