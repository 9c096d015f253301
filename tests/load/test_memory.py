"""An upsert holds pieces of a file in memory, however large the file is: measured in a real worker."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipelines.load.changes import Unit, resolve, work
from pipelines.load.lake import Lake
from pipelines.load.merge import Place, plan
from pipelines.load.parquet import Sizes
from pipelines.load.target import Target
from pipelines.pool import PRELOAD, Pool
from tests.load.disks import QUICK

UPSERT = Target(key=("id",), write="upsert", version="version")
SMALL, LARGE = 1_000_000, 4_000_000
ROW_BYTES = 8 + 8 + 4 + 20
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak")


def rows(ids: Any, version: int) -> pa.Table:
    """Rows of about `ROW_BYTES`."""
    texts = pa.array([f"customer number {number:04d}" for number in range(1_000)])
    columns = {"id": ids, "version": np.full(len(ids), version), "name": texts.take(pa.array(ids % 1_000))}
    return pa.table(columns)


def begin_measuring() -> None:
    """In a worker: its peak is what it has now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """In a worker: the most memory it has had since."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


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
