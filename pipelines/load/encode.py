"""From staged parts to Parquet files of a good size, once it is known which of them stay.

A batch is as large as workers need to be busy, and a file as large as readers
like: so what batches gave is put together here, partition by partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from pipelines.batch import Part
from pipelines.load.changes import Change, Place, Step
from pipelines.load.compact import Merge
from pipelines.load.parquet import SIZES
from pipelines.load.stored import STAGED
from pipelines.machine import processors

_LEAST_BYTES = 16 * 10**6
"""Staged rows that are worth a processor of their own: about 100,000."""
_MOST_BYTES = 8 * SIZES.file_bytes
"""Staged rows that make one file: Parquet takes an eighth of their room, or less."""
_MOST_AT_ONCE = 4


def encoded(place: Place, change: Change) -> Step | Change:
    """The step after which *change* adds Parquet files only; the staged parts among them are dropped."""
    staged = [part for part in change.added if part.path.endswith(STAGED)]
    if not staged or change.schema is None:
        return change
    piles = list(_piles(sorted(staged, key=lambda part: (part.partition, part.sequence))))
    units = tuple(Merge(place, tuple(pile), change.schema, SIZES.file_bytes, pile[0].sequence) for pile in piles)
    others = tuple(part for part in change.added if not part.path.endswith(STAGED))

    def fold(results: Sequence[tuple[Part, ...]]) -> Change:
        return replace(change, added=(*others, *chain(*results)), dropped=(*change.dropped, *staged))

    return Step(units, fold)


def _piles(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Runs of *parts* that are encoded one beside the other; a partition is divided only if it fills one alone."""
    total = sum(part.size_bytes for part in parts)
    room = min(max(total // min(processors(), _MOST_AT_ONCE), _LEAST_BYTES), _MOST_BYTES)
    pile: list[Part] = []
    size = of_partition = 0
    for part in parts:
        is_new = not pile or part.partition != pile[-1].partition
        if pile and size >= room and (is_new or of_partition >= room):
            yield pile
            pile, size, of_partition = [], 0, 0
        of_partition = part.size_bytes + (0 if is_new else of_partition)
        size += part.size_bytes
        pile.append(part)
    if pile:
        yield pile
