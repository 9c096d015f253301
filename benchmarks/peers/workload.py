"""What every peer is told: the endpoints of a workload and how to ask them.

Imports the standard library only, since dlt's script reads it in an environment of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

IN_FLIGHT = 64
"""Requests at once that anyone may have open where pages can be addressed."""

CHAINS = tuple(f"e{number}" for number in range(1, 9))

TABLES = ("flights", "weather", "planes", "airports", "airlines")
TENFOLD = {f"{name}10": name for name in TABLES}
"""Each table ten times over, by its name."""

ENDPOINTS: dict[str, tuple[str, ...]] = {
    "api": tuple(f"api/{name}" for name in TABLES),
    "x10": tuple(f"api/{name}" for name in TENFOLD),
    "slow": tuple(f"slow/{name}" for name in CHAINS),
    "addressable": tuple(f"addressable/{name}" for name in CHAINS),
    "one": ("api/airlines",),
}

TEXTS = frozenset(
    "carrier tailnum origin dest time_hour name type manufacturer model engine faa dst tzone".split()  # noqa: SIM905
)
REALS = frozenset("temp dewp humid wind_speed wind_gust precip pressure visib lat lon".split())  # noqa: SIM905
"""Columns of texts and of reals, for the peers whose configuration has to say so; all others are integers."""


@dataclass(frozen=True)
class Job:
    """One invocation: fetch the workload from *base_url*, leave Parquet in *folder*."""

    base_url: str
    folder: str
    workload: str

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Paths below the base URL, one for each table."""
        return ENDPOINTS[self.workload]

    def url(self, endpoint: str) -> str:
        """The first page of *endpoint*."""
        return f"{self.base_url}/{endpoint}"

    def file(self, endpoint: str) -> str:
        """Where the table of *endpoint* goes."""
        return f"{self.folder}/{table(endpoint)}.parquet"


def table(endpoint: str) -> str:
    """`api/flights` holds `flights`."""
    return endpoint.rsplit("/", 1)[-1]


def later_pages(url: str, body: Mapping[str, object]) -> list[str]:
    """The pages after the first one at *url*, where its *body* says how many there are."""
    total = body.get("total_pages", 1)
    return [f"{url}?page={page}" for page in range(2, int(str(total)) + 1)]


def job() -> Job:
    """The job on the command line: BASE_URL FOLDER WORKLOAD."""
    base_url, folder, workload = sys.argv[1:4]
    return Job(base_url, folder, workload)
