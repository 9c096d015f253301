"""What the lake costs: commit of 50 files, 1 % upserted into 10 M rows, compaction, verify; beside deltalake's merge.

Rows are made here, the same each time, and both read the same files. Ours syncs
to the disk before it commits; deltalake does not. `spread` changes 1 % of all
keys, `recent` the newest 1 %. `python -m benchmarks.lake [--rows N] [--rounds N] [--peers]`
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contenders import environment
from pipelines.batch import Part
from pipelines.load.lake import Lake, Work
from pipelines.load.merge import Place, plan, resolve, work
from pipelines.load.target import Target
from pipelines.pool import PRELOAD, Pool

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / "data" / "bench" / "lake"
UPSERT = Target(key=("id",), write="upsert", version="version")
BY_TEAM = Target(write="append", partition_by=("team",))
BATCH = 1_000_000


def rows(first: int, ids: Any, version: int) -> pa.Table:
    """Rows of five columns and about 40 bytes, in which text and time depend on the key."""
    chance = np.random.default_rng(first + version)
    names = pa.array([f"customer {number}" for number in range(10_000)])
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "version": pa.array(np.full(len(ids), version), pa.int64()),
            "name": names.take(pa.array(ids % 10_000)),
            "amount": pa.array(chance.random(len(ids)) * 1_000),
            "at": pa.array(1_700_000_000_000_000 + ids * 1_000_000, pa.timestamp("us", "UTC")),
        }
    )


def prepare(folder: Path, count: int) -> None:
    """Write the base, both changes (1 % of the rows, a tenth of them new) and the rows for 50 partitions."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "fifty.parquet").is_file():
        return
    with pq.ParquetWriter(folder / "base.parquet", rows(0, np.arange(1), 1).schema) as writer:
        for first in range(0, count, BATCH):
            writer.write_table(rows(first, np.arange(first, min(first + BATCH, count)), 1))
    changed, new = count // 100 * 9 // 10, count // 100 // 10
    spread = np.sort(np.random.default_rng(1).choice(count, changed, replace=False))
    for name, known, version, start in (
        ("spread", spread, 2, count),
        ("recent", np.arange(count - changed, count), 3, count + new),
    ):
        ids = np.concatenate([known, np.arange(start, start + new)])
        pq.write_table(rows(count, ids, version), folder / f"changes-{name}.parquet")
    fifty = rows(0, np.arange(200_000), 1).append_column("team", pa.array(np.arange(200_000) % 50))
    pq.write_table(fifty, folder / "fifty.parquet")


def ours(folder: Path, run: Work) -> dict[str, Any]:
    """The same by the lake: seconds of each step, and the sums of what is left."""
    shutil.rmtree(folder / "ours", ignore_errors=True)
    lake = Lake(folder / "ours", "bench")
    seconds: dict[str, float] = {}
    with timed(seconds, "write"):
        load(lake, "orders", UPSERT, pq.ParquetFile(folder / "base.parquet").iter_batches(BATCH), run)
    for path in sorted(folder.glob("changes-*.parquet")):
        with timed(seconds, path.stem.partition("-")[2]):
            load(lake, "orders", UPSERT, pq.ParquetFile(path).iter_batches(BATCH), run)
    with timed(seconds, "commit-50"):
        load(lake, "fifty", BY_TEAM, pq.ParquetFile(folder / "fifty.parquet").iter_batches(BATCH), run)
    with timed(seconds, "verify"):
        verified = lake.verify(run)
    for first in range(0, 40_000, 1_000):
        load(lake, "small", Target(write="append"), rows(first, np.arange(first, first + 1_000), 1).to_batches(), run)
    with timed(seconds, "compact"), lake.lock("compact"):
        lake.compact("compact", run)
    if verified.defects:
        sys.exit(f"the lake is not as it should be: {verified.defects[0]}")
    tables = [pq.read_table(path, columns=["id", "version"]) for path in lake.snapshot()["orders"]]
    table = pa.concat_tables(tables)
    sums = [len(table), *(int(table[name].to_numpy().sum()) for name in table.column_names)]
    return {"seconds": seconds, "sums": sums, "verified_mb": verified.size_bytes / 1e6}


def load(lake: Lake, name: str, target: Target, batches: Iterable[pa.RecordBatch], run: Work) -> None:
    """One run: stage, merge, commit."""
    with lake.lock("bench"):
        draft, parts = lake.begin("bench"), list[Part]()
        place = Place(lake.store, lake.tmp, name, target)
        with place.writer() as writer:
            for batch in batches:
                writer.write(pa.Table.from_batches([batch]))
            parts += writer.close()
        draft.set_files(name, resolve(plan(place, draft.dataset(name), parts), run), target)
        lake.commit(draft)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long the block takes."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def theirs(folder: Path, python: Path) -> dict[str, Any]:
    """What deltalake takes, in a process and environment of its own."""
    command = [str(python), str(HERE / "peers" / "delta_merge.py"), str(folder)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=1_800)
    return dict(json.loads(told.stdout))


def main() -> None:
    """Take turns, then print medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lake", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the base (10,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds whose median is told (3)")
    parser.add_argument("--peers", action="store_true", help="with deltalake, in an environment built on first use")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for rows, output and the environment")
    asked = parser.parse_args()
    folder = asked.cache.resolve() / str(asked.rows)
    prepare(folder, asked.rows)
    python = environment(asked.cache.resolve() / "delta", HERE / "peers" / "delta.lock") if asked.peers else None
    found: dict[str, list[dict[str, Any]]] = {"threadmill": []}
    with Pool(len(os.sched_getaffinity(0)), preload=PRELOAD) as pool:
        pool.map(abs, range(4))
        for _ in range(asked.rounds):
            found["threadmill"].append(ours(folder, lambda units: pool.map(work, units)))
            if python:
                found.setdefault("deltalake", []).append(theirs(folder, python))
    show(found)


def show(found: dict[str, list[dict[str, Any]]]) -> None:
    """A line for each step, and whether all agree about the rows."""
    steps = list(dict.fromkeys(step for rounds in found.values() for step in rounds[0]["seconds"]))
    print(f"{'seconds':12}" + "".join(f"{name:>14}" for name in found))
    for step in steps:
        times = [[one["seconds"].get(step) for one in rounds] for rounds in found.values()]
        print(f"{step:12}" + "".join(f"{statistics.median(each):14.2f}" if each[0] else f"{'-':>14}" for each in times))
    sums = {json.dumps(one["sums"]) for rounds in found.values() for one in rounds}
    verified = statistics.median(one["verified_mb"] / one["seconds"]["verify"] for one in found["threadmill"])
    agree = "the same" if len(sums) == 1 else f"NOT THE SAME: {sums}"
    print(f"verify reads {verified:,.0f} MB/s; rows, ids and versions are {agree}")


if __name__ == "__main__":
    main()
