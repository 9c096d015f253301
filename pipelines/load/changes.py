"""How staged parts become a change of a dataset, step by step.

Working out a change takes rounds: a `Step` holds units that may run anywhere
and side by side, and folds their results into the next step or the change. A
unit is a small picklable value; the rows it works on stay in the store.

    change = resolve(plan(place, dataset, parts), lambda units: pool.map(work, units))
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from msgspec import Struct, field
from msgspec.structs import astuple

from pipelines.batch import Part
from pipelines.errors import PartitionError, SchemaError
from pipelines.load.disk import DISK, Disk
from pipelines.load.log import Dataset, LiveFile, places
from pipelines.load.parquet import SIZES, PartWriter, Sizes
from pipelines.load.partitions import parse
from pipelines.load.schema import recast, record_schema, same_columns
from pipelines.load.stored import file_schema, groups
from pipelines.load.target import Target

if TYPE_CHECKING:
    import pyarrow as pa

File = TypeVar("File", LiveFile, Part)
_UNIT_BYTES = 32 * 10**6


class Change(Struct, frozen=True):
    """What becomes of a dataset: files that stay, parts that join them, the schema of all.

    `dropped` are staged parts whose rows went elsewhere or nowhere. `counts` says
    what happened to the rows that were read: new, updated, unchanged, stale,
    duplicates, and removed for those that are gone.
    """

    kept: tuple[LiveFile, ...] = ()
    added: tuple[Part, ...] = ()
    dropped: tuple[Part, ...] = ()
    schema: pa.Schema | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class Declared(Protocol):
    """A column whose type is declared; picklable."""

    @property
    def name(self) -> str:
        """Of the column."""

    @property
    def arrow(self) -> pa.DataType:
        """The declared type."""

    def again(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Stored values in that type; `TypeConflict` where one does not fit."""


class Place(Struct, frozen=True):
    """Where a dataset is written, and how; `stats` names columns to keep min/max of.

    `now` is when a version that names no time begins; `full` says that all rows
    of the resource were read, so that one that is missing is gone; `declared` names the
    columns whose declared type is not the one that is stored, and that stored rows shall take.
    """

    store: Path
    tmp: Path
    dataset: str
    target: Target
    stats: tuple[str, ...] = ()
    disk: Disk = DISK
    now: datetime | None = None
    full: bool = False
    declared: tuple[Declared, ...] = ()

    @property
    def name(self) -> str:
        """The dataset with its source, as people call it."""
        return f"{self.store.parent.name}.{self.dataset}"

    @property
    def drops_missing(self) -> bool:
        """Whether live rows that were not read are gone."""
        return self.full and self.target.deletes is not None and self.target.deletes.missing

    def writer(self, sequence: int = 0, sizes: Sizes = SIZES) -> PartWriter:
        """A writer of new parts."""
        return PartWriter(
            self.store, self.dataset, self.target, sequence=sequence, stats=self.stats, sizes=sizes, disk=self.disk
        )


class Unit(Protocol):
    """A picklable piece of work: a struct whose fields name each live file that it reads, by value or by path."""

    def work(self) -> Any:
        """Do it; the result is picklable too."""


class Step(Struct, frozen=True):
    """Units that may run side by side, and what follows from their results (in order)."""

    units: tuple[Unit, ...]
    fold: Callable[[Sequence[Any]], Step | Change]


def work(unit: Unit) -> Any:
    """Do one unit: what a worker process is handed together with it."""
    return unit.work()


def here(units: Iterable[Unit]) -> Iterable[Any]:
    """Do *units* in this process, one after the other."""
    return map(work, units)


def resolve(step: Step | Change, run: Callable[[Iterable[Unit]], Iterable[Any]] = here) -> Change:
    """Go through all steps; *run* does the units of one and gives their results in order."""
    while isinstance(step, Step):
        step = step.fold(list(run(step.units)) if step.units else [])
    return step


class Recast(Struct, frozen=True):
    """Write a stored file again with another schema."""

    place: Place
    path: str
    partition: str
    sequence: int
    schema: pa.Schema

    def work(self) -> tuple[Part, ...]:
        """The new parts."""
        with self.place.writer(self.sequence) as writer:
            for table in groups(self.place.store / self.path):
                writer.write_to(self.partition, recast(table, self.schema))
            return writer.close()


def recasts(
    place: Place, files: Iterable[LiveFile | Part], schema: pa.Schema, live: Sequence[LiveFile] = ()
) -> list[Unit]:
    """A unit for each of *files*; of those that are *live* the new one keeps the place."""
    known = places(live)
    numbered = ((file, file.sequence if isinstance(file, Part) else known[file.path]) for file in files)
    return [Recast(place, file.path, file.partition, number, schema) for file, number in numbered]


def reshapes(place: Place, dataset: Dataset, staged: Iterable[Part]) -> bool:
    """Whether *staged* may change the columns of *dataset*, so that all of its files are looked at."""
    known = dataset.schema
    if known is None or place.target.write == "replace":
        return False
    records = record_schema(known)
    return not all(same_columns(file_schema(place.store / part.path), records) for part in staged if part.rows)


def refuse_unknown(place: Place, columns: Sequence[str]) -> None:
    """Raise `PartitionError` or `SchemaError` where no row has what folders are made from, or rows sorted by."""
    target, hint = place.target, f"columns: {', '.join(columns[:20])}"
    if missing := [one.field for one in map(parse, target.partition_by) if one.field not in columns]:
        message = f"{place.name}: `partition_by` names {missing[0]!r}, which is no column of the rows"
        raise PartitionError(message, hint)
    if missing := [name for name in target.sort_by if name not in columns]:
        raise SchemaError(f"{place.name}: `sort_by` names {missing[0]!r}, which is no column of the rows", hint)


def bringing(
    dataset: Dataset, bring: Callable[[Iterable[LiveFile]], None], run: Callable[[Iterable[Unit]], Iterable[Any]]
) -> Callable[[Iterable[Unit]], Iterable[Any]]:
    """*run*, once those files of *dataset* are brought here that its units name."""

    def brought(units: Iterable[Unit]) -> Iterable[Any]:
        units = list(units)
        names = _texts(units)
        bring([file for file in dataset.files if file.path in names])
        return run(units)

    return brought


def _texts(value: Any) -> set[str]:
    """The paths that *value* names, among other texts in it."""
    if isinstance(value, LiveFile):
        return {value.path}
    if isinstance(value, str):
        return {value}
    if isinstance(value, Mapping):
        value = value.values()
    elif isinstance(value, Struct):
        value = astuple(value)
    elif not isinstance(value, (list, tuple)):
        return set()
    return set().union(*map(_texts, value))


def portions(files: Sequence[LiveFile]) -> Iterator[tuple[LiveFile, ...]]:
    """Neighbours among *files*, as many as make a unit's worth of bytes."""
    portion: list[LiveFile] = []
    for file in files:
        if portion and sum(one.size_bytes for one in (*portion, file)) > _UNIT_BYTES:
            yield tuple(portion)
            portion = []
        portion.append(file)
    if portion:
        yield tuple(portion)


def by_partition(files: Iterable[File]) -> dict[str, list[File]]:
    """*files* by the folder they are in, in their order."""
    found: dict[str, list[File]] = {}
    for file in files:
        found.setdefault(file.partition, []).append(file)
    return found
