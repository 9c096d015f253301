"""The essay's shape taken literally: all threads fetch, then pickled frames go to a process pool.

A thread for each table decodes its pages into one frame; processes type and
write it. Frames cross the boundary whole.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pandas as pd
import requests
from requests.adapters import HTTPAdapter

from benchmarks.peers.workload import IN_FLIGHT, Job, job, later_pages


def main(work: Job) -> None:
    """Fetch side by side, then transform and write in two processes."""
    with ProcessPoolExecutor(2) as processes, requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=2 * IN_FLIGHT))
        with ThreadPoolExecutor(len(work.endpoints)) as tables, ThreadPoolExecutor(IN_FLIGHT) as pages:
            frames = [tables.submit(extract, session, work.url(endpoint), pages) for endpoint in work.endpoints]
            written = [
                processes.submit(transform, frame.result(), work.file(endpoint))
                for endpoint, frame in zip(work.endpoints, frames, strict=True)
            ]
        for done in written:
            done.result()


def extract(session: requests.Session, url: str, pool: ThreadPoolExecutor) -> pd.DataFrame:
    """One table; pages whose address is known ahead are fetched side by side."""
    body = fetch(session, url)
    frames = [pd.DataFrame(body["data"])]
    frames += [pd.DataFrame(later["data"]) for later in pool.map(lambda u: fetch(session, u), later_pages(url, body))]
    while following := body.get("next"):
        body = fetch(session, following)
        frames.append(pd.DataFrame(body["data"]))
    return pd.concat(frames, ignore_index=True)


def transform(frame: pd.DataFrame, file: str) -> None:
    """Give the columns their types and write them."""
    if "time_hour" in frame:
        frame["time_hour"] = pd.to_datetime(frame["time_hour"])
    frame.convert_dtypes().to_parquet(file, index=False, compression="zstd")


def fetch(session: requests.Session, url: str) -> dict[str, Any]:
    """The decoded body of *url*."""
    response = session.get(url, timeout=30)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


if __name__ == "__main__":
    main(job())
