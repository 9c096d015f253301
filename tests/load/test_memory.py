"""Memory does not grow with a file that is merged or looked at: measured in a real worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.load.changes import Unit, resolve, work
from pipelines.load.facts import facts
from pipelines.load.lake import Lake
from pipelines.load.merge import Place, plan
from pipelines.load.parquet import Sizes
from pipelines.load.target import Target
from pipelines.pool import PRELOAD, Pool
from tests.load.disks import QUICK
from tests.memory import LINUX_ONLY, begin_measuring, peak_bytes

UPSERT = Target(key=("id",), write="upsert", version="version")
SMALL, LARGE = 1_000_000, 4_000_000
ROW_BYTES = 8 + 8 + 4 + 20
pytestmark = LINUX_ONLY


def rows(ids: Any, version: int) -> pa.Table:
    """Rows of about `ROW_BYTES`."""
    texts = pa.array([f"customer number {number:04d}" for number in range(1_000)])
    columns = {"id": ids, "version": np.full(len(ids), version), "name": texts.take(pa.array(ids % 1_000))}
    return pa.table(columns)


class Measured:
    """A lake whose units of work are done by one real worker."""

    def __init__(self, root: Path, pool: Pool) -> None:
        self.lake, self._pool = Lake(root, "shop", disk=QUICK), pool

    def load(self, tables: Iterable[pa.Table]) -> None:
        """One run that reads *tables*."""
        with self.lake.lock("run"):
            draft = self.lake.begin("run")
            place = Place(self.lake.store, self.lake.tmp, "orders", UPSERT, disk=QUICK)
            with place.writer(sizes=Sizes(file_bytes=10**9)) as writer:
                for table in tables:
                    writer.write(table)
                staged = writer.close()
            draft.set_files("orders", resolve(plan(place, draft.dataset("orders"), staged), self.run), UPSERT)
            self.lake.commit(draft)

    def run(self, units: Iterable[Unit]) -> Sequence[Any]:
        """What a run does with units."""
        return self._pool.map(work, units)


def peak_of(root: Path, count: int) -> int:
    """The peak of a worker that brings 1 % of changed rows, with keys from all over, into one file of *count* rows."""
    with Pool(1, preload=PRELOAD) as pool:
        shop = Measured(root, pool)
        whole = range(0, count, SMALL)
        shop.load(rows(np.arange(first, first + SMALL), 1) for first in whole)
        shop.load([rows(np.array([0]), 2)])
        assert len(shop.lake.snapshot()["orders"]) == 1
        pool.call(begin_measuring)
        shop.load([rows(np.arange(0, count, 100), 3)])
        return pool.call(peak_bytes)


def test_changes_spread_over_a_file_are_merged_in_memory_that_does_not_grow_with_it(tmp_path: Path) -> None:
    """3 M more rows are 120 MB more; the worker that writes them again needs less than half of that more."""
    small, large = (peak_of(tmp_path / str(count), count) for count in (SMALL, LARGE))

    assert large - small < (LARGE - SMALL) * ROW_BYTES / 2


def test_the_facts_of_a_file_of_many_row_groups_cost_little_more_than_its_footer(tmp_path: Path) -> None:
    """4,000 bytes for the chunk of a column: Arrow's readers alone take more where they are made for all row groups."""
    few, many = (facts_peak(tmp_path / f"{count}.parquet", count) for count in (10, 200))

    assert many - few < 190 * 20 * 4_000


def facts_peak(path: Path, count: int) -> int:
    """The peak of a worker that finds the facts of a file of *count* row groups of 20 columns."""
    numbers = np.random.default_rng(1).integers(0, 2**60, 5_000)
    table = pa.table({f"c{number}": numbers for number in range(20)})
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(count):
            writer.write_table(table)
    with Pool(1, preload=PRELOAD) as pool:
        pool.call(begin_measuring)
        pool.call(facts, [path])
        return pool.call(peak_bytes)
