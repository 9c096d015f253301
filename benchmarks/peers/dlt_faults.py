"""dlt's declarative REST source against an API with a fault: `python -m benchmarks.peers.dlt_faults URL FOLDER FAULT`.

Prints how many rows it loaded and what its load packages say. Run by `python -m benchmarks.faults`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import dlt
import pyarrow.parquet as pq
from dlt.sources.rest_api import rest_api_source

PAGINATORS: dict[str, dict[str, object]] = {
    "token": {"type": "cursor", "cursor_path": "next", "cursor_param": "cursor"},
    "moved": {"type": "offset", "limit": 100, "total_path": "total"},
    "error": {"type": "json_link", "next_url_path": "next"},
}


def main(base_url: str, folder: Path, fault: str) -> None:
    """Load the rows of the API into Parquet files under *folder*."""
    source = rest_api_source(
        {
            "client": {"base_url": base_url, "paginator": PAGINATORS[fault]},
            "resources": [{"name": "rows", "endpoint": {"path": fault, "data_selector": "data"}}],
        }
    )
    destination = dlt.destinations.filesystem(bucket_url=f"file://{folder}")
    pipeline = dlt.pipeline(
        "faults", pipelines_dir=f"{folder}/.pipelines", destination=destination, dataset_name="faults"
    )
    pipeline.run(source, loader_file_format="parquet")
    rows = sum(pq.read_metadata(path).num_rows for path in folder.glob("faults/rows/*.parquet"))
    sys.stdout.write(f"{rows} rows, no error\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
