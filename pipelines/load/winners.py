"""Which of the rows just read stands for its key.

The greatest version wins, of equal ones the row read last. The winners' keys
and places go to a file that every worker of the merge maps into memory.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Struct

from pipelines.batch import Part
from pipelines.errors import KeyMissing
from pipelines.load.changes import Place
from pipelines.load.disk import store_errors
from pipelines.load.duplicates import best
from pipelines.load.open_part import stage
from pipelines.load.schema import recast
from pipelines.load.stored import groups

Hashes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint64]]
PART, ROW, HASH, VERSION, GONE = "·part", "·row", "·hash", "·version", "·gone"
_SEED = 20_240_229


def row_hashes(table: pa.Table) -> Hashes:
    """A 64-bit hash of each row, equal for equal rows of one schema; of use within one run."""
    return _frame(table).hash_rows(seed=_SEED).to_numpy()


def key_columns(place: Place, schema: pa.Schema) -> list[str]:
    """The columns that a merge compares.

    Raises:
        KeyMissing: The rows have no such column.
    """
    wanted = [*place.target.key, *([place.target.version] if place.target.version else [])]
    if missing := [name for name in wanted if name not in schema.names]:
        raise KeyMissing(
            f"{place.dataset}: no row has the column {missing[0]!r}", f"columns: {', '.join(schema.names[:20])}"
        )
    return list(dict.fromkeys(wanted))


def key_frame(place: Place, table: pa.Table, schema: pa.Schema) -> pl.DataFrame:
    """Key (and version, under a name of its own) of each row, in the types of *schema*."""
    columns = key_columns(place, schema)
    here = table.select([name for name in table.column_names if name in columns])
    frame = _frame(recast(here, _only(schema, columns)))
    version = place.target.version
    return frame.select(*place.target.key, *([pl.col(version).alias(VERSION)] if version else []))


def _frame(table: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(table))


def _only(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    return pa.schema([schema.field(name) for name in columns])


class Winners(Struct, frozen=True):
    """The rows that stand for their keys: `rows` of them in the file `path`, which `load` reads.

    `per_part` says how many each staged part has.
    """

    path: str
    rows: int
    per_part: tuple[int, ...]

    def load(self) -> pl.DataFrame:
        """Keys, version, part, row and hash of each winner, and whether it is a deletion; mapped, not copied."""
        with store_errors("reading the keys of this run"), pa.memory_map(self.path) as file:
            return _frame(pa.ipc.open_file(file).read_all())


class Rank(Struct, frozen=True):
    """Find the winners among *staged*, which are in the order they were read."""

    place: Place
    staged: tuple[Part, ...]
    schema: pa.Schema
    hashed: bool

    def work(self) -> Winners:
        """The winners, written to a file in `tmp/`.

        Raises:
            KeyMissing: A row has no value for its key.
        """
        frame = pl.concat(self._keys())
        winners = self._best(frame)
        path = self.place.tmp / f"keys-{uuid.uuid4().hex}.arrow"
        with store_errors("writing the keys of this run"):
            stage(path, winners.to_arrow(), self.place.disk)
        numbers = winners[PART].to_numpy()
        return Winners(str(path), len(winners), tuple(np.bincount(numbers, minlength=len(self.staged)).tolist()))

    def _best(self, frame: pl.DataFrame) -> pl.DataFrame:
        keys = list(self.place.target.key)
        nulls = frame.select(pl.any_horizontal(pl.col(keys).is_null()).sum()).item()
        if nulls:
            raise KeyMissing(
                f"{self.place.dataset}: {nulls} rows have no value for their key ({', '.join(keys)})",
                "choose a key that every record has",
            )
        return best(frame, keys, VERSION if self.place.target.version else None)

    def _keys(self) -> Iterator[pl.DataFrame]:
        deletes = self.place.target.deletes
        columns = None if self.hashed or deletes else key_columns(self.place, self.schema)
        for number, part in enumerate(self.staged):
            first = 0
            for table in groups(self.place.store / part.path, columns):
                frame = key_frame(self.place, table, self.schema)
                rows = pl.int_range(first, first + len(frame), dtype=pl.Int64, eager=True).alias(ROW)
                hashes: Any = row_hashes(recast(table, self.schema)) if self.hashed else np.zeros(len(frame), np.uint64)
                gone = deletes.marked(table, self.schema.names) if deletes else np.zeros(len(frame), bool)
                yield frame.with_columns(
                    pl.lit(number, pl.Int32).alias(PART),
                    rows,
                    pl.Series(HASH, hashes, dtype=pl.UInt64),
                    pl.Series(GONE, gone, dtype=pl.Boolean),
                )
                first += len(frame)
