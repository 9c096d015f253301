"""dlt's declarative REST source against an API with a fault: `python -m benchmarks.peers.dlt_faults URL FOLDER FAULT`.

The rows go into Parquet files, the state beside them. Run by `python -m benchmarks.comparison`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dlt
from dlt.sources.rest_api import rest_api_source

CURSOR = {"type": "cursor", "cursor_path": "next", "cursor_param": "cursor"}
PAGINATORS: dict[str, dict[str, Any]] = {
    "token": CURSOR,
    "killed": CURSOR,
    "nulls": CURSOR,
    "moved": {"type": "offset", "limit": 100, "total_path": "total"},
    "numbers": {"type": "page_number", "total_path": None},
}
INCREMENTAL = {"start_param": "since", "cursor_path": "updated_at", "initial_value": "2024-01-01T00:00:00Z"}


def main(base_url: str, folder: Path, fault: str) -> None:
    """Load the rows of the API into Parquet files under *folder*."""
    paginator = PAGINATORS.get(fault, {"type": "single_page"})
    source = rest_api_source(
        {"client": {"base_url": base_url, "paginator": paginator}, "resources": resources(fault)},
    )
    destination = dlt.destinations.filesystem(bucket_url=f"file://{folder}")
    pipeline = dlt.pipeline(
        "faults", pipelines_dir=f"{folder}/.pipelines", destination=destination, dataset_name="faults"
    )
    pipeline.run(source, loader_file_format="parquet")


def resources(fault: str) -> list[Any]:
    """The resources of *fault*, as dlt wants them told."""
    rows: dict[str, Any] = {"name": "rows", "endpoint": {"path": "rows", "data_selector": "data"}}
    if fault == "empty":
        return [{**rows, "write_disposition": "replace"}]
    if fault == "absent":
        return [{"name": "gone", "endpoint": {"path": "gone", "data_selector": "data"}}, rows]
    if fault == "lag":
        rows["endpoint"]["incremental"] = {**INCREMENTAL, "lag": 2 * 86_400}
        return [{**rows, "primary_key": "id", "write_disposition": "merge"}]
    if fault == "parents":
        rows["endpoint"] |= {"path": "parents/{resources.parents.id}/rows", "incremental": INCREMENTAL}
        return [{"name": "parents", "endpoint": {"path": "parents", "data_selector": "data"}}, rows]
    return [rows]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
