"""Chaos is the same for the same seed, and never for ever."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests

from pipelines.demo import serve
from pipelines.demo.faults import KINDS, MOST_IN_A_ROW, Faults

USGS = "https://earthquake.usgs.gov"
QUERY = "/fdsnws/event/1/query?format=geojson&starttime=2018-01-31&limit=20&offset={}"
KNOWN = {"200", "429", "429 with Retry-After", "500", "503", "cut", "truncated"}


def outcome(url: str) -> str:
    """What a client sees: a status, or how the connection failed."""
    try:
        answer = requests.get(url, timeout=30)
    except requests.exceptions.ChunkedEncodingError:
        return "truncated"
    except requests.exceptions.ConnectionError:
        return "cut"
    return f"{answer.status_code}{' with Retry-After' if 'Retry-After' in answer.headers else ''}"


def outcomes(seed: int, threads: int, requests_each: int = 3) -> list[list[str]]:
    """For each of 24 requests what its first attempts met, asked by so many threads."""

    def attempts(url: str) -> list[str]:
        return [outcome(url) for _ in range(requests_each)]

    with serve(latency="0ms", chaos=0.4, seed=seed) as origins, ThreadPoolExecutor(threads) as pool:
        return list(pool.map(attempts, [origins[USGS] + QUERY.format(1 + 20 * page) for page in range(24)]))


def test_the_same_seed_gives_the_same_faults_to_any_number_of_threads() -> None:
    alone = outcomes(seed=1, threads=1)

    together = outcomes(seed=1, threads=8)

    assert alone == together
    assert {met for attempts in alone for met in attempts} == KNOWN


def test_no_request_fails_more_than_twice_in_a_row() -> None:
    """Even where each request would fail, the third attempt is answered."""
    faults = Faults(1.0, seed=1)

    met = [faults.next("GET /page") for _ in range(9)]

    assert [fault is None for fault in met] == [False, False, True] * 3
    assert MOST_IN_A_ROW == 2


def test_a_share_of_the_requests_goes_wrong_in_every_way() -> None:
    """About a fifth of 2,000 requests, in seven ways; another seed picks others."""
    first = [Faults(0.2, seed=1).next(f"GET /{number}") for number in range(2000)]

    second = [Faults(0.2, seed=2).next(f"GET /{number}") for number in range(2000)]

    kinds = Counter(fault for fault in first if fault)
    assert 300 < kinds.total() < 500
    assert set(kinds) == set(KINDS)
    assert first != second


def test_without_chaos_nothing_goes_wrong() -> None:
    faults = Faults(0.0)

    met = {faults.next(f"GET /{number}") for number in range(1000)}

    assert met == {None}
