"""What each tool makes of the same ten faults: `python -m benchmarks.comparison`, or `make compare`.

An API on 127.0.0.1 misbehaves; each tool reads it in processes of its own, in its own pinned
environment, which the first use builds. What it then holds is read back and held against what was
served. Writes `comparison.json` beside this file, and the table of `docs/comparison.md` from it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks import results
from benchmarks.contenders import HERE, ROOT
from benchmarks.faulty import FAULTS, Fault, Turn
from benchmarks.tools import Tool, tools
from tests.fake_api import FakeApi, fake_api

SECONDS = 30
"""How long a run may take; whoever still asks then, asks for ever."""
MANY = 1_000
LOG = "said.log"
FILE = HERE / "comparison.json"
PAGE = ROOT / "docs" / "comparison.md"
NAMES = ("threadmill", "dlt", "airbyte", "singer")
_PROBLEM = re.compile(r"\b([A-Za-z_]+(?:Error|Exception|Failure|Failed|TooLarge|Loop|Missing)|incomplete)\b")
_TABLE = re.compile(r"(?<=<!-- measured -->\n).*?(?=<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Ended:
    """One run: its exit code, none where it had to be ended; how many requests it made; what it said."""

    code: int | None
    requests: int
    said: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of one fault: every run, and the rows that were then stored, lost, doubled or never served."""

    runs: list[Ended]
    rows: int
    lost: int
    doubled: int
    strange: int
    verdict: str


@dataclass(frozen=True)
class Measured:
    """One tool: its versions, what came of each fault, and what cannot be told to it."""

    title: str
    versions: Mapping[str, str]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    cannot: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """All tools, and when and where they were measured."""

    date: str = ""
    machine: str = ""
    tools: dict[str, Measured] = field(default_factory=dict)


def main() -> None:
    """Measure the tools asked for, keep the others' figures, write the table."""
    asked = _arguments()
    kept = read()
    chosen = [fault for fault in FAULTS if not asked.fault or fault.name in asked.fault]
    for tool in tools(asked.cache.resolve(), asked.peer or NAMES):
        before = kept.tools.get(tool.name)
        outcomes = dict(before.outcomes) if before and asked.fault else {}
        for fault in chosen:
            if fault.name not in tool.cannot:
                outcomes[fault.name] = tried(tool, fault)
                print(f"{tool.name:11} {fault.name:8} {told(outcomes[fault.name])}", flush=True)
        measured = Measured(tool.title, tool.versions, outcomes, tool.cannot, tool.notes)
        kept = replace(kept, tools={**kept.tools, tool.name: measured})
    if not (asked.peer or asked.fault):
        # of a part of the table the day and the machine are those of the rest
        kept = replace(kept, date=datetime.now(UTC).strftime("%Y-%m-%d"), machine=results.machine())
    FILE.write_text(json.dumps(msgspec.to_builtins(kept), indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), kept), encoding="utf-8")
    print(table(kept))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.comparison", description=__doc__)
    parser.add_argument("--peer", action="append", choices=NAMES, help="only this tool; may be given more than once")
    parser.add_argument("--fault", action="append", choices=[fault.name for fault in FAULTS], help="only this fault")
    parser.add_argument("--cache", type=Path, default=ROOT / "data" / "bench", help="folder for the environments")
    return parser.parse_args()


def read() -> Comparison:
    """What was measured last."""
    return msgspec.json.decode(FILE.read_bytes(), type=Comparison) if FILE.exists() else Comparison()


def tried(tool: Tool, fault: Fault) -> Outcome:
    """All runs of *tool* against *fault*, in a folder of their own."""
    with fake_api() as api, tempfile.TemporaryDirectory() as name:
        turn, folder, runs = Turn(), Path(name), []
        fault.serve(api, turn)
        (folder / "api.yaml").write_text(f"base_url: {api.url}\nretry: {{attempts: 2}}\nresources:\n{fault.yaml}")
        for turn.number in range(1, fault.runs + 1):
            before = sum(api.calls.values())
            code, said = _run(tool, fault, api, turn, folder)
            runs.append(Ended(code, sum(api.calls.values()) - before, said))
            if not runs[-1].requests:
                raise RuntimeError(f"{tool.name} asked nothing: {(folder / LOG).read_text(errors='replace')[-2000:]}")
        found = Counter(fault.identity(row) for row in tool.stored(folder))
    return judged(fault, runs, found)


