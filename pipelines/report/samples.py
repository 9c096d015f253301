"""What was set aside in a run: by column and reason, how many records, and one of them as it was kept.

Records were masked before anything of them was written, so what is masked in the
data is masked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from pipelines.errors import PipelineError
from pipelines.load.lake import Lake
from pipelines.load.stores import Remote
from pipelines.report.runs import Document, resources_of

if TYPE_CHECKING:
    import pyarrow as pa

MOST_REASONS = 5
MOST_CHARACTERS = 300
_MOST_ROWS = 50_000


class SetAside(Struct, frozen=True):
    """Records of *resource* that one reason set aside, and the beginning of one of them."""

    resource: str
    column: str
    reason: str
    records: int
    sample: str


def set_aside(run: Document, data: Path, remote: Remote | None = None) -> list[SetAside]:
    """The commonest reasons of each resource of *run* that set records aside; nothing of a commit no longer kept."""
    commits = {source["source"]: source["commit"] for source in run["sources"]}
    found: list[SetAside] = []
    for one in resources_of(run):
        # what failed wrote none: the commit's are those of an earlier run
        if one["rejected"] and not one["problem"] and (number := commits[one["source"]]):
            table = _rejects(data, one["source"], f"{one['resource']}__rejects", number, remote)
            found += _grouped(one["name"], table) if table is not None else []
    return found


def _rejects(data: Path, source: str, dataset: str, number: int, remote: Remote | None) -> pa.Table | None:
    """The rejects that commit *number* wrote, as many as are worth looking at."""
    import pyarrow.dataset as ds

    if not (data / "lake" / source).is_dir():
        return None
    try:
        lake = Lake(data, source, remote)
        commit = lake.log.read(number)
        before = lake.log.read(commit.parent) if commit.parent else None
        old = {file.path for file in before.datasets[dataset].files} if before and dataset in before.datasets else set()
        new = lake.home.addresses(file.path for file in commit.datasets[dataset].files if file.path not in old)
        return ds.dataset(list(new.paths), filesystem=new.filesystem).head(_MOST_ROWS) if new.paths else None
    except (PipelineError, OSError, KeyError):
        return None


def _grouped(resource: str, table: pa.Table) -> Iterator[SetAside]:
    counted = table.group_by(["column", "reason"]).aggregate([("record", "count"), ("record", "min")])
    rows = sorted(counted.to_pylist(), key=lambda row: (-row["record_count"], row["column"], row["reason"]))
    for row in rows[:MOST_REASONS]:
        yield SetAside(resource, row["column"], row["reason"], row["record_count"], _short(row["record_min"]))


def _short(record: str) -> str:
    return record if len(record) <= MOST_CHARACTERS else f"{record[: MOST_CHARACTERS - 1]}…"
