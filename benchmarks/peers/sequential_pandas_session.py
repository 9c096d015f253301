"""The analyst's script, improved: one session, so one connection for all pages."""

from __future__ import annotations

import requests

from benchmarks.peers.sequential_pandas import main
from benchmarks.peers.workload import job

if __name__ == "__main__":
    with requests.Session() as session:
        main(job(), session.get)
