"""The tools that `python -m benchmarks.comparison` sets against faults: how each is run, and what it has stored."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.contenders import HERE, environment

Rows = list[dict[str, Any]]
PEERS = HERE / "peers"


@dataclass(frozen=True)
class Tool:
    """One tool: `command` runs it once on a fault, `stored` is what its table `rows` then holds.

    `cannot` names the faults that its configuration has no words for, and why; `notes` what the reader should
    know of a measured one.
    """

    name: str
    title: str
    versions: Mapping[str, str]
    command: Callable[[str, Path, str], list[str]]
    stored: Callable[[Path], Rows]
    env: Mapping[str, str] = field(default_factory=dict)
    cannot: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def tools(cache: Path, names: Sequence[str]) -> list[Tool]:
    """The tools called *names*, their environments built below *cache* where they are missing."""
    known = {"threadmill": _threadmill, "dlt": _dlt, "airbyte": _airbyte, "singer": _singer}
    return [known[name](cache) for name in names]


def _threadmill(_: Path) -> Tool:
    def command(url: str, folder: Path, fault: str) -> list[str]:
        there = ["--config", str(folder), "--data", str(folder / "data")]
        return [sys.executable, "-m", "pipelines", "run", "--json", *there]

    return Tool(
        "threadmill",
        "Threadmill",
        {"threadmill": version("threadmill")},
        command,
        lambda folder: _parquet(folder, "data/parquet/api/rows/**/*.parquet"),
    )


def _dlt(cache: Path) -> Tool:
    lock = PEERS / "dlt.lock"
    python = environment(cache / "dlt", lock)
    return Tool(
        "dlt",
        "dlt",
        _versions(lock, "dlt"),
        _peer("dlt_faults", python),
        lambda folder: _parquet(folder, "faults/rows/*.parquet"),
        {"RUNTIME__DLTHUB_TELEMETRY": "false"},
        notes={"lag": "`merge` on plain Parquet appends; on Delta, Iceberg or a database it merges"},
    )


def _airbyte(cache: Path) -> Tool:
    lock = PEERS / "airbyte.lock"
    python = environment(cache / "airbyte", lock)
    return Tool(
        "airbyte",
        "Airbyte low-code with PyAirbyte",
        _versions(lock, "airbyte", "airbyte-cdk"),
        _peer("airbyte_faults", python),
        _duckdb,
        {"DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"},
    )


def _singer(cache: Path) -> Tool:
    tap, target = PEERS / "singer_tap.lock", PEERS / "singer_target.lock"
    from_tap, from_target = environment(cache / "singer-tap", tap), environment(cache / "singer-target", target)
    programs = [str(from_tap.parent / "tap-rest-api-msdk"), str(from_target.parent / "target-jsonl")]
    return Tool(
        "singer",
        "Singer: tap-rest-api-msdk, target-jsonl",
        {**_versions(tap, "tap-rest-api-msdk", "singer-sdk"), **_versions(target, "target-jsonl")},
        _peer("singer_faults", from_tap, *programs),
        _jsonl,
        cannot={
            "parents": "the tap's configuration knows no parents; a tap written in Python can have them",
            "empty": "the target appends only: no run replaces a table",
        },
        notes={"lag": "the tap knows no lag, and the target appends only"},
    )


def _peer(module: str, python: Path, *more: str) -> Callable[[str, Path, str], list[str]]:
    return lambda url, folder, fault: [str(python), "-m", f"benchmarks.peers.{module}", url, str(folder), fault, *more]


def _versions(lock: Path, *packages: str) -> dict[str, str]:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))
    return {package: pinned[package] for package in packages}


def _parquet(folder: Path, pattern: str) -> Rows:
    files = [str(file) for file in folder.glob(pattern)]
    if not files:
        return []
    with duckdb.connect() as connection:
        return _rows(connection.execute("FROM read_parquet($files, union_by_name=true)", {"files": files}))


def _duckdb(folder: Path) -> Rows:
    file = folder / "cache.duckdb"
    if not file.exists():
        return []
    with duckdb.connect(file, read_only=True) as connection:
        there = connection.execute("FROM duckdb_tables() WHERE table_name = 'rows'").fetchall()
        return _rows(connection.execute('FROM main."rows"')) if there else []


def _jsonl(folder: Path) -> Rows:
    files = folder.glob("rows*.jsonl")
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def _rows(found: duckdb.DuckDBPyConnection) -> Rows:
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