def _run(tool: Tool, fault: Fault, api: FakeApi, turn: Turn, folder: Path) -> tuple[int | None, str]:
    """The exit code and what was said; no code where the run was still asking, or was killed on purpose."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("THREADMILL_")}
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            tool.command(api.url, folder, fault.name),
            cwd=ROOT,
            env={**inherited, **tool.env},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        deadline = time.monotonic() + SECONDS
        kill_it = fault.killed and turn.number == 1
        while process.poll() is None and time.monotonic() < deadline and not (kill_it and turn.reached.is_set()):
            time.sleep(0.02)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return None, ""
    problems = _PROBLEM.findall((folder / LOG).read_text(errors="replace")) if process.returncode else []
    return process.returncode, problems[-1] if problems else ""


def judged(fault: Fault, runs: list[Ended], found: Counter[object]) -> Outcome:
    """*found* against what was served: right, told, silent, or for ever."""
    wanted = frozenset(found) if fault.wanted is None else fault.wanted
    lost, strange = wanted - found.keys(), found.keys() - wanted
    doubled = 0 if fault.wanted is None else sum(found.values()) - len(found)
    code = runs[-1].code
    if code is None:
        verdict = "for ever"
    elif lost or doubled or strange or fault.error:
        whole = not (lost or doubled or strange)
        verdict = "silent" if code == 0 else "right" if whole else "told"
    else:
        verdict = "right" if code == 0 else "told"
    return Outcome(runs, sum(found.values()), len(lost), doubled, len(strange), verdict)


def told(outcome: Outcome) -> str:
    """One cell of the table."""
    last = outcome.runs[-1]
    rows = [f"{outcome.rows:,} row{'s' * (outcome.rows != 1)}"]
    rows += [
        f"{n:,} {what}"
        for n, what in ((outcome.lost, "lost"), (outcome.doubled, "doubled"), (outcome.strange, "never served"))
        if n
    ]
    if last.code is None:
        asked = f"more than {MANY:,}" if last.requests > MANY else f"{last.requests:,}"
        return f"**for ever**: still asking after {SECONDS} s, {asked} requests; {', '.join(rows)}"
    said = f" ({last.said})" if last.said else ""
    requests = " + ".join(f"{one.requests:,}" for one in outcome.runs)
    plural = "" if requests == "1" else "s"
    return f"**{outcome.verdict}**: {', '.join(rows)}; exit {last.code}{said}; {requests} request{plural}"


def table(measured: Comparison) -> str:
    """The Markdown of everything that was measured."""
    names = [name for name in NAMES if name in measured.tools]
    versions = ", ".join(f"{p} {v}" for name in names for p, v in measured.tools[name].versions.items())
    lines = [
        f"Measured on {measured.date} with {versions} ({measured.machine}).\n",
        f"| fault | {' | '.join(measured.tools[name].title for name in names)} |",
        f"| --- |{' --- |' * len(names)}",
    ]
    lines += [
        f"| {fault.title} | {' | '.join(_cell(measured.tools[n], fault.name) for n in names)} |" for fault in FAULTS
    ]
    return "\n".join(lines) + "\n"


def _cell(tool: Measured, fault: str) -> str:
    if fault in tool.cannot:
        return f"cannot be told: {tool.cannot[fault]}"
    if fault not in tool.outcomes:
        return "not measured"
    note = f". Note: {tool.notes[fault]}" if fault in tool.notes else ""
    return told(tool.outcomes[fault]) + note


def page(text: str, measured: Comparison) -> str:
    """*text* with the table as it was measured."""
    return _TABLE.sub(lambda _: table(measured), text)


if __name__ == "__main__":
    main()
