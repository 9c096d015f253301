"""`make run`: the flow with Prefect's embedded API, in a fresh folder, with nothing but the program."""

from __future__ import annotations

import sqlite3

import pyarrow.parquet as pq
import pytest

from tests.flows.conftest import EmbeddedRun, worker_modules

pytestmark = pytest.mark.timeout(300)


def test_the_run_commits_and_says_what_prefect_cost(embedded_run: EmbeddedRun) -> None:
    said = embedded_run.ended

    rows = pq.read_table(embedded_run.folder / "data/parquet/shop/orders").num_rows

    assert (said.code, rows) == (0, 40), said
    assert "shop.orders" in said.out
    assert "60 rows written" in said.out
    assert "Prefect (embedded API): " in said.out.splitlines()[-1]
    assert said.err.strip() == ""


def test_prefect_lives_in_the_folder_of_the_project_and_nowhere_else(embedded_run: EmbeddedRun) -> None:
    folder = embedded_run.folder

    kept = {path.name for path in folder.iterdir()}

    assert (embedded_run.home / "prefect.db").is_file()
    assert kept == {".prefect", "config", "data", "noted", "recorder", "transforms"}
    assert not (embedded_run.home / "storage").exists()


def test_no_process_of_the_run_connects_to_another_machine(embedded_run: EmbeddedRun) -> None:
    noted = embedded_run.folder / "noted"

    connections = set((noted / "connections").read_text().split())
    names = set((noted / "names").read_text().split())

    assert connections == {"127.0.0.1"}
    assert names <= {"127.0.0.1", "localhost"}


def test_workers_of_a_flow_run_never_import_prefect(embedded_run: EmbeddedRun) -> None:
    modules = worker_modules(embedded_run.folder / "noted")

    found = {name for worker in modules for name in worker if name.split(".")[0] in ("prefect", "flows", "requests")}

    assert modules
    assert found == set()


def test_the_end_of_every_task_is_recorded_before_the_embedded_api_ends(embedded_run: EmbeddedRun) -> None:
    with sqlite3.connect(embedded_run.home / "prefect.db") as database:
        tasks = dict(database.execute("SELECT name, state_name FROM task_run"))
        flows = list(database.execute("SELECT name, state_name FROM flow_run"))

    assert flows == [("sync", "Completed")]
    assert tasks == {
        "extract shop.orders": "Completed",
        "mill shop.orders": "Completed",
        "extract shop.refunds": "Completed",
        "mill shop.refunds": "Completed",
        "commit shop.orders": "Completed",
        "commit shop.refunds": "Completed",
    }
