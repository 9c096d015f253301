"""APIs that fail as real ones do cost time, never a row: the same figures with a fifth of all requests going wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from pipelines.config.project import load_project
from pipelines.report.result import RunReport
from pipelines.run import run

ROOT = Path(__file__).parents[1]
DATASETS = (
    "frankfurter/rates",
    "nager/holidays",
    "openmeteo/daily",
    "usgs/events",
    "worldbank/countries",
    "worldbank/indicators",
    "marts/quake_exposure",
    "marts/city_day",
    "marts/country_day",
)
CALM = {"THREADMILL_BUNDLED_LATENCY": "0ms"}
CHAOS = {**CALM, "THREADMILL_BUNDLED_CHAOS": "0.2", "THREADMILL_BUNDLED_SEED": "2"}


@dataclass(frozen=True)
class Both:
    """The bundled project run with and without chaos, each in a folder of its own."""

    calm: RunReport
    chaotic: RunReport


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("chaos")
    yield Both(
        run(load_project(CALM, root=ROOT, data=folder / "calm")),
        run(load_project(CHAOS, root=ROOT, data=folder / "chaotic")),
    )
    shutil.rmtree(folder)


def test_a_fifth_of_all_requests_going_wrong_is_noticed_and_fails_nothing(both: Both) -> None:
    """Some 150 requests; those that come through late with a slow answer count as answered."""
    repeated = sum(resource.retries for resource in both.chaotic.resources)

    assert both.chaotic.problems == []
    assert {resource.verdict for resource in both.chaotic.resources} == {"complete"}
    assert repeated >= 10
    assert sum(resource.retries for resource in both.calm.resources) == 0


@pytest.mark.parametrize("dataset", DATASETS, ids=str)
def test_every_dataset_has_the_same_rows_as_without_chaos(both: Both, dataset: str) -> None:
    calm, chaotic = (f"'{report.data}/parquet/{dataset}/**/*.parquet'" for report in (both.calm, both.chaotic))

    differing = f"(FROM {calm} EXCEPT ALL FROM {chaotic}) UNION ALL (FROM {chaotic} EXCEPT ALL FROM {calm})"

    assert count(f"({differing})") == 0
    assert count(chaotic) > 0


def count(rows: str) -> int:
    return int(duckdb.execute(f"SELECT count(*) FROM {rows}").fetchall()[0][0])


def test_the_verdicts_and_counts_of_the_report_are_the_same(both: Both) -> None:
    def told(report: RunReport) -> list[tuple[object, ...]]:
        return [(r.name, r.verdict, r.rows_read, r.new, r.updated, r.rejected) for r in report.resources]

    assert told(both.chaotic) == told(both.calm)
