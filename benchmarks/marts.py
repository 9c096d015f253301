"""What a second process is worth to a mart: `python -m benchmarks.marts [rounds]`.

Runs the bundled project into a temporary folder, then makes and writes `quake_exposure`
(1,707 events x 34,006 cities, and the same events ten times) with one worker and
with two, in turn, in pools that are already up. Medians, and the ratio.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.config.project import load_project
from pipelines.load.target import Target
from pipelines.marts.model import Mart
from pipelines.marts.units import plan
from pipelines.pool import PRELOAD, Pool
from pipelines.run import run
from pipelines.worker import make_mart

NAME = "quake_exposure"


def main(rounds: int = 5) -> None:
    """Print one line for each size."""
    with tempfile.TemporaryDirectory() as folder:
        project = load_project({}, data=Path(folder))
        run(project)
        mart = project.marts.marts[NAME]
        files = {
            dataset: sorted((Path(folder) / "parquet" / dataset.replace(".", "/")).rglob("*.parquet"))
            for dataset in mart.inputs.values()
        }
        ten = Path(folder) / "ten.parquet"
        events = pa.concat_tables([pq.read_table(path, partitioning=None) for path in files["usgs.events"]])
        pq.write_table(pa.concat_tables([events] * 10), ten, row_group_size=1_000)
        for label, given in (("1,707 events", files), ("17,070 events", {**files, "usgs.events": [ten]})):
            one, two = _compared(mart, given, Path(folder) / "store", rounds)
            print(f"{NAME}, {label}: 1 process {one:.3f} s, 2 processes {two:.3f} s, {one / two:.2f} times as fast")


def _compared(mart: Mart, files: dict[str, list[Path]], store: Path, rounds: int) -> tuple[float, float]:
    """Median seconds with one worker and with two, measured in turn."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with Pool(1, preload=PRELOAD) as one, Pool(2, preload=PRELOAD) as two:
        for number in range(rounds + 1):
            for pool in (one, two):
                units = plan(NAME, mart, files, pool.workers)
                started = time.perf_counter()
                pool.map(partial(make_mart, store=store, target=Target()), units)
                if number:  # the first round warms the workers up
                    seconds[pool.workers].append(time.perf_counter() - started)
    return statistics.median(seconds[1]), statistics.median(seconds[2])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
