"""Few files of a good size instead of many small ones; the rows stay the same.

In each partition neighbours that are small are written into one, and a file
whose columns are not those of the dataset is written again, so that a plain
glob reads all of them as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from msgspec import Struct

from pipelines.batch import Part
from pipelines.load.changes import Change, Place, Step, by_partition
from pipelines.load.log import Dataset, LiveFile, places
from pipelines.load.parquet import Sizes
from pipelines.load.schema import recast, same_columns
from pipelines.load.stored import file_schema, groups

if TYPE_CHECKING:
    import pyarrow as pa


class Merge(Struct, frozen=True):
    """Write the rows of *files*, in their order, into as few new ones as their size allows."""

    place: Place
    files: tuple[LiveFile | Part, ...]
    schema: pa.Schema
    file_bytes: int
    sequence: int = 0

    def work(self) -> tuple[Part, ...]:
        """The new parts; memory: what a writer holds back."""
        with self.place.writer(self.sequence, sizes=Sizes(file_bytes=self.file_bytes)) as writer:
            for file in self.files:
                for table in groups(self.place.store / file.path):
                    writer.write_to(file.partition, recast(table, self.schema))
            return writer.close()


def compact(place: Place, dataset: Dataset, file_bytes: int) -> Step | Change:
    """The step that merges the small files of *dataset*, those below half of *file_bytes*.

    Raises:
        StoreError: A file is gone.
    """
    schema = dataset.schema
    if schema is None:
        return Change(dataset.files)
    odd = {file.path for file in dataset.files if not same_columns(file_schema(place.store / file.path), schema)}
    piles = [tuple(pile) for files in by_partition(dataset.files).values() for pile in _piles(files, file_bytes)]
    piles = [pile for pile in piles if len(pile) > 1 or pile[0].path in odd]
    gone = {file.path for pile in piles for file in pile}
    kept = tuple(file for file in dataset.files if file.path not in gone)
    if not piles:
        return Change(kept, schema=schema)

    def fold(results: Sequence[tuple[Part, ...]]) -> Change:
        return Change(kept, tuple(chain(*results)), (), schema, {"unchanged": dataset.rows})

    first = places(dataset.files)
    return Step(tuple(Merge(place, pile, schema, file_bytes, first[pile[0].path]) for pile in piles), fold)


def _piles(files: Sequence[LiveFile], file_bytes: int) -> Iterator[list[LiveFile]]:
    """Runs of neighbours that fit into one; a file that is large enough is a run of its own."""
    pile: list[LiveFile] = []
    for file in files:
        is_large = any(one.size_bytes * 2 > file_bytes for one in (file, *pile))
        if pile and (is_large or sum(one.size_bytes for one in (*pile, file)) > file_bytes):
            yield pile
            pile = []
        pile.append(file)
    if pile:
        yield pile
