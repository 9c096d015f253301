"""tap-rest-api-msdk into a Parquet target of the same SDK, joined by a pipe, with the SDK's defaults.

The types are declared, from the first record of each table: the tap would infer them from 50 records,
and the target refuse what comes later. Needs the environment of `singer_tap.lock`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

from benchmarks.peers.workload import REALS, TEXTS, Job, job, table


def main(work: Job) -> int:
    """Tap into target; the exit code is that of whichever failed."""
    configuration = Path(work.folder) / "tap.json"
    streams = [_stream(work, endpoint) for endpoint in work.endpoints]
    paging = {"pagination_request_style": "page_number_paginator", "next_page_token_path": "$.next"}
    configuration.write_text(json.dumps({"api_url": work.base_url, "streams": streams, **paging}))
    tap = [str(Path(sys.executable).with_name("tap-rest-api-msdk")), "--config", str(configuration)]
    target = [sys.executable, "-c", "from benchmarks.peers.singer_parquet import main; main()", work.folder]
    reading = subprocess.Popen(tap, stdout=subprocess.PIPE)
    writing = subprocess.Popen(target, stdin=reading.stdout)
    if reading.stdout is not None:
        reading.stdout.close()
    return max(abs(reading.wait()), abs(writing.wait()))


def _stream(work: Job, endpoint: str) -> dict[str, object]:
    with urlopen(work.url(endpoint)) as answer:  # noqa: S310  # the address is ours
        first = json.load(answer)["data"][0]
    kinds = {name: "string" if name in TEXTS else "number" if name in REALS else "integer" for name in first}
    columns = {name: {"type": ["null", kind]} for name, kind in kinds.items()}
    schema = Path(work.folder) / f"{table(endpoint)}.schema.json"
    schema.write_text(json.dumps({"type": "object", "properties": columns}))
    return {"name": table(endpoint), "path": f"/{endpoint}", "records_path": "$.data[*]", "schema": str(schema)}


if __name__ == "__main__":
    sys.exit(main(job()))
