"""The analyst's script: requests and pandas, page after page, table after table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import requests

from benchmarks.peers.workload import Job, job, later_pages

Get = Callable[..., requests.Response]


def main(work: Job, get: Get = requests.get) -> None:
    """Fetch each table by *get*, then write it."""
    for endpoint in work.endpoints:
        frames = [pd.DataFrame(body["data"]) for body in pages(get, work.url(endpoint))]
        pd.concat(frames, ignore_index=True).to_parquet(work.file(endpoint), index=False)


def pages(get: Get, url: str) -> Iterator[dict[str, Any]]:
    """All pages from *url* on."""
    body = fetch(get, url)
    yield body
    for later in later_pages(url, body):
        yield fetch(get, later)
    while following := body.get("next"):
        body = fetch(get, following)
        yield body


def fetch(get: Get, url: str) -> dict[str, Any]:
    """The decoded body of *url*."""
    response = get(url, timeout=30)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


if __name__ == "__main__":
    main(job())
