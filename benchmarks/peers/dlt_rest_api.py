"""dlt's declarative REST source into Parquet files, with its defaults or tuned by its documentation.

Tuned: run in a folder whose `.dlt/config.toml` is `dlt_tuned.toml`, with PEER_TUNED=1.
Needs an environment with `dlt[filesystem,parquet]`.
"""

from __future__ import annotations

import os

import dlt
from dlt.sources.rest_api import rest_api_source

from benchmarks.peers.workload import Job, job, table


def main(work: Job, *, tuned: bool) -> None:
    """Fetch all tables of *work* and load them into Parquet files under its folder."""
    source = rest_api_source(
        {
            "client": {"base_url": work.base_url, "paginator": paginator(work)},
            "resource_defaults": {"endpoint": {"data_selector": "data"}},
            "resources": [{"name": table(path), "endpoint": {"path": path}} for path in work.endpoints],
        },
        # the key `parallelized` inside the configuration is accepted and has no effect in 1.31
        parallelized=tuned,
    )
    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=f"{work.folder}/.pipelines",
        destination=dlt.destinations.filesystem(bucket_url=f"file://{work.folder}"),
        dataset_name="bench",
    )
    pipeline.run(source, loader_file_format="parquet")


def paginator(work: Job) -> dict[str, object]:
    """How dlt follows the pages of *work*."""
    if work.workload == "addressable":
        return {"type": "page_number", "base_page": 1, "total_path": "total_pages"}
    return {"type": "json_link", "next_url_path": "next"}


if __name__ == "__main__":
    main(job(), tuned=os.environ.get("PEER_TUNED") == "1")
