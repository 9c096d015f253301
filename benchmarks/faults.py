"""Faults on purpose: what Threadmill and dlt do with an API that misbehaves. `python -m benchmarks.faults`.

Three faults, one server, each tool as a process of its own with twenty seconds:
a token that comes again, a row that moves between pages, an error body under 200.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import HERE, ROOT, environment
from tests.fake_api import Answer, Asked, FakeApi, fake_api, say

ROWS, PAGE, SECONDS = 250, 100, 20
FAULTS = {
    "token": ("a token that comes again", "paginate: {cursor: {from: next, param: cursor}}"),
    "moved": ("a row that moves between pages", "paginate: {offset: {size: 100, size_param: limit, total: total}}"),
    "error": ("an error body under HTTP 200", "paginate: {next_url: next}"),
}


def serve(api: FakeApi) -> None:
    """The three faults, anew for each tool."""
    rows = [{"id": number} for number in range(ROWS)]

    def moved(asked: Asked) -> Answer:
        start = int(asked.params.get("offset", 0))
        page = say({"data": rows[start : start + PAGE], "total": len(rows)})
        if start == 0 and len(rows) == ROWS:
            del rows[0]  # the first row goes, and all others move up by one
        return page

    api.route("/token", lambda asked: say({"data": [{"id": api.calls["/token"]}], "next": "the-same"}))
    api.route("/moved", moved)
    api.answer("/error", say({"error": {"code": "QUOTA", "message": "try again tomorrow"}}))


def tried(command: Sequence[str], api: FakeApi, fault: str) -> str:
    """How *command* ended, and how many requests it made."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        told = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
        ended = _threadmill(done.stdout) if "pipelines" in command else told[-1]
    except subprocess.TimeoutExpired:
        ended = f"still asking after {SECONDS} s"
    return f"{ended}; {api.calls[f'/{fault}']:,} requests"


def _threadmill(printed: str) -> str:
    """What the report of a run says of its one resource."""
    (resource,) = json.loads(printed)["sources"][0]["resources"]
    problem = f" ({resource['problem']['kind']})" if resource["problem"] else ""
    return f"{resource['new'] + resource['updated']} rows, {resource['verdict']}{problem}"


def main() -> None:
    """Print one line for each fault and tool, as a Markdown table."""
    python = str(environment(ROOT / "data" / "bench" / "dlt", HERE / "peers" / "dlt.lock"))
    print("| fault | Threadmill | dlt 1.31 |\n| --- | --- | --- |")
    for fault, (title, paginate) in FAULTS.items():
        ended = []
        for tool in ("threadmill", "dlt"):
            with fake_api() as api, tempfile.TemporaryDirectory() as name:
                serve(api)
                folder = Path(name)
                resource = f"{{path: /{fault}, records: data, {paginate}, key: id, write: replace}}"
                (folder / "api.yaml").write_text(f"base_url: {api.url}\nresources:\n  rows: {resource}\n")
                ours = [sys.executable, "-m", "pipelines", "run", "--json", "--config", name, "--data", f"{name}/data"]
                dlt = [python, "-m", "benchmarks.peers.dlt_faults", api.url, name, fault]
                ended.append(tried(ours if tool == "threadmill" else dlt, api, fault))
        print(f"| {title} | {' | '.join(ended)} |", flush=True)


if __name__ == "__main__":
    main()
