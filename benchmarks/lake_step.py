"""One step of the lake's figures in a process of its own: `python -m benchmarks.lake_step STEP FOLDER`.

Prints one JSON object: the seconds of the step, the bytes it read where that tells, and sums of the rows
that are there afterwards. Workers are up before the clock starts.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.lake_rows import Stage
from pipelines.load.lake import Lake, Work
from pipelines.load.merge import Place, plan, resolve, work
from pipelines.load.target import Target
from pipelines.pool import PRELOAD, Pool

UPSERT = Target(key=("id",), write="upsert", version="version")
APPEND = Target(write="append")
BY_TEAM = Target(write="append", partition_by=("team",))
WARM = 3
"""Commits before the one that is timed: each worker has then imported what it needs."""


def load(lake: Lake, name: str, target: Target, path: Path, run: Work) -> None:
    """One run: stage, merge, commit; row groups of *path* are divided between two workers."""
    with lake.lock("bench"):
        draft = lake.begin("bench")
        place = Place(lake.store, lake.tmp, name, target)
        count = pq.read_metadata(path).num_row_groups
        halves = [tuple(range(count // 2)), tuple(range(count // 2, count))]
        staged = run([Stage(place, path, half, each=name == "small") for half in halves if half])
        parts = [part for one in staged for part in one]
        draft.set_files(name, resolve(plan(place, draft.dataset(name), parts), run), target)
        lake.commit(draft)


def step(name: str, folder: Path, run: Work) -> dict[str, Any]:
    """Do the step; what is told of it."""
    source, size, rows = folder / f"{'base' if name == 'write' else name}.parquet", 0, 0
    # what is compacted, and what warms up, are lakes of their own: the other steps see none of it
    lake = Lake(folder / "ours", "small" if name == "compact" else "bench")
    for _ in range(WARM if name == "fifty" else 0):
        load(Lake(folder / "ours", "warm"), "warm", BY_TEAM, source, run)
    if name == "compact":
        load(lake, "small", APPEND, folder / "small.parquet", run)
        size = sum(path.stat().st_size for path in lake.snapshot()["small"])
    started = time.perf_counter()
    if name in {"write", "recent", "spread"}:
        load(lake, "orders", UPSERT, source, run)
    elif name == "fifty":
        load(lake, "fifty", BY_TEAM, source, run)
    elif name == "compact":
        with lake.lock("compact"):
            lake.compact("compact", run)
    else:
        verified = lake.verify(run)
        size, rows = verified.size_bytes, verified.rows
        if verified.defects:
            sys.exit(f"the lake is not as it should be: {verified.defects[0]}")
    seconds = time.perf_counter() - started
    dataset = {"fifty": "fifty", "compact": "small"}.get(name, "orders")
    found = told(lake.snapshot()[dataset])
    return {"seconds": seconds, "size_mb": size / 1e6, "rows": rows or found["sums"][0], **found}


def told(files: Sequence[Path]) -> dict[str, Any]:
    """How many files there are now, and sums over all rows; in small pieces, as memory is measured until the end."""
    columns: dict[str, int] = {"rows": 0, "id": 0, "version": 0}
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["id", "version"]):
                columns["rows"] += len(batch)
                for name in batch.schema.names:
                    columns[name] += pc.sum(batch[name]).as_py()
    return {"files": len(files), "sums": list(columns.values())}


def main(name: str, folder: Path) -> None:
    """Do the step with as many workers as there are processors."""
    with Pool(len(os.sched_getaffinity(0)), preload=PRELOAD) as pool:
        pool.map(abs, range(4))
        done = step(name, folder, lambda units: pool.map(work, units))
    sys.stdout.write(json.dumps(done) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
