"""Writes the pages that the server serves: one JSON file a page.

A page is `{"data": [...], "page": N, "next": url or null, "total": rows}`. Its
`next` names the server's real address, so pages belong to one port and lie in
a folder of that port's name; they are written once and kept.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import orjson

from benchmarks import tables
from benchmarks.peers.workload import ENDPOINTS, TENFOLD, table

PAGE_ROWS = 1_000
FORM = 1
"""Counts up when pages change, so that kept ones are written anew."""


def prepare(folder: Path, base_url: str, workloads: tuple[str, ...]) -> None:
    """Make sure that *folder* holds every page of *workloads*."""
    for endpoint in dict.fromkeys(endpoint for workload in workloads for endpoint in ENDPOINTS[workload]):
        stamp = folder / endpoint / "stamp.json"
        wanted = {"form": FORM, "base_url": base_url}
        if stamp.exists() and json.loads(stamp.read_text()) == wanted:
            continue
        shutil.rmtree(stamp.parent, ignore_errors=True)
        write_endpoint(stamp.parent, base_url, endpoint)
        stamp.write_text(json.dumps(wanted))


def served_bytes(folder: Path, workload: str) -> int:
    """Size of all pages of *workload*; reading them leaves them in the page cache."""
    files = (file for endpoint in ENDPOINTS[workload] for file in (folder / endpoint).glob("[0-9]*.json"))
    return sum(len(file.read_bytes()) for file in files)


def write_endpoint(folder: Path, base_url: str, endpoint: str) -> int:
    """Write the pages of *endpoint* as `1.json`, `2.json` ...; returns how many.

    Addressable endpoints say `total_pages` instead of `next`.
    """
    folder.mkdir(parents=True)
    rows = _rows(table(endpoint))
    size = PAGE_ROWS if endpoint.startswith("api/") else tables.CHAIN_PAGE_ROWS
    pages = -(-len(rows) // size)
    for page in range(1, pages + 1):
        body = b'{"data":[' + b",".join(rows[(page - 1) * size : page * size]) + b"],"
        (folder / f"{page}.json").write_bytes(body + _tail(base_url, endpoint, page, pages, len(rows)))
    return pages


def _rows(name: str) -> list[bytes]:
    if name in TENFOLD:
        return _rows(TENFOLD[name]) * tables.REPEATS
    return [orjson.dumps(row) for row in tables.read(name).iter_rows(named=True)]


def _tail(base_url: str, endpoint: str, page: int, pages: int, total: int) -> bytes:
    if endpoint.startswith("addressable/"):
        return b'"page":%d,"total_pages":%d,"total":%d}' % (page, pages, total)
    following = orjson.dumps(f"{base_url}/{endpoint}?page={page + 1}" if page < pages else None)
    return b'"page":%d,"next":%b,"total":%d}' % (page, following, total)
