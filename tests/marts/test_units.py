"""Tests of planning, splitting and making a mart of any kind."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import ConfigError, SchemaError, StoreError, TransformError
from pipelines.marts.model import Mart, Marts
from pipelines.marts.query import run_query
from pipelines.marts.units import FileRows, MartUnit, divide, make, plan, read_input, resolve
from tests.marts.conftest import Files, MakeMart

EVENTS = {"inputs": {"events": "usgs.events"}}


@pytest.fixture
def numbers(tmp_path: Path) -> list[FileRows]:
    """0 to 99 in files of 40, 0, 1 and 59 rows, in row groups of 7."""
    files = []
    for at, (start, stop) in enumerate([(0, 40), (40, 40), (40, 41), (41, 100)]):
        path = tmp_path / f"numbers-{at}.parquet"
        pq.write_table(pa.table({"n": pa.array(range(start, stop), pa.int64())}), path, row_group_size=7)
        files.append(FileRows(str(path), 0, stop - start))
    return files


@pytest.mark.parametrize("pieces", [1, 2, 3, 7, 40, 100, 1000])
def test_pieces_hold_every_row_once_and_in_order(numbers: list[FileRows], pieces: int) -> None:
    divided = divide(numbers, pieces)

    sizes = [sum(file.rows for file in piece) for piece in divided]
    assert len(divided) == min(pieces, 100)
    assert max(sizes) - min(sizes) <= 1
    assert [n for piece in divided for n in read_input(piece)["n"].to_pylist()] == list(range(100))


def test_units_made_in_two_processes_equal_those_made_here(marts: Marts, inputs: Files, exposure: pa.Table) -> None:
    units = plan("quake_exposure", marts.marts["quake_exposure"], inputs, 2)

    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        tables = list(pool.map(make, units))

    assert pa.concat_tables(tables).equals(exposure)


def test_a_unit_is_small_whatever_it_stands_for(marts: Marts, inputs: Files) -> None:
    units = plan("quake_exposure", marts.marts["quake_exposure"], inputs, 2)

    assert max(len(pickle.dumps(unit)) for unit in units) < 5_000


def test_a_query_makes_the_mart_of_countries_and_days(make_mart: MakeMart, exposure: pa.Table, tmp_path: Path) -> None:
    # a folder's name may have characters that mean something in SQL or in a glob
    files = [tmp_path / "it's [1]*.parquet", tmp_path / "two.parquet"]
    for file, start in zip(files, (0, 1000), strict=True):
        pq.write_table(exposure.slice(start, 1000), file)

    table = make_mart("country_day", {"marts.quake_exposure": files}, 4)

    assert table.num_rows == 116
    assert len(set(table["date"].to_pylist())) == 8
    assert sum(table["events"].to_pylist()) == 1707
    assert sum(table["events_m45"].to_pylist()) == 85
    keys = list(zip(table["date"].to_pylist(), table["country_code"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT * FROM read_csv('{file}')", id="reads-another-file"),
        pytest.param("COPY (SELECT 1) TO '{file}'", id="writes-a-file"),
        pytest.param("SET enable_external_access = true", id="unlocks-itself"),
        pytest.param("INSTALL httpfs", id="installs-an-extension"),
        pytest.param("SELECT * FROM query", id="sees-our-variables"),
    ],
)
def test_a_query_reaches_nothing_but_its_inputs(tmp_path: Path, query: str) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    (tmp_path / "mart.sql").write_text(query.format(file=other))

    with pytest.raises(Exception, match=r"disabled|locked|does not exist"):
        run_query(tmp_path / "mart.sql", {})

    assert other.read_text() == "a\n1\n"


def test_an_input_that_was_never_committed_is_named(marts: Marts, inputs: Files) -> None:
    files = {**inputs, "frankfurter.rates": []}

    with pytest.raises(TransformError, match=r"quake_exposure: its input frankfurter\.rates has no rows yet") as caught:
        plan("quake_exposure", marts.marts["quake_exposure"], files, 2)

    assert "run the source frankfurter first" in caught.value.hint


def test_a_missing_file_is_a_store_error(marts: Marts, inputs: Files, tmp_path: Path) -> None:
    files = {**inputs, "usgs.events": [tmp_path / "gone.parquet"]}

    with pytest.raises(StoreError, match=r"gone\.parquet"):
        plan("quake_exposure", marts.marts["quake_exposure"], files, 2)


def test_a_file_that_goes_between_plan_and_make_is_a_store_error(numbers: list[FileRows]) -> None:
    Path(numbers[0].path).unlink()

    with pytest.raises(StoreError, match=r"numbers-0\.parquet"):
        read_input(numbers)


def test_files_with_different_types_do_not_fit(numbers: list[FileRows], tmp_path: Path) -> None:
    other = tmp_path / "text.parquet"
    pq.write_table(pa.table({"n": ["a"]}), other)

    with pytest.raises(SchemaError, match="do not fit"):
        read_input([*numbers, FileRows(str(other), 0, 1)])


def test_an_input_without_a_column_fails_with_the_mart_and_function(numbers: list[FileRows]) -> None:
    files = tuple(numbers)
    unit = MartUnit("city_day", "city_day:city_day", 0, (("weather", files), ("holidays", files), ("rates", files)))

    with pytest.raises(TransformError, match=r"mart city_day: city_day:city_day failed with KeyError.*place"):
        make(unit)


def test_a_described_column_must_come_out(marts: Marts, inputs: Files) -> None:
    described = marts.marts["city_day"].model_copy(update={"columns": {"sunshine_h": "Hours of sun"}})
    (unit,) = plan("city_day", described, inputs, 1)

    with pytest.raises(TransformError, match="no column sunshine_h"):
        make(unit)


def test_what_a_function_returns_must_be_a_table() -> None:
    with pytest.raises(TransformError, match="returned str"):
        make(MartUnit("odd", "model:code_digest", 0, ()))


@pytest.mark.parametrize("maker", ["os:system", "nothing:here", "../x:y", "city_day:nothing", "data.x:y"])
def test_only_functions_of_the_marts_folder_are_found(maker: str) -> None:
    with pytest.raises(ConfigError):
        resolve(maker)


def test_making_a_mart_imports_neither_requests_nor_prefect() -> None:
    code = (
        "import sys; from pipelines.marts.units import resolve\n"
        "resolve('quake_exposure:quake_exposure'); resolve('city_day:city_day')\n"
        "print(sorted({'requests', 'prefect', 'flows'} & set(sys.modules)))"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


def test_a_mart_without_split_by_is_one_unit(numbers: list[FileRows]) -> None:
    mart = Mart(**EVENTS, function="city_day:city_day")

    (unit,) = plan("any", mart, {"usgs.events": [Path(file.path) for file in numbers]}, 8)

    assert [file.rows for file in dict(unit.inputs)["events"]] == [40, 0, 1, 59]


@pytest.mark.parametrize("name", ["quake_exposure", "city_day", "country_day"])
def test_a_bundled_mart_of_inputs_without_a_row_has_its_columns(
    marts: Marts, inputs: Files, exposure: pa.Table, name: str
) -> None:
    schemas = {dataset: pq.read_schema(files[0]) for dataset, files in inputs.items()}
    units = plan(name, marts.marts[name], {}, 4, {**schemas, "marts.quake_exposure": exposure.schema})

    tables = [make(unit) for unit in units]

    assert [table.num_rows for table in tables] == [0]
    assert set(marts.marts[name].columns) <= set(tables[0].column_names)
