"""What a run would do to a dataset that is there: folders it would rewrite, columns that would change.

Two pages tell of the rows to come; without them the last commit that changed the
dataset tells what such a run rewrites.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pipelines.errors import PipelineError
from pipelines.load.log import Commit, Dataset, Log
from pipelines.load.partitions import split
from pipelines.load.schema import unify
from pipelines.schemas import differences

if TYPE_CHECKING:
    import pyarrow as pa

_NAMED = 5


class Impact(Struct, frozen=True):
    """Of `partitions` that are there `rewritten` would be, some of them `named`; `basis` says what tells it.

    `rewritten` is None where nothing tells it, a lower bound where two pages do.
    """

    partitions: int = 0
    rewritten: int | None = None
    named: tuple[str, ...] = ()
    schema_changes: tuple[str, ...] = ()
    basis: str = ""


def impact_of(name: str, write: str, head: Commit | None, log: Log) -> Impact:
    """What another run like the last would do to dataset *name*; no API is asked."""
    dataset = head.datasets.get(name) if head else None
    if head is None or dataset is None:
        return Impact(rewritten=0, basis="nothing is there")
    there = _partitions(dataset)
    if write in ("append", "replace"):
        rewritten = there if write == "replace" else []
        return Impact(len(there), len(rewritten), tuple(rewritten[:_NAMED]), basis=f"write: {write}")
    number, replaced = _last_rewritten(name, head, log)
    if replaced is None:
        return Impact(len(there), basis="no commit tells")
    return Impact(len(there), len(replaced), tuple(replaced[:_NAMED]), basis=f"commit {number}")


def with_rows(known: Impact, dataset: Dataset | None, rows: pa.Table | None, *, write: str) -> Impact:
    """*known*, with what *rows* of two pages tell: the folders that they go to, the columns that they have."""
    if rows is None or dataset is None or dataset.schema is None or not rows.num_rows:
        return known
    changes = tuple(differences(dataset.schema, _joined(dataset.schema, rows.schema)))
    if write in ("append", "replace"):
        return Impact(known.partitions, known.rewritten, known.named, changes, known.basis)
    there, folders = _partitions(dataset), {folder for folder, _ in split(rows, dataset.partition_by)}
    hit = [one for one in there if one in folders]
    return Impact(known.partitions, len(hit), tuple(hit[:_NAMED]), changes, "probe, at least")


def _joined(before: pa.Schema, rows: pa.Schema) -> pa.Schema:
    """What the dataset's columns would become."""
    try:
        return unify([before, rows])
    except PipelineError:
        return rows  # the run would end with that error, or set records aside; the types tell why


def _partitions(dataset: Dataset) -> list[str]:
    return sorted({file.partition for file in dataset.files})


def _last_rewritten(name: str, head: Commit, log: Log) -> tuple[int, list[str] | None]:
    """The newest kept commit that changed *name*, and the folders whose files it replaced."""
    after = head
    for number in sorted((one for one in log.numbers() if one < head.n), reverse=True):
        before = log.read(number)
        old, new = (commit.datasets.get(name, Dataset()) for commit in (before, after))
        kept = {file.path for file in new.files}
        if kept != {file.path for file in old.files}:
            return after.n, sorted({file.partition for file in old.files if file.path not in kept})
        after = before
    return 0, None
