"""Snapshots as Delta and Iceberg tables: rows and types, once for each commit, whatever becomes of the columns."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from deltalake import DeltaTable, write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

from pipelines.cli import app
from tests.test_reading import load

BIG = 2**53 + 1
MOMENT = datetime(2024, 5, 1, 12, 30, 0, 123000, tzinfo=UTC)
ROWS = pa.table(
    {
        "team": ["a", "b"],
        "count": pa.array([BIG, None], pa.int64()),
        "price": pa.array([Decimal("12.30"), None], pa.decimal128(12, 2)),
        "at": pa.array([MOMENT, None], pa.timestamp("ms", "UTC")),
        "local": pa.array([MOMENT.replace(tzinfo=None), None], pa.timestamp("us")),
        "day": pa.array([date(2024, 5, 1), None]),
        "tags": pa.array([{"names": ["x", "y"], "level": 1}, None]),
        "unsigned": pa.array([2**64 - 1, 0], pa.uint64()),
        "unknown": pa.nulls(2),
    }
)
READ = {
    "team": "a",
    "count": BIG,
    "price": Decimal("12.30"),
    "at": MOMENT,
    "local": MOMENT.replace(tzinfo=None),
    "day": date(2024, 5, 1),
    "tags": {"names": ["x", "y"], "level": 1},
    "unsigned": Decimal(2**64 - 1),
    "unknown": None,
}


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one commit of shop.events."""
    monkeypatch.chdir(tmp_path)
    load(tmp_path / "data", "events", ROWS)
    return tmp_path / "data"


def delta(target: str) -> list[dict[str, Any]]:
    """All rows of a Delta table, as deltalake reads it."""
    return _sorted(pa.table(DeltaTable(target).to_pyarrow_table()).to_pylist())


def iceberg(target: str) -> list[dict[str, Any]]:
    """All rows of the Iceberg table, as pyiceberg reads it."""
    return _sorted(_loaded(target, lambda table: table.scan().to_arrow()).to_pylist())


READERS = pytest.mark.parametrize(("form", "read"), [("delta", delta), ("iceberg", iceberg)], ids=["delta", "iceberg"])
Read = Callable[[str], list[dict[str, Any]]]


def _loaded(target: str, ask: Callable[[Any], Any]) -> Any:
    with closing(SqlCatalog("threadmill", uri=f"sqlite:///{target}/catalog.db")) as catalog:
        return ask(catalog.load_table("shop.events"))


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["team"])


def export(form: str, *more: str, target: str = "exports/events") -> Result:
    return CliRunner().invoke(app, ["export", "shop.events", target, "--format", form, *more])


@READERS
def test_rows_and_types_are_what_was_committed(form: str, read: Read) -> None:
    """Integers above 2^53, decimals, times with zone and without, nested values; what a format lacks is wider."""
    done = export(form)

    rows = read("exports/events")

    assert done.output == "exports/events: 2 rows of commit 1 of shop.events\n"
    assert rows == [READ, {**dict.fromkeys(READ), "team": "b", "unsigned": Decimal(0)}]


@READERS
def test_the_same_commit_is_written_once_and_another_takes_its_place_in_one_step(
    data: Path, form: str, read: Read
) -> None:
    """`--commit` goes back as well."""
    export(form)
    again = orjson.loads(export(form, "--json").stdout)
    load(data, "events", pa.table({"team": ["c"], "count": pa.array([3], pa.int64())}))

    newer = export(form), read("exports/events")
    older = export(form, "--commit", "1"), read("exports/events")

    assert (again["changed"], again["commit"]) == (False, 1)
    assert newer[1] == [{"team": "c", "count": 3}]
    assert [row["count"] for row in older[1]] == [BIG, None]
    assert [one[0].exit_code for one in (newer, older)] == [0, 0]


@READERS
def test_an_export_lies_in_its_folder_whatever_that_is_called(data: Path, form: str, read: Read) -> None:
    export(form, target="Daten für März/events")

    rows = read("Daten für März/events")

    assert [row["team"] for row in rows] == ["a", "b"]
    assert list(Path("Daten für März/events").rglob("*.parquet"))
    assert {path.name for path in data.parent.iterdir()} == {"data", "Daten für März"}


@pytest.mark.parametrize("sign", ["#", "?"])
def test_an_iceberg_export_into_a_folder_that_would_be_cut_short_is_refused(data: Path, sign: str) -> None:
    done = export("iceberg", target=f"no{sign}1/events")

    assert done.exit_code == 2
    assert "has '#' or '?' in its path" in done.stderr
    assert [path.name for path in data.parent.iterdir()] == ["data"]


@READERS
def test_a_dataset_without_rows_becomes_a_table_without_rows(data: Path, form: str, read: Read) -> None:
    load(data, "events", ROWS.slice(0, 0))

    codes = [export(form).exit_code, export(form).exit_code]

    assert codes == [0, 0]
    assert read("exports/events") == []


@READERS
def test_a_column_of_another_type_than_before_is_exported_too(data: Path, form: str, read: Read) -> None:
    export(form)
    load(data, "events", pa.table({"team": ["c"], "count": ["many"]}))

    done = export(form)

    assert done.exit_code == 0, done.output
    assert (read("exports/events")[0]["team"], read("exports/events")[0]["count"]) == ("c", "many")


@READERS
def test_a_value_that_would_change_is_refused_and_the_last_export_stays(data: Path, form: str, read: Read) -> None:
    """Neither format has nanoseconds."""
    export(form)
    load(data, "events", pa.table({"team": ["c"], "at": pa.array([1], pa.timestamp("ns", "UTC"))}))

    done = export(form)

    assert done.exit_code == 1
    assert "'at' is timestamp[ns, tz=UTC], and a value of it does not fit" in done.stderr
    assert [row["team"] for row in read("exports/events")] == ["a", "b"]


def test_a_delta_table_of_something_else_is_left_alone() -> None:
    write_deltalake("mine", pa.table({"x": [1]}))

    done = export("delta", target="mine")

    assert done.exit_code == 2
    assert "is a Delta table of something else" in done.stderr
    assert pa.table(DeltaTable("mine").to_pyarrow_table()).to_pydict() == {"x": [1]}


def test_polars_reads_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")
    export("delta", target="delta")
    export("iceberg", target="iceberg")

    frames = [pl.read_delta("delta"), _loaded("iceberg", lambda table: pl.scan_iceberg(table).collect())]

    assert [sorted(frame["team"]) for frame in frames] == [["a", "b"], ["a", "b"]]


def test_the_example_of_the_help_works() -> None:
    told = CliRunner().invoke(app, ["export", "--help"]).output
    example = told.partition("Example:")[2].strip().replace("usgs", "shop")

    done = CliRunner().invoke(app, shlex.split(example)[1:])

    assert max(map(len, told.splitlines())) <= 80
    assert done.exit_code == 0, done.output
    assert len(delta("exports/events")) == 2


@pytest.mark.parametrize(
    ("form", "module", "package"),
    [("delta", "deltalake", "deltalake"), ("iceberg", "pyiceberg.exceptions", "'pyiceberg[pyarrow,sql-sqlite]'")],
)
def test_without_its_package_a_format_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, form: str, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)

    done = export(form)

    assert done.exit_code == 2
    assert f"pip install {package}" in done.stderr
