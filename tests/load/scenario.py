"""A small source whose every commit is known in advance, and the oracle that compares.

Run *n* of it reads rows that follow from *n* alone: `events` are appended,
`entities` upserted (keys move between partitions, versions come out of order),
`totals` replaced. In `ALL_TARGETS` only, `prices` keep every version of a key, and
what a run does not read is gone from `stock`, and ended in `members`.
All of them keep the number of the run as their watermark.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batch import Part
from pipelines.errors import PipelineError
from pipelines.load.deletes import Deletes
from pipelines.load.disk import DISK, Disk
from pipelines.load.lake import Committed, Draft, Lake
from pipelines.load.merge import Place
from pipelines.load.target import VALIDITY, Target

SOURCE = "shop"
TARGETS = {
    "events": Target(write="append", partition_by=("day(at)",)),
    "entities": Target(write="upsert", key=("id",), version="version", partition_by=("team",)),
    "totals": Target(write="replace"),
}
ALL_TARGETS = {
    **TARGETS,
    "prices": Target(write="history", key=("id",), version="version"),
    "stock": Target(write="upsert", key=("id",), deletes=Deletes(missing=True)),
    "members": Target(write="history", key=("id",), deletes=Deletes(missing=True)),
}
Rows = list[tuple[Any, ...]]


def read_rows(dataset: str, run: int) -> list[dict[str, Any]]:
    """What the API gives run number *run*."""
    if dataset == "events":
        return [{"id": run * 10 + i, "at": datetime(2024, 5, 1 + i % 2, tzinfo=UTC)} for i in range(6)]
    if dataset == "totals":
        return [{"name": name, "total": run * 100 + i} for i, name in enumerate(("a", "b", "c"))]
    if dataset == "prices":
        return [{"id": (run + i) % 4, "version": run, "price": run * 100 + i} for i in range(3)]
    if dataset in {"stock", "members"}:
        return [{"id": (run + i) % 5, "name": f"n{(run + i) % 5}"} for i in range(3)]
    fresh = [(run * 3 + i) % 10 for i in range(5)]
    rows = [{"id": key, "version": run, "value": f"{key} of {run}", "team": (key + run) % 2} for key in fresh]
    late = [{"id": key, "version": run - 2, "value": "too late", "team": 0} for key in fresh[:2]]
    return [*rows, *late]


def expected(dataset: str, runs: int) -> Rows:
    """All rows after *runs* runs, by a merge too simple to be wrong."""
    rows = [row for run in range(1, runs + 1) for row in read_rows(dataset, run)]
    if dataset in {"totals", "stock"}:
        rows = read_rows(dataset, runs) if runs else []
    if dataset == "members":
        rows = list(_memberships(runs))
    if dataset == "prices":
        rows = [row | _held(row, rows) for row in rows]
    if dataset == "entities":
        newest: dict[int, dict[str, Any]] = {}
        for row in rows:
            if row["id"] not in newest or row["version"] >= newest[row["id"]]["version"]:
                newest[row["id"]] = row
        rows = list(newest.values())
    return _sorted(rows)


def _held(row: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """From when until when the version *row* held."""
    until = min(
        (one["version"] for one in rows if one["id"] == row["id"] and one["version"] > row["version"]), default=None
    )
    return {"valid_from": row["version"], "valid_to": until, "is_current": until is None}


def _memberships(runs: int) -> Iterator[dict[str, Any]]:
    """For each key the spans of runs that read it."""
    for key in range(5):
        there = [key in {row["id"] for row in read_rows("members", run)} for run in range(runs + 1)]
        for begin in (run for run in range(1, runs + 1) if there[run] and (run == 1 or not there[run - 1])):
            end = next((run for run in range(begin, runs + 1) if not there[run]), None)
            span = {"valid_from": day(begin), "valid_to": end and day(end), "is_current": end is None}
            yield {"id": key, "name": f"n{key}", **span}


def day(run: int) -> datetime:
    """When run number *run* takes place."""
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=run)


def stage(lake: Lake, draft: Draft, run: int, disk: Disk, targets: dict[str, Target] = TARGETS) -> list[Part]:
    """Read, write and merge the rows of run number *run* into *draft*; the parts written."""
    parts: list[Part] = []
    try:
        for name, target in targets.items():
            full = target.deletes is not None
            place = Place(lake.store, lake.tmp, name, target, disk=disk, now=day(run), full=full)
            with place.writer() as writer:
                writer.write(pa.Table.from_pylist(read_rows(name, run)))
                staged = writer.close()
            parts += staged
            draft.set_files(name, lake.merge(place, draft.dataset(name), staged), target)
            draft.set_state(name, {"run": run})
    except PipelineError:
        lake.discard((*parts, *draft.parts, *draft.dropped))
        raise
    return parts


def run_once(
    lake: Lake,
    disk: Disk = DISK,
    *,
    locked: bool = True,
    redo: bool = True,
    targets: dict[str, Target] = TARGETS,
    now: datetime | None = None,
) -> Committed:
    """One run from lock to vacuum, as a real one does it."""
    with lake.lock(f"process {os.getpid()}") if locked else nullcontext():
        if locked and redo:
            lake.recover()
        draft = lake.begin(os.urandom(8).hex())
        stage(lake, draft, cursor(draft.head) + 1, disk, targets)
        committed = lake.commit(draft, now=now)
        if locked and not committed.pending:
            lake.vacuum(keep=2, grace=timedelta(0), now=(now or datetime.now(UTC)) + timedelta(days=1))
        return committed


UPKEEP: dict[str, Callable[[Lake], object]] = {
    "rollback": lambda lake: lake.rollback(1, "rollback"),
    "compact": lambda lake: lake.compact("compact"),
    "repair": lambda lake: lake.repair(),
}


def keep_up(lake: Lake, what: str) -> None:
    """What a person may do to a lake between two runs."""
    with lake.lock(f"{what} {os.getpid()}"):
        UPKEEP[what](lake)


def cursor(head: Any) -> int:
    """The run that the newest commit has reached."""
    return int(head.datasets["events"].state["run"]) if head else 0


def seen(root: Path, dataset: str) -> Rows:
    """What a plain reader of the folder sees."""
    names = [*read_rows(dataset, 1)[0], *(VALIDITY if ALL_TARGETS[dataset].write == "history" else ())]
    return _sorted(pq.read_table(root / "parquet" / SOURCE / dataset, columns=names).to_pylist())


def pinned(lake: Lake, dataset: str) -> Rows:
    """What a reader of the newest commit's file list sees."""
    tables = [pq.ParquetFile(path).read() for path in lake.snapshot()[dataset]]
    return _sorted(pa.concat_tables(tables).to_pylist())


