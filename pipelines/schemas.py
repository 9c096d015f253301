"""The schemas that a run committed, and how they differ from those before it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import PipelineError
from pipelines.load.lake import Lake
from pipelines.load.log import Commit, Dataset
from pipelines.load.stores import Remote

if TYPE_CHECKING:
    import pyarrow as pa

SchemaChange = str
"""One sentence on one column."""


def committed(
    data: Path, source: str, number: int | None, remote: Remote | None = None
) -> Iterator[tuple[str, Dataset, list[SchemaChange]]]:
    """Each dataset of commit *number* of *source*, with what became of its columns; nothing if it is not kept."""
    commit = _kept(data, source, number, remote)
    if commit is None:
        return
    before = _kept(data, source, commit.parent, remote)
    for name, dataset in sorted(commit.datasets.items()):
        yield name, dataset, changes(before.datasets.get(name) if before else None, dataset)


def changes(before: Dataset | None, after: Dataset) -> list[SchemaChange]:
    """What became of the columns of a dataset; nothing for its first commit."""
    if before is None or before.schema is None or after.schema is None:
        return []
    return differences(before.schema, after.schema)


def differences(before: pa.Schema, after: pa.Schema) -> list[SchemaChange]:
    """What became of the columns from one schema to the other."""
    old, new = ({field.name: str(field.type) for field in schema} for schema in (before, after))
    gone = [f"column {name} is gone" for name in old if name not in new]
    added = [f"column {name} is new: {kind}" for name, kind in new.items() if name not in old]
    return (
        gone
        + added
        + [f"column {name} was {old[name]}, is {new[name]}" for name in new if old.get(name, new[name]) != new[name]]
    )


def of_renamed(
    where: str, moved: Mapping[str, str], before: Collection[str], after: Collection[str], filled: Collection[str]
) -> tuple[str, ...]:
    """A warning, once, for each field that has *moved* to a new column while stored rows keep it in the old one.

    Not of a column that rows just read have *filled* as well.
    """
    old, new = {*before} & {*after} - {*filled}, {*after} - {*before}
    return tuple(
        f"{where}: {field!r} is {column!r} from now on, and stored rows keep the old column; "
        f"`threadmill drop {where}` has all read anew"
        for field, column in moved.items()
        if field in old and column in new
    )


def _kept(data: Path, source: str, number: int | None, remote: Remote | None) -> Commit | None:
    if not number or not (data / "lake" / source).is_dir():
        return None
    try:
        return Lake(data, source, remote).log.read(number)
    except PipelineError:
        return None
