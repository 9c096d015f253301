"""The analyst's script: requests and pandas, page after page, table after table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import requests

from benchmarks.peers.workload import Job, job, later_pages


def main(work: Job) -> None:
    """Fetch each table, then write it."""
    with requests.Session() as session:
        for endpoint in work.endpoints:
            frames = [pd.DataFrame(body["data"]) for body in pages(session, work.url(endpoint))]
            pd.concat(frames, ignore_index=True).to_parquet(work.file(endpoint), index=False)


def pages(session: requests.Session, url: str) -> Iterator[dict[str, Any]]:
    """All pages from *url* on."""
    body = fetch(session, url)
    yield body
    for later in later_pages(url, body):
        yield fetch(session, later)
    while following := body.get("next"):
        body = fetch(session, following)
        yield body


def fetch(session: requests.Session, url: str) -> dict[str, Any]:
    """The decoded body of *url*."""
    response = session.get(url, timeout=30)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


if __name__ == "__main__":
    main(job())
