"""How an upsert goes: rank what was read, match it with what is live, settle the rest.

Where a key can never move to another partition every partition is a scope of
its own; else all files are one scope, as a row may leave one partition for
another. In a scope the winners of this run are found first. Each live file that
can hold one of them (its least and greatest key tell) is matched. What is left
is new: it stays in the staged parts, or joins a small file of its partition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from pipelines.batch import Part
from pipelines.load.changes import Change, Place, Step, Unit, by_partition, portions, recasts
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.rewrite import Match, Matched, Settle, unpack
from pipelines.load.winners import GONE, PART, Rank, Winners, key_columns

if TYPE_CHECKING:
    import pyarrow as pa

_SMALL_BYTES = 64 * 10**3
_JOIN_FACTOR = 4


class Scope(Struct, frozen=True):
    """Files among which a key is unique: live ones that may be touched, and staged parts in reading order."""

    live: tuple[LiveFile, ...]
    staged: tuple[Part, ...]


def upsert(  # noqa: PLR0913 - the facts that a merge follows from
    place: Place,
    dataset: Dataset,
    staged: Sequence[Part],
    schema: pa.Schema,
    *,
    odd: Sequence[Part],
    stale: frozenset[str],
) -> Step:
    """The first step of merging *staged* into *dataset*.

    *odd* parts have another schema than *schema*; live files that are *stale* are written again anyway.
    """
    key_columns(place, schema)
    if not staged:
        # a full read that is empty, and may be
        return Step((), lambda _: Change(schema=schema, counts={"removed": dataset.rows}))
    merge = _Upsert(place, dataset, schema, stale, frozenset(part.path for part in odd))
    scopes = list(merge.scopes(staged))
    ranks = tuple(Rank(place, scope.staged, schema, hashed=bool(scope.live)) for scope in scopes)
    return Step(ranks, lambda winners: merge.match(scopes, winners))


class _Upsert(Struct, frozen=True):
    place: Place
    dataset: Dataset
    schema: pa.Schema
    stale: frozenset[str]
    odd: frozenset[str]

    def scopes(self, staged: Sequence[Part]) -> Iterator[Scope]:
        if self.place.drops_missing or not self.place.target.keys_stay:
            yield Scope(self._touchable(self.dataset.files, staged), tuple(staged))
            return
        live = by_partition(self.dataset.files)
        for folder, parts in by_partition(staged).items():
            yield Scope(self._touchable(live.pop(folder, []), parts), tuple(parts))

    def match(self, scopes: Sequence[Scope], winners: Sequence[Winners]) -> Step:
        """Match the winners with the live files of their scope."""
        units: list[Unit] = []
        owners: list[int] = []
        for number, (scope, best) in enumerate(zip(scopes, winners, strict=True)):
            for files in portions(scope.live):
                again = self.stale & {file.path for file in files}
                units.append(Match(self.place, files, scope.staged, best, self.schema, again))
                owners.append(number)

        def fold(results: Sequence[Matched]) -> Step:
            found: list[list[Matched]] = [[] for _ in scopes]
            for number, result in zip(owners, results, strict=True):
                found[number].append(result)
            return self.settle([_Settling(self, *each) for each in zip(scopes, winners, found, strict=True)])

        return Step(tuple(units), fold)

    def settle(self, settlings: Sequence[_Settling]) -> Step:
        """Give the winners that are new a place."""
        for settling in settlings:
            settling.sort_out()
        done = {file.path for settling in settlings for file in settling.scope.live}
        done |= {path for settling in settlings for path in settling.gone}  # new rows joined them
        old = [file for file in self.dataset.files if file.path in self.stale - done]
        gone = {path for settling in settlings for path in settling.gone} | {file.path for file in old}
        units = [unit for settling in settlings for unit in settling.units]
        units += recasts(self.place, old, self.schema, self.dataset.files)

        def fold(results: Sequence[tuple[Part, ...]]) -> Change:
            for settling in settlings:
                Path(settling.winners.path).unlink(missing_ok=True)
            added = [part for settling in settlings for part in settling.added]
            return Change(
                tuple(file for file in self.dataset.files if file.path not in gone),
                (*(part for part in added if part.path not in gone), *chain(*results)),
                (
                    *(part for part in added if part.path in gone),
                    *(part for settling in settlings for part in settling.dropped),
                ),
                self.schema,
                _counts(settlings),
            )

        return Step(tuple(units), fold)

    def _touchable(self, files: Sequence[LiveFile], staged: Sequence[Part]) -> tuple[LiveFile, ...]:
        # min and max of a part with other types do not compare with those of live files
        if self.place.drops_missing or any(part.path in self.odd for part in staged):
            return tuple(files)
        return tuple(file for file in files if any(self._overlap(file, part) for part in staged))

    def _overlap(self, file: LiveFile, part: Part) -> bool:
        # times of another unit are texts of another width, which do not compare
        return overlap(file, part, self.place.target.key, texts=not file.older and file.path not in self.stale)


class _Settling:
    """One scope after matching: what is decided, and the units that are still needed."""

    def __init__(self, upsert: _Upsert, scope: Scope, winners: Winners, matched: list[Matched]) -> None:
        self.upsert, self.scope, self.winners, self.matched = upsert, scope, winners, matched
        self.units: list[Unit] = []
        self.added: list[Part] = []
        self.dropped: list[Part] = []
        self.gone: set[str] = set()
        # a deletion needs no place, whether its key is known or not
        deletes = upsert.place.target.deletes
        self._gone: Any = winners.load()[GONE].to_numpy() if deletes else np.zeros(winners.rows, bool)
        self._taken: Any = self._gone.copy()

    @property
    def new(self) -> int:
        """Rows whose key was in no live file."""
        known = sum(sum((one.updated, one.unchanged, one.stale)) for one in self.matched)
        return int(self.winners.rows - self._gone.sum()) - known

    def sort_out(self) -> None:
        """Decide about every live file and staged part."""
        results = chain.from_iterable(one.files for one in self.matched)
        for file, successors in zip(self.scope.live, results, strict=True):
            if successors is not None:
                self.gone.add(file.path)
                self.added += successors
        for one in self.matched:
            self._taken |= unpack(one.taken, self.winners.rows)
        left = self._left()
        numbered = by_partition(self.scope.staged)
        numbers = {part.path: number for number, part in enumerate(self.scope.staged)}
        for folder, parts in numbered.items():
            self._sort_out_folder(folder, {numbers[part.path]: left[numbers[part.path]] for part in parts})

    def _left(self) -> list[int]:
        """For each staged part the rows that need a place."""
        if not self._taken.any():
            return list(self.winners.per_part)
        parts = self.winners.load()[PART].to_numpy()[~self._taken]
        return [int(rows) for rows in np.bincount(parts, minlength=len(self.scope.staged))]

    def _sort_out_folder(self, folder: str, left: dict[int, int]) -> None:
        staged = self.scope.staged
        needed = {number: rows for number, rows in left.items() if rows}
        self.dropped += [staged[number] for number in left if number not in needed]
        joined = self._joined(folder, needed)
        whole = [
            number
            for number, rows in needed.items()
            if not joined and rows == staged[number].rows and staged[number].path not in self.upsert.odd
        ]
        self.added += [staged[number] for number in whole]
        rest = tuple(number for number in needed if number not in whole)
        if rest:
            self.dropped += [staged[number] for number in rest]
            taken = np.packbits(self._taken).tobytes()
            place, schema = self.upsert.place, self.upsert.schema
            self.units.append(Settle(place, folder, rest, staged, joined, self.winners, taken, schema))

    def _joined(self, folder: str, needed: dict[int, int]) -> str:
        """The path of the smallest file of *folder* if the new rows shall join it."""
        here: list[LiveFile | Part] = [file for file in self.upsert.dataset.files if file.path not in self.gone]
        here = [file for file in (*here, *self.added) if file.partition == folder]
        if not needed or not here:
            return ""
        parts = self.scope.staged
        new_bytes = sum(parts[number].size_bytes * rows // parts[number].rows for number, rows in needed.items())
        smallest = min(here, key=lambda file: file.size_bytes)
        # the factor bounds how often a row is written again, and so the number of small files
        if smallest.size_bytes > max(_SMALL_BYTES, _JOIN_FACTOR * new_bytes):
            return ""
        self.gone.add(smallest.path)
        return smallest.path


def overlap(one: LiveFile | Part, other: LiveFile | Part, keys: Sequence[str], *, texts: bool = True) -> bool:
    """Whether the two may hold the same key; where min and max are not known, or texts that do not count, they may."""
    for key in keys:
        left, right = one.stats.get(key), other.stats.get(key)
        if left is None or right is None or type(left[0]) is not type(right[0]):
            continue
        if isinstance(left[0], str) and not texts:
            continue
        if left[1] < right[0] or right[1] < left[0]:
            return False
    return True


def _counts(settlings: Sequence[_Settling]) -> dict[str, int]:
    matched = [one for settling in settlings for one in settling.matched]
    removed = sum(one.removed for one in matched)
    read = sum(part.rows for settling in settlings for part in settling.scope.staged)
    return {
        "new": sum(settling.new for settling in settlings),
        "updated": sum(one.updated for one in matched),
        "unchanged": sum(one.unchanged for one in matched),
        "stale": sum(one.stale for one in matched),
        "duplicates": read - sum(settling.winners.rows for settling in settlings),
        **({"removed": removed} if removed else {}),
    }
