"""The guide to scaling says what its model says, and the model what its divisions give."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from benchmarks import scaling
from benchmarks.scaling_model import Given, Measured, bottleneck, draw, seconds, sites

MACHINE = Measured(
    cores=4,
    rows_per_core_s=100_000,
    json_bytes_row=300,
    wire_bytes_row=50,
    spool_bytes_row=100,
    parquet_bytes_row=25,
    fetch_cpu_s_page=0.001,
    disk_bytes_s=250e6,
)


def test_each_thing_that_can_be_short_is_a_division() -> None:
    """A million rows of 10 sources: 1,000 pages, 100 an API; 125 MB to store, 50 MB on the wire."""
    one_machine, *_ = sites(MACHINE)

    found = seconds(10, 10**6, one_machine, MACHINE, Given())

    assert found == {"API": 10.0, "fetching": 1.0, "workers": 2.75, "storage": 0.5, "network": 0.4}


@pytest.mark.parametrize(
    ("site", "sources", "short"),
    [
        pytest.param(0, 1, "API", id="one-source"),
        pytest.param(0, 1_000, "workers", id="one-machine"),
        pytest.param(1, 1_000, "network", id="a-cluster-needs-its-network"),
    ],
)
def test_what_is_short_moves_with_sources_and_machines(site: int, sources: int, short: str) -> None:
    assert bottleneck(seconds(sources, 10**9, sites(MACHINE)[site], MACHINE, Given())) == short


def test_the_guide_shows_what_was_measured() -> None:
    found = Measured(**json.loads(scaling.FIGURES.read_text(encoding="utf-8")))

    document = scaling.DOCUMENT.read_text(encoding="utf-8")

    assert scaling.told(found, Given()) in document, "run `python -m benchmarks.scaling --render`"
    assert scaling.PICTURE.read_text(encoding="utf-8") == draw(found, Given())
    ElementTree.fromstring(draw(found, Given()))  # noqa: S314  # our own picture
