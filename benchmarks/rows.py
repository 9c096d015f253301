"""Whether a contender wrote the rows that the server served.

A table is brought to one form whatever a contender makes of its types: numbers
as float64 (exact for all that occur), times as milliseconds since 1970, texts as
they are, absent as null. Its checksum is the sum of its rows' hashes, so neither
the order of rows nor their spread over files matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import polars as pl

from benchmarks import tables
from benchmarks.peers.columns import COLUMNS, TIME_FORMAT
from benchmarks.peers.workload import TENFOLD

_TIMES = {"time_hour"}


@dataclass(frozen=True)
class Rows:
    """How many rows, and what they hold."""

    count: int
    checksum: int

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.count + other.count, (self.checksum + other.checksum) % 2**64)


class WrongRows(Exception):
    """A contender's output differs from what was served."""


@lru_cache(maxsize=32)
def served(name: str) -> Rows:
    """What the server serves for the table *name*."""
    if name in TENFOLD:
        once = served(TENFOLD[name])
        return Rows(once.count * tables.REPEATS, once.checksum * tables.REPEATS % 2**64)
    return summed(tables.read(name), name)


def written(files: Iterable[Path], name: str) -> Rows:
    """What the Parquet *files* hold; columns that were not served are left out."""
    total = Rows(0, 0)
    for file in files:
        total += summed(pl.read_parquet(file, columns=list(COLUMNS[name]), hive_partitioning=False), name)
    return total


def check(files: Iterable[Path], name: str) -> int:
    """The number of rows in *files*.

    Raises:
        WrongRows: They are not the rows of the table *name*.
    """
    found, wanted = written(files, name), served(name)
    if found != wanted:
        raise WrongRows(f"{name}: {found.count} rows of {wanted.count}, checksum {found.checksum:x}")
    return found.count


def summed(frame: pl.DataFrame, name: str) -> Rows:
    """Rows and checksum of *frame* in the one form."""
    form = frame.select(_column(column, frame.schema[column], kind) for column, kind in COLUMNS[name].items())
    hashes = form.hash_rows(seed=7)
    # two sums, since one of 64-bit values would not fit
    low, high = int((hashes & 0xFFFFFFFF).sum()), int((hashes // 2**32).sum())
    return Rows(frame.height, (low + high * 2**32) % 2**64)


def _column(name: str, found: pl.DataType, declared: pl.DataType | type[pl.DataType]) -> pl.Expr:
    column = pl.col(name)
    if name in _TIMES:
        moment = column.str.to_datetime(TIME_FORMAT) if found == pl.String else column
        return moment.dt.epoch("ms")
    if declared == pl.String:
        return column.cast(pl.String)
    return column.cast(pl.Float64).fill_nan(None)
