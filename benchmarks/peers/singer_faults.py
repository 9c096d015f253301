"""A tap of the Meltano Singer SDK and a target against a fault: `... singer_faults URL FOLDER FAULT TAP TARGET`.

`tap-rest-api-msdk` reads what its configuration names, `target-jsonl` writes it; this script joins them by
a pipe and keeps the state between runs, as a runner does. Run by `python -m benchmarks.comparison`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CURSOR = {
    "pagination_request_style": "jsonpath_paginator",
    "next_page_token_path": "$.next",
    "pagination_next_page_param": "cursor",
}
ONE_PAGE = {"pagination_request_style": "single_page_paginator", "next_page_token_path": "$.next"}
PAGINATORS: dict[str, dict[str, Any]] = {
    "token": CURSOR,
    "killed": CURSOR,
    "nulls": CURSOR,
    "moved": {
        "pagination_request_style": "offset_paginator",
        "pagination_response_style": "offset",
        "next_page_token_path": "$.pagination",
        "pagination_page_size": 100,
        "pagination_initial_offset": 0,
    },
    "numbers": {"pagination_request_style": "page_number_paginator", "next_page_token_path": "$.more"},
}


def main(base_url: str, folder: Path, fault: str, tap: str, target: str) -> int:
    """Tap into target; the exit code is that of whichever failed."""
    state, configuration = folder / "state.json", folder / "tap.json"
    configuration.write_text(json.dumps(told(base_url, fault)))
    (folder / "target.json").write_text(json.dumps({"destination_path": str(folder), "do_timestamp_file": False}))
    known = state.read_text().splitlines() if state.exists() else []
    command = [tap, "--config", str(configuration)]
    if known:
        (folder / "known.json").write_text(known[-1])
        command += ["--state", str(folder / "known.json")]
    with state.open("w") as new:
        reading = subprocess.Popen(command, stdout=subprocess.PIPE)
        writing = subprocess.Popen([target, "--config", str(folder / "target.json")], stdin=reading.stdout, stdout=new)
        if reading.stdout is not None:
            reading.stdout.close()
        return max(abs(reading.wait()), abs(writing.wait()))


def told(base_url: str, fault: str) -> dict[str, Any]:
    """The API as the tap wants it told."""
    rows: dict[str, Any] = {"name": "rows", "path": "/rows", "records_path": "$.data[*]", "primary_keys": ["id"]}
    streams = [rows]
    if fault == "absent":
        streams = [{**rows, "name": "gone", "path": "/gone"}, rows]
    if fault == "lag":
        rows |= {
            "replication_key": "updated_at",
            "start_date": "2024-01-01T00:00:00Z",
            "source_search_field": "since",
            "source_search_query": "$last_run_date",
        }
    return {"api_url": base_url, "streams": streams, **PAGINATORS.get(fault, ONE_PAGE)}


if __name__ == "__main__":
    address, where, which, *programs = sys.argv[1:]
    sys.exit(main(address, Path(where), which, *programs))
