"""From what batches gave to Parquet files of a good size, once it is known which of it stays.

A batch is as large as workers need to be busy, and a file as large as readers
like: so parts are put together here, partition by partition. Row groups that a
worker has encoded are moved as they are; rows that are only staged are encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from msgspec.structs import replace

from pipelines.batch import Part
from pipelines.load.changes import Change, Place, Step, Unit
from pipelines.load.compact import Merge
from pipelines.load.parquet import SIZES
from pipelines.load.splice import Splice
from pipelines.load.stored import STAGED
from pipelines.machine import processors

_LEAST_BYTES = 16 * 10**6
"""Staged rows that are worth a processor of their own: about 100,000."""
_MOST_BYTES = 8 * SIZES.file_bytes
"""Staged rows that make one file: Parquet takes an eighth of their room, or less."""
_MOST_AT_ONCE = 4
_SPLICED_BYTES = 4 * SIZES.file_bytes
"""Row groups that make one file; moving them costs no memory."""


def encoded(place: Place, change: Change) -> Step | Change:
    """The step after which *change* adds Parquet files of a good size; the parts that they are made of are dropped."""
    if change.schema is None:
        return change
    # what takes the place of a file among those that stay keeps it
    movable = [part for part in change.added if part.sequence >= 0 or not change.kept]
    parts = sorted(movable, key=lambda part: (part.partition, part.sequence))
    units: list[Unit] = []
    if place.target.as_they_come and not all(map(_is_staged, parts)):
        piles = [pile for pile in _files(parts) if len(pile) > 1]
        units += [Splice(place, tuple(pile), change.schema) for pile in piles]
    else:
        piles = list(_piles([part for part in parts if _is_staged(part)]))
        units += [Merge(place, tuple(pile), change.schema, SIZES.file_bytes, pile[0].sequence) for pile in piles]
    if not units:
        return change
    used = {part.path for pile in piles for part in pile}
    others = tuple(part for part in change.added if part.path not in used)
    gone = tuple(part for part in change.added if part.path in used)

    def fold(results: Sequence[tuple[Part, ...]]) -> Change:
        return replace(change, added=(*others, *chain(*results)), dropped=(*change.dropped, *gone))

    return Step(tuple(units), fold)


def _is_staged(part: Part) -> bool:
    return part.path.endswith(STAGED)


def _files(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Runs of *parts* that fit into one file; what is only staged is never left alone."""
    pile: list[Part] = []
    size = 0
    for part in parts:
        part_size = part.size_bytes // (8 if _is_staged(part) else 1)
        if size + part_size > _SPLICED_BYTES and not all(map(_is_staged, pile)) and not _is_staged(part):
            yield pile
            pile, size = [], 0
        pile.append(part)
        size += part_size
    if pile:
        yield pile


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
