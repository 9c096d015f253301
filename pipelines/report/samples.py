"""What was set aside in a run: by column and reason, how many records, and such a record as it is kept.

Records were masked before anything of them was written, so what is masked in the
data is masked here.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from pipelines.errors import PipelineError
from pipelines.load.lake import Lake
from pipelines.load.stores import Remote
from pipelines.report.runs import Document, resources_of

MOST_REASONS = 5
MOST_CHARACTERS = 300
_MOST_ROWS = 50_000


class SetAside(Struct, frozen=True):
    """Records of *resource* that one reason set aside, and the beginning of such a record, if one is kept."""

    resource: str
    column: str
    reason: str
    records: int
    sample: str


def set_aside(run: Document, data: Path, remote: Remote | None = None) -> list[SetAside]:
    """The commonest reasons of each resource of *run* that set records aside."""
    commits = {source["source"]: source["commit"] for source in run["sources"]}
    found: list[SetAside] = []
    for one in resources_of(run):
        reasons = one.get("reasons", ())[:MOST_REASONS]  # reports of older versions have none
        kept = _kept(data, one["source"], one["resource"], commits[one["source"]], remote) if reasons else {}
        found += [
            SetAside(one["name"], **each, sample=_short(kept.get((each["column"], each["reason"]), "")))
            for each in reasons
        ]
    return found


def _kept(
    data: Path, source: str, resource: str, number: int | None, remote: Remote | None
) -> dict[tuple[str, str], str]:
    """A record for each column and reason, of the newest that commit *number* has; nothing where it is not kept."""
    import pyarrow.dataset as ds

    if number is None or not (data / "lake" / source).is_dir():
        return {}
    try:
        lake = Lake(data, source, remote)
        files = lake.log.read(number).datasets[f"{resource}__rejects"].files
        if not files:
            return {}
        newest_first = lake.home.addresses(file.path for file in reversed(files))
        table = ds.dataset(list(newest_first.paths), filesystem=newest_first.filesystem).head(_MOST_ROWS)
    except (PipelineError, OSError, KeyError):
        return {}
    rows = table.group_by(["column", "reason"]).aggregate([("record", "min")]).to_pylist()
    return {(row["column"], row["reason"]): row["record_min"] for row in rows}


def _short(record: str) -> str:
    return record if len(record) <= MOST_CHARACTERS else f"{record[: MOST_CHARACTERS - 1]}…"
