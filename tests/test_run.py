"""The whole path: five APIs in, datasets and marts of Parquet out, the figures right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import orjson
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.config.project import Project, load_project
from pipelines.report.quake_report import page, week
from pipelines.report.result import ResourceReport, RunReport
from pipelines.run import run

ROOT = Path(__file__).parents[1]
_ROWS = {
    "frankfurter/rates": 50_825,
    "nager/holidays": 1_335,
    "openmeteo/daily": 2_922,
    "usgs/events": 1_707,
    "worldbank/countries": 299,
    "marts/quake_exposure": 1_707,
    "marts/city_day": 2_922,
    "marts/country_day": 116,
}


@dataclass(frozen=True)
class Finished:
    """The bundled project after one run and after a second one that found nothing new."""

    project: Project
    data: Path
    first: RunReport
    second: RunReport
    files_after_first: dict[str, int]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    data = tmp_path_factory.mktemp("data")
    project = load_project({}, root=ROOT, data=data)
    first = run(project)
    files = _files(data)
    yield Finished(project, data, first, run(project), files)
    shutil.rmtree(data)


def _files(data: Path) -> dict[str, int]:
    return {str(path.relative_to(data)): path.stat().st_ino for path in (data / "parquet").rglob("*.parquet")}


def _value(query: str) -> float:
    (row,) = duckdb.execute(query).fetchall()
    return float(row[0])


def test_every_resource_of_every_bundled_api_is_committed(finished: Finished) -> None:
    report = finished.first

    assert report.problems == []
    assert report.exit_code == 0
    assert {r.name: r.verdict for r in report.resources if r.verdict != "complete"} == {}


@pytest.mark.parametrize("dataset", _ROWS, ids=str)
def test_four_readers_see_the_same_rows_by_glob(finished: Finished, dataset: str) -> None:
    folder = finished.data / "parquet" / dataset
    glob = f"{folder}/**/*.parquet"

    counts = {
        "pandas": len(pd.read_parquet(folder)),
        "pyarrow": ds.dataset(folder, partitioning="hive").count_rows(),
        "duckdb": _value(f"SELECT count(*) FROM '{glob}'"),
        "polars": pl.scan_parquet(glob).select(pl.len()).collect().item(),
    }

    assert counts == dict.fromkeys(counts, _ROWS[dataset])


@pytest.mark.parametrize(
    ("figure", "query"),
    [
        pytest.param(1_707, "SELECT count(DISTINCT event_id) FROM quake_exposure", id="events"),
        pytest.param(47, "SELECT count(DISTINCT country_code) FROM quake_exposure", id="countries"),
        pytest.param(1_624, "SELECT count(rate) FROM quake_exposure", id="with-an-ecb-rate"),
        pytest.param(619_312_885, "SELECT sum(people_50km) FROM quake_exposure", id="people-within-50-km"),
        pytest.param(2_864_742_365, "SELECT sum(people_100km) FROM quake_exposure", id="people-within-100-km"),
        pytest.param(15_137_788_623, "SELECT sum(people_250km) FROM quake_exposure", id="people-within-250-km"),
        pytest.param(6.4, "SELECT max(mag) FROM quake_exposure", id="largest-magnitude"),
        pytest.param(85, "SELECT count(*) FROM quake_exposure WHERE mag >= 4.5", id="of-magnitude-4.5-and-more"),
        pytest.param(115.29, "SELECT round(avg(km_to_city), 2) FROM quake_exposure", id="km-to-the-nearest-city"),
        pytest.param(8_604.6, "SELECT round(sum(precipitation_mm), 1) FROM city_day", id="mm-of-rain"),
        pytest.param(86, "SELECT count(holiday) FROM city_day", id="holidays"),
        pytest.param(116, "SELECT count(*) FROM country_day", id="countries-and-days"),
        pytest.param(8, "SELECT count(DISTINCT date) FROM country_day", id="days"),
    ],
)
def test_the_figures_of_the_marts_come_out(finished: Finished, figure: float, query: str) -> None:
    """Figures that were computed independently of this code, with plain pandas and NumPy."""
    mart = query.split("FROM ")[1].split(maxsplit=1)[0]
    rows = f"'{finished.data}/parquet/marts/{mart}/**/*.parquet'"

    assert _value(query.replace(f"FROM {mart}", f"FROM {rows}")) == figure


def test_all_files_of_a_dataset_have_one_schema_statistics_and_zstd(finished: Finished) -> None:
    for dataset in _ROWS:
        files = sorted((finished.data / "parquet" / dataset).rglob("*.parquet"))
        schemas = [pq.read_schema(file).remove_metadata() for file in files]
        column = pq.read_metadata(files[0]).row_group(0).column(0)

        assert all(schema.equals(schemas[0]) for schema in schemas), dataset
        assert (column.compression, column.is_stats_set) == ("ZSTD", True)


def test_the_folder_that_analysts_glob_holds_complete_parquet_files_only(finished: Finished) -> None:
    strangers = [p for p in (finished.data / "parquet").rglob("*") if p.is_file() and p.suffix != ".parquet"]

    assert strangers == []
    assert not any(path.is_symlink() for path in (finished.data / "parquet").rglob("*"))


def test_a_second_run_finds_nothing_new_and_rewrites_no_file(finished: Finished) -> None:
    report = finished.second

    assert report.problems == []
    assert (report.rows, report.changed) == (0, False)
    assert _files(finished.data) == finished.files_after_first


def test_a_second_run_asks_incremental_resources_for_news_only(finished: Finished) -> None:
    requests = {r.name: (r.requests, later.requests) for r, later in _pairs(finished)}

    assert requests["usgs.events"][1] < requests["usgs.events"][0]
    assert requests["frankfurter.rates"] == (26, 1)
    assert requests["openmeteo.daily"][1] < requests["openmeteo.daily"][0]


def _pairs(finished: Finished) -> list[tuple[ResourceReport, ResourceReport]]:
    return list(zip(finished.first.resources, finished.second.resources, strict=True))


def test_the_report_is_saved_as_json_and_says_the_same(finished: Finished) -> None:
    saved = json.loads((finished.data / "runs" / f"{finished.first.run_id}.json").read_text())

    assert saved.pop("timeline").keys() >= {"totals", "spans"}
    assert saved == orjson.loads(finished.first.to_json())
    assert saved["exit_code"] == 0


def test_the_demo_page_shows_the_events_of_the_newest_week(finished: Finished) -> None:
    events = week(finished.data)

    text = page(events)

    assert events["time"].max() - events["time"].min() < pd.Timedelta(days=7)
    assert text.count("<circle") == len(events) > 1000
    assert "Hualian, Taiwan, with 14.1 million people around it" in text


def test_a_finished_run_leaves_only_the_pages_that_are_kept_for_replay(finished: Finished) -> None:
    spooled = [path.relative_to(finished.data / "spool") for path in (finished.data / "spool").rglob("*.pages")]

    assert {path.parts[1] for path in spooled} == {"kept"}


def test_an_api_that_is_down_fails_alone_and_its_marts_wait(tmp_path: Path, project_copy: Callable[..., Path]) -> None:
    """Four sources commit; the fifth and the mart that needs it are reported."""
    root = project_copy(tmp_path)
    settings = root / "config" / "usgs.yaml"
    text = settings.read_text().replace("https://earthquake.usgs.gov", "http://127.0.0.1:9")
    settings.write_text(text.replace("resources:", "retry: {attempts: 2, wait: 10ms}\nresources:", 1))

    report = run(load_project({}, root=root, data=tmp_path / "data"))

    failed = dict(report.problems)
    assert set(failed) == {"usgs.events"}
    assert failed["usgs.events"].kind == "HttpError"
    assert "127.0.0.1:9" in failed["usgs.events"].message
    assert report.exit_code == 1
    assert {r.name for r in report.resources if r.verdict == "skipped"} == {"marts.quake_exposure", "marts.country_day"}
    assert {r.name for r in report.resources if r.new} >= {"nager.holidays", "marts.city_day"}


@pytest.fixture
def project_copy() -> Callable[..., Path]:
    """Copies the repository's configuration to where a test may change it."""

    def copy(to: Path) -> Path:
        shutil.copytree(ROOT / "config", to / "config")
        return to

    return copy