def wrong_now(root: Path, lake: Lake, runs: Sequence[int] = ()) -> Iterator[str]:
    """What is wrong at this very moment, a dead run's leftovers allowed: one line each.

    Readers may see any of *runs*, by default the newest that is committed and the one before.
    """
    head = lake.head()
    for name in head.datasets if head else ():
        whole = [expected(name, run) for run in runs or (cursor(head) - 1, cursor(head)) if run > 0]
        with _loud(f"{name} cannot be read") as problems:
            if seen(root, name) not in whole:
                problems.append(f"{name} shows no whole commit")
        yield from problems


def wrong_after(root: Path, lake: Lake) -> Iterator[str]:
    """What is wrong once a run has recovered: one line each."""
    with _loud("the lake cannot be read") as problems:
        head = lake.head()
        reached = cursor(head)
        for name in head.datasets if head else ():
            if seen(root, name) != expected(name, reached):
                problems.append(f"{name} shows other rows than those of run {reached}")
            if pinned(lake, name) != expected(name, reached):
                problems.append(f"{name} holds other rows than those of run {reached}")
        named = {path for number in lake.log.numbers() for path in lake.log.read(number).paths}
        stored = {path.relative_to(lake.store).as_posix() for path in lake.store.rglob("*") if path.is_file()}
        problems.extend(f"left over: {path}" for path in stored - named)
        problems.extend(f"lost: {path}" for path in named - stored)
        problems.extend(f"left over: tmp/{path.name}" for path in lake.tmp.iterdir())
    yield from problems


@contextmanager
def _loud(problem: str) -> Iterator[list[str]]:
    problems: list[str] = []
    try:
        yield problems
    except (PipelineError, OSError, pa.ArrowException) as error:
        problems.append(f"{problem}: {type(error).__name__}")


def _sorted(rows: list[dict[str, Any]]) -> Rows:
    return sorted(tuple(row.values()) for row in rows)


def clone(old: Path, new: Path) -> Path:
    """The same lake again, sharing the bytes of its immutable files."""
    for folder, _, files in os.walk(old):
        here = new / Path(folder).relative_to(old)
        here.mkdir(parents=True, exist_ok=True)
        for name in files:
            if name == "lock":
                (here / name).touch()
            else:
                os.link(Path(folder) / name, here / name)
    return new
