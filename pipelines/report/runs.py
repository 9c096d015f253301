"""The runs that are kept beside the data, as their reports say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from pipelines.errors import ConfigError, StoreError

KEPT_PAGES = 100
KEPT_REPORTS = 1_000
Document = dict[str, Any]
"""A saved report, as `RunReport.save` wrote it."""


def run_ids(data: Path) -> list[str]:
    """The ids of all kept runs, the newest first."""
    return sorted((path.stem for path in (data / "runs").glob("*.json")), reverse=True)


def read_run(data: Path, run_id: str | None = None) -> Document:
    """The report of a run; of the newest without *run_id*, which may also be the end or start of an id.

    Raises:
        ConfigError: There is no such run, or several.
        StoreError: Its report cannot be read.
    """
    known = run_ids(data)
    if not known:
        raise ConfigError(f"{data / 'runs'} has no run", "run `threadmill run` first")
    found = [one for one in known if not run_id or one.startswith(run_id) or one.endswith(run_id)]
    if not found or (run_id and run_id not in found and len(found) > 1):
        amount = f"{len(found)} runs" if found else "no run"
        raise ConfigError(
            f"{data / 'runs'} has {amount} {run_id!r}", f"the newest is {known[0]}; `threadmill runs` lists them"
        )
    return _read(data / "runs" / f"{run_id if run_id in found else found[0]}.json")


def forget_old(data: Path) -> None:
    """Remove all but the newest pages and reports; `threadmill report` makes a page anew while its report is there."""
    for kept, suffix in ((KEPT_PAGES, ".html"), (KEPT_REPORTS, ".json")):
        for path in sorted((data / "runs").glob(f"*{suffix}"), reverse=True)[kept:]:
            path.unlink(missing_ok=True)


def list_runs(data: Path) -> Iterator[Document]:
    """What a list of runs shows of each, the newest first; reports that cannot be read are left out."""
    for run_id in run_ids(data):
        try:
            yield _summary(_read(data / "runs" / f"{run_id}.json"))
        except (StoreError, KeyError, TypeError):
            continue


def resources_of(run: Document) -> list[Document]:
    """All resources and marts of *run*, each with its `name`."""
    return [
        {**resource, "name": f"{source['source']}.{resource['resource']}"}
        for source in run["sources"]
        for resource in source["resources"]
    ]


def rows_written(run: Document) -> int:
    """Rows that *run* added or changed."""
    return sum(one["new"] + one["updated"] for one in resources_of(run))


def _read(path: Path) -> Document:
    try:
        return dict(orjson.loads(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {error}", "remove it; the data does not need it") from None


def _summary(run: Document) -> Document:
    resources = resources_of(run)
    return {
        "run": run["run_id"],
        "started_at": run["started_at"],
        "seconds": round(run["seconds"], 3),
        "requests": sum(one["requests"] for one in resources),
        "rows_written": rows_written(run),
        "failed": [one["name"] for one in resources if one["verdict"] == "failed"],
        "exit_code": run["exit_code"],
    }
