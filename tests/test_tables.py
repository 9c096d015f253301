"""Tables in 80 columns, which is what pipes and CI have: whole figures, whole names, brackets as they are."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from rich.console import Console

from pipelines.cli import app
from pipelines.report.result import ResourceReport, RunReport, SourceReport, show
from pipelines.status import show_status
from pipelines.tables import print_table
from tests.runs import answer, batch, saved

SOURCE, DATASET = "warehouse_of_the_north", "order_lines_of_all_customers"


def printed(show: Callable[[Console], None]) -> list[str]:
    out = io.StringIO()
    show(Console(file=out, width=80))
    return out.getvalue().splitlines()


def test_the_table_of_a_run_shows_every_digit_of_many_rows() -> None:
    few = ResourceReport("shop", "orders", "complete", requests=123_457, rows_read=12_345_678, new=12_345_678)
    many = ResourceReport(
        SOURCE, DATASET, "incomplete", rows_read=123_456_789, new=98_765_432, updated=24_691_357, seconds=90_000.0
    )
    report = RunReport("r1", "2024-01-01T00:00:00+00:00", 1.0, "data", (SourceReport("shop", 1, True, (few, many)),))

    lines = printed(lambda console: show(report, console))

    words = [line.split() for line in lines[: lines.index("")]]
    assert max(map(len, lines)) <= 80
    assert [" ".join(figures) for _, *figures in words if figures] == [
        "requests read written new updated s verdict",
        "123,457 12,345,678 12,345,678 12,345,678 - 0.0 complete",
        "- 123,456,789 123,456,789 98,765,432 24,691,357 90000.0 incomplete",
    ]
    assert "".join(name for name, *_ in words) == f"resourceshop.orders{SOURCE}.{DATASET}"


def test_the_places_where_a_run_left_its_report_and_files_are_on_one_line_each() -> None:
    folder = "/" + "a_rather_long_name/" * 6 + "data"
    resource = ResourceReport("shop", "orders", "complete", new=1)
    report = RunReport("r1", "2024-01-01T00:00:00+00:00", 1.0, folder, (SourceReport("shop", 1, True, (resource,)),))

    lines = printed(lambda console: show(report, console))

    assert f"Report:  {folder}/runs/r1.html" in lines
    assert f"Parquet: {folder}/parquet/<source>/<dataset>/" in lines


def test_status_shows_every_digit_beside_a_long_name_and_a_long_watermark() -> None:
    state = {"watermark": {"value": "[/x]" * 15}}
    size = {"rows": 123_456_789_012, "files": 12_345, "bytes": 9_876_543_210_987, "commit": 123_456}

    lines = printed(lambda console: show_status([{"dataset": f"{SOURCE}.{DATASET}", "state": state, **size}], console))

    place = lines[1].index(" 123,456,789,012 12345 9876543.21 123456 ")
    assert max(map(len, lines)) <= 80
    assert "".join(line[:place].strip() for line in lines[1:]) == f"{SOURCE}.{DATASET}"
    assert "".join(line[place + 41 :].strip() for line in lines[1:]) == "[/x]" * 15


def test_explain_shows_the_seconds_of_a_run_of_days(tmp_path: Path) -> None:
    long = (answer(200_000.0, 123_456.7, DATASET), batch(210_000.0, 98_765.4, 98_765.4, resource=DATASET))
    saved(tmp_path, *((SOURCE, event) for event in long), seconds=210_000.0)

    told = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["explain", "--data", str(tmp_path)])

    assert told.exit_code == 0, told.output
    assert max(map(len, told.stdout.splitlines())) <= 80
    assert {"123,457", "98,765"} <= set(told.stdout.split())
    assert "…" not in told.stdout


def test_where_figures_alone_need_more_than_the_width_they_stay_whole() -> None:
    figures = [f"{10**number:,}" for number in range(20, 26)]

    lines = printed(lambda console: print_table(console, ("name", *"abcdef"), [("n", *figures)], figures=range(1, 7)))

    assert lines[-1].split() == ["n", *figures]


def test_brackets_in_a_table_are_no_markup() -> None:
    lines = printed(lambda console: print_table(console, ("[b]", "c"), [("[red]a", "b[/x]")]))

    assert [line.split() for line in lines] == [["[b]", "c"], ["[red]a", "b[/x]"]]
