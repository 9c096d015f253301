"""What is printed when a run has ended, used as it is copied from there."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.report.result import ResourceReport, RunReport, SourceReport, show


@pytest.mark.parametrize("name", ["data", 'it\'s "here"', "[red]a", "a*", "a?", "a" * 100])
def test_the_lines_that_read_the_rows_read_them_whatever_the_name_of_the_folder(tmp_path: Path, name: str) -> None:
    """Three rows, and none of a folder that its name matches as a pattern."""
    for data, rows in ((tmp_path / name, 3), (tmp_path / "ab", 1)):
        (data / "parquet/shop/orders").mkdir(parents=True)
        pq.write_table(pa.table({"id": range(rows)}), data / "parquet/shop/orders/1.parquet")
    resource = ResourceReport("shop", "orders", verdict="complete", new=3)
    source = SourceReport("shop", 1, True, (resource,))
    out = io.StringIO()

    show(
        RunReport("r1", "2024-01-01T00:00:00+00:00", 1.0, str(tmp_path / name), (source,)), Console(file=out, width=80)
    )

    told = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.getvalue().splitlines()[-3:]}
    tools = {"pd": pd, "pl": pl}
    counts = {tool: len(eval(told[tool], tools)) for tool in ("pandas", "Polars")}  # noqa: S307 - as they are promised
    counts["DuckDB"] = len(duckdb.connect().execute(told["DuckDB"]).fetchall())
    assert counts == dict.fromkeys(counts, 3)
    assert str(tmp_path / name) in out.getvalue().replace("\n", "")


def test_records_that_were_set_aside_are_told_below_the_table() -> None:
    resource = ResourceReport("shop", "orders", verdict="complete", new=3, rejected=1_200)
    source = SourceReport("shop", 1, True, (resource,))
    out = io.StringIO()

    show(RunReport("r1", "2024-01-01T00:00:00+00:00", 1.0, "data", (source,)), Console(file=out, width=80))

    assert "warning: shop.orders: 1,200 records are set aside in shop.orders__rejects" in out.getvalue()
