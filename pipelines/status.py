"""What is committed now: one line a dataset, from the newest commit of each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.config.naming import is_name
from pipelines.config.project import Project
from pipelines.extract.daily import count_file, counts_folder, used_today
from pipelines.left_over import left_over, of_left_over
from pipelines.load.lake import Lake
from pipelines.load.stores import sources_of
from pipelines.marts.model import MARTS
from pipelines.tables import print_table

if TYPE_CHECKING:
    from rich.console import Console


def status_of(project: Project) -> list[dict[str, Any]]:
    """Every dataset of every source, configured or committed once, and of the marts, as plain values.

    Raises:
        StoreError: A commit document cannot be read.
    """
    found = []
    names = {source.name: list(source.resources) for source in project.sources}
    data, remote = project.settings.data, project.settings.remote
    told = {**names, MARTS: list(project.marts.marts)}
    others: dict[str, list[str]] = {name: [] for name in sources_of(data, remote) if name not in told and is_name(name)}
    for source, resources in {**told, **others}.items():
        head = Lake(data, source, remote).head()
        committed = head.datasets if head else {}
        gone = left_over(committed, resources)
        for name in {**dict.fromkeys(resources), **committed}:
            dataset = committed.get(name)
            found.append(
                {
                    "dataset": f"{source}.{name}",
                    "rows": dataset.rows if dataset else 0,
                    "files": len(dataset.files) if dataset else 0,
                    "bytes": sum(file.size_bytes for file in dataset.files) if dataset else 0,
                    "state": dataset.state if dataset else None,
                    "is_made": name not in gone,
                    "commit": head.n if head else None,
                    "committed_at": head.created_at.isoformat(timespec="seconds") if head else None,
                }
            )
    return found


def requests_today(project: Project) -> list[str]:
    """For each source with a limit of requests a day, how many it has had."""
    folder = counts_folder(project.settings.data)
    limited = [(source, source.limits.daily) for source in project.sources if source.limits.daily]
    return [
        f"{source.name}: {used_today(count_file(folder, source.origin)):,} of {daily:,} requests today (UTC)"
        for source, daily in limited
    ]


def of_datasets(found: list[dict[str, Any]]) -> list[str]:
    """A line for each dataset that nothing makes any more."""
    names = (one["dataset"].partition(".") for one in found if not one["is_made"])
    return [line for source, _, name in names for line in of_left_over(source, [name], ())]


def show_status(found: list[dict[str, Any]], console: Console) -> None:
    """Print the datasets as a table that fits 80 columns."""
    titles = ("dataset", "rows", "files", "MB", "commit", "watermark")
    print_table(console, titles, map(_row, found), figures=range(1, 5))


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    state = one["state"] or {}
    mark = (state.get("watermark") or {}) if isinstance(state, dict) else {}
    watermark = mark.get("value") or (f"{len(mark['parents']):,} parents" if mark.get("parents") else "")
    numbers = (f"{one['rows']:,}", str(one["files"]), f"{one['bytes'] / 1e6:.2f}", str(one["commit"] or "-"))
    return one["dataset"], *numbers, watermark
