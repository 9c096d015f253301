"""Rows for the figures of the lake: made here, the same each time; all contenders read them from the same files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batch import Part
from pipelines.load.merge import Place

BATCH = 1_000_000
FIFTY = 200_000
SMALL_FILES, SMALL_ROWS = 200, 10_000


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


def prepare(folder: Path, count: int, small_files: int = SMALL_FILES) -> None:
    """Write the base, both changes (1 % of the rows, a tenth of them new), rows for 50 partitions, and small groups."""
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "small.parquet").is_file():
        return
    with pq.ParquetWriter(folder / "base.parquet", rows(0, np.arange(1), 1).schema) as writer:
        for first in range(0, count, BATCH):
            writer.write_table(rows(first, np.arange(first, min(first + BATCH, count)), 1))
    changed, new = count // 100 * 9 // 10, count // 100 // 10
    spread = np.sort(np.random.default_rng(1).choice(count, changed, replace=False))
    for name, known, version, start in (
        ("recent", np.arange(count - changed, count), 2, count),
        ("spread", spread, 3, count + new),
    ):
        ids = np.concatenate([known, np.arange(start, start + new)])
        pq.write_table(rows(count, ids, version), folder / f"{name}.parquet")
    fifty = rows(0, np.arange(FIFTY), 1).append_column("team", pa.array(np.arange(FIFTY) % 50))
    pq.write_table(fifty, folder / "fifty.parquet")
    with pq.ParquetWriter(folder / "small.parquet", rows(0, np.arange(1), 1).schema) as writer:
        for first in range(0, small_files * SMALL_ROWS, SMALL_ROWS):
            writer.write_table(rows(first, np.arange(first, first + SMALL_ROWS), 1))


@dataclass(frozen=True, slots=True)
class Stage:
    """Write some row groups of a file into parts of a dataset, one after the other or each into a file of its own."""

    place: Place
    path: Path
    groups: tuple[int, ...]
    each: bool = False

    def work(self) -> list[Part]:
        """The parts."""
        piles = [(number,) for number in self.groups] if self.each else [self.groups]
        return [part for pile in piles for part in self._parts(pile)]

    def _parts(self, groups: Iterable[int]) -> Sequence[Part]:
        with pq.ParquetFile(self.path) as file, self.place.writer(self.groups[0]) as writer:
            for group in groups:
                writer.write(file.read_row_group(group))
            return writer.close()
