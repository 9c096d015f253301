"""`python -m benchmarks.scaling`: measure this machine, then tell where the bottleneck moves as loads grow.

Writes the tables of docs/scaling.md, its picture, and benchmarks/scaling.json with
what was measured. `--render` measures nothing. What no command can measure (the API,
the network, shared storage) is given by options.
"""

from __future__ import annotations

import argparse
import gzip
import http.server
import json
import multiprocessing
import os
import tempfile
import time
from contextlib import closing
from dataclasses import asdict, fields
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median

from benchmarks import decode
from benchmarks.scaling_model import Given, Measured, draw, tables
from pipelines.batch import Batch, PageRef
from pipelines.extract.client import Client
from pipelines.extract.connection import Connection
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.request import Request
from pipelines.extract.spool import Plan, Spool
from pipelines.load.target import Target
from pipelines.machine import processors
from pipelines.milled import Recipe
from pipelines.worker import mill

HERE = Path(__file__).resolve().parent
DOCS, FIGURES = HERE.parent / "docs", HERE / "scaling.json"
DOCUMENT, PICTURE = DOCS / "scaling.md", DOCS / "scaling.svg"
BEGIN, END = "<!-- written by python -m benchmarks.scaling -->\n", "<!-- end -->\n"
PAGES, WARM_UP, ROUNDS, WRITTEN = 100, 10, 3, 256_000_000


def main() -> None:
    """Measure, unless told not to, and write what comes of it."""
    asked = _arguments()
    given = Given(**{field.name: getattr(asked, field.name) for field in fields(Given)})
    if not asked.render:
        FIGURES.write_text(json.dumps(asdict(measured()), indent=2) + "\n", encoding="utf-8")
    found = Measured(**json.loads(FIGURES.read_text(encoding="utf-8")))
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    DOCUMENT.write_text(before + BEGIN + told(found, given) + END + rest.partition(END)[2], encoding="utf-8")
    PICTURE.write_text(draw(found, given), encoding="utf-8")
    print(tables(found, given))


def told(measured: Measured, given: Given) -> str:
    """What was measured and given, and the tables, as the document has them."""
    lines = [
        "| measured | |",
        "| --- | --: |",
        f"| cores | {measured.cores} |",
        f"| rows that a core decodes, types and writes | {measured.rows_per_core_s:,.0f} a second |",
        f"| a row as JSON, on the wire (gzip), in the spool, as Parquet | {measured.json_bytes_row:.0f}, "
        f"{measured.wire_bytes_row:.0f}, {measured.spool_bytes_row:.0f}, {measured.parquet_bytes_row:.0f} bytes |",
        f"| CPU to ask for a page, inflate and spool it | {measured.fetch_cpu_s_page * 1000:.2f} ms |",
        f"| disk, written and synced | {measured.disk_bytes_s / 1e6:,.0f} MB/s |",
        "",
        "| given | |",
        "| --- | --: |",
        f"| rows in a page | {given.rows_page:,} |",
        f"| requests that each API allows | {given.requests_s:g} a second |",
        f"| network of a machine | {given.network_bytes_s / 1e6:,.0f} MB/s |",
        f"| shared storage, all machines together | {given.shared_bytes_s / 1e6:,.0f} MB/s |",
        "",
    ]
    return "\n".join([*lines, tables(measured, given), ""])


def measured() -> Measured:
    """The median of a few rounds of each."""
    pages = decode.flights(PAGES)
    with tempfile.TemporaryDirectory(dir=HERE.parent) as folder:
        rounds = [_milled(Path(folder) / str(number), pages) for number in range(ROUNDS)]
        rows = rounds[0][1]
        return Measured(
            cores=processors(),
            rows_per_core_s=round(median(rows / cpu_s for cpu_s, rows, _, _ in rounds)),
            json_bytes_row=round(sum(map(len, pages)) / rows, 1),
            wire_bytes_row=round(sum(len(gzip.compress(page, 6)) for page in pages) / rows, 1),
            spool_bytes_row=round(rounds[0][2] / rows, 1),
            parquet_bytes_row=round(rounds[0][3] / rows, 1),
            fetch_cpu_s_page=round(_fetched(Path(folder) / "fetched", gzip.compress(pages[0], 6)), 6),
            disk_bytes_s=round(median(_disk(Path(folder) / "file") for _ in range(ROUNDS))),
        )


def _milled(folder: Path, pages: list[bytes]) -> tuple[float, int, int, int]:
    """CPU seconds of a worker for *pages*, their rows, and bytes in the spool and as Parquet."""
    with _spool(folder) as spool:
        refs: list[PageRef] = [
            spool.add("flights", str(number), body, status=200, headers={}).ref for number, body in enumerate(pages)
        ]
        recipe = Recipe("bench", "flights", decode.DECLARED, Target(), folder / "store")
        done = mill(Batch("bench", "flights", 0, tuple(refs)), recipe)
    return done.cpu_s, done.rows_read, sum(ref.size_bytes for ref in refs), sum(part.size_bytes for part in done.parts)


def _fetched(folder: Path, body: bytes) -> float:
    """CPU seconds of this process for one page, packed, from another process on loopback."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, body), daemon=True)
    server.start()
    try:
        connection = Connection.model_validate({"base_url": f"http://127.0.0.1:{ours.recv()}"})
        endpoint, client = Endpoint.model_validate({"path": "/"}), Client(connection)
        with closing(client), _spool(folder) as spool:

            def fetch(numbers: range) -> float:
                began = time.process_time()
                for number in numbers:
                    page = client.fetch(Request("GET", connection.url(endpoint.path)), endpoint)
                    spool.add("pages", str(number), page.body, status=page.status, headers=page.headers)
                return (time.process_time() - began) / len(numbers)

            fetch(range(WARM_UP))
            return fetch(range(WARM_UP, WARM_UP + PAGES))
    finally:
        server.kill()
        server.join()


def _serve(pipe: Pipe, body: bytes) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body waits 40 ms for the ACK of the head, and caches go cold

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *told: object) -> None:
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    pipe.send(server.server_port)
    server.serve_forever()


def _disk(path: Path) -> float:
    """Bytes a second that reach the disk."""
    block = os.urandom(4_000_000)
    began = time.monotonic()
    with path.open("wb") as file:
        for _ in range(WRITTEN // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return WRITTEN / (time.monotonic() - began)


def _spool(folder: Path) -> Spool:
    return Spool(folder / "spool", Plan("bench", 0, datetime.now(UTC)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--render", action="store_true", help="measure nothing: use benchmarks/scaling.json")
    for field in fields(Given):
        option = f"--{field.name.replace('_', '-')}"
        parser.add_argument(option, type=type(field.default), default=field.default, help=f"({field.default:g})")
    return parser.parse_args()


if __name__ == "__main__":
    main()
