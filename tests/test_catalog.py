"""The catalog that a run leaves in the data folder: a page, a database of views, and JSON."""

from __future__ import annotations

from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pytest

from pipelines.catalog import write_catalog
from pipelines.config.project import Project, load_project
from pipelines.load.lake import Lake
from pipelines.load.merge import Place, plan, resolve
from pipelines.load.target import Target
from tests.load.disks import QUICK

SHOP = """\
base_url: https://api.shop.example/v1
resources:
  orders:
    path: /orders
    description: One row per order | as the shop has it
    columns: {total: {type: "decimal(12,2)", description: what was paid, unit: EUR}}
  empty: {path: /empty}
"""
MARTS = """\
marts:
  totals: {inputs: {orders: shop.orders}, sql: country_day.sql, description: Sums}
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A source of two resources and a mart; orders and an empty dataset are committed."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SHOP)
    (tmp_path / "config" / "marts.yaml").write_text(MARTS)
    load(tmp_path / "data", "empty", pa.table({"id": pa.array([], pa.int64())}))
    load(tmp_path / "data", "orders", pa.table({"id": [2, 1, None], "note": ["a|b", "<b>", "x\ny"]}))
    return load_project({"THREADMILL_DATA": str(tmp_path / "data")}, root=tmp_path)


def load(data: Path, dataset: str, table: pa.Table) -> None:
    """One run that replaces *dataset*."""
    lake, target = Lake(data, "shop", disk=QUICK), Target(write="replace", allow_empty=True)
    with lake.lock("run"):
        draft = lake.begin("run")
        place = Place(lake.store, lake.tmp, dataset, target, disk=QUICK)
        with place.writer() as writer:
            writer.write(table)
            parts = writer.close()
        draft.set_files(dataset, resolve(plan(place, draft.dataset(dataset), parts)), target)
        draft.set_state(dataset, {"rows": len(table)})
        lake.commit(draft)


def asked(data: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(data / "catalog.duckdb"), read_only=True) as connection:
        return list(connection.execute(query).fetchall())


def test_the_page_shows_rows_spans_words_samples_and_lineage(project: Project) -> None:
    write_catalog(project)

    page = (project.settings.data / "CATALOG.md").read_text()

    assert "| [shop.orders](#shoporders) | 3 |" in page
    assert "One row per order \\| as the shop has it" in page
    assert "| id | int64 |  | 1 | 2 |  |" in page
    assert "| 2 | a\\|b |\n| 1 | &lt;b> |\n|  | x y |" in page
    assert "Made from `https://api.shop.example/v1/orders`." in page
    assert "Used by `marts.totals`." in page


def test_the_database_shows_the_newest_commit_even_before_it_is_written_again(project: Project) -> None:
    data = project.settings.data
    write_catalog(project)

    load(data, "orders", pa.table({"id": [7], "note": ["new"]}))

    assert asked(data, "SELECT id, note FROM shop.orders") == [(7, "new")]
    assert asked(data, "SELECT comment FROM duckdb_views() WHERE view_name = 'orders'") == [
        ("One row per order | as the shop has it",)
    ]


def test_with_nothing_new_nothing_is_written_and_a_new_commit_is(project: Project) -> None:
    data = project.settings.data
    first, again = write_catalog(project), write_catalog(project)
    before = (data / "catalog.duckdb").stat().st_ino

    load(data, "orders", pa.table({"id": [7], "note": ["new"]}))
    after = write_catalog(project)

    assert (first, again, after) == (True, False, True)
    # the views are the same, and one who has the database open keeps it
    assert (data / "catalog.duckdb").stat().st_ino == before
    assert orjson.loads((data / "catalog.json").read_bytes())["datasets"][-1]["rows"] == 1
    assert not list(data.glob(".*"))


def test_a_dataset_that_became_empty_is_a_view_without_rows(project: Project) -> None:
    data = project.settings.data
    load(data, "orders", pa.table({"id": pa.array([], pa.int64()), "note": pa.array([], pa.string())}))

    write_catalog(project)

    assert asked(data, "SELECT id, note FROM shop.orders") == []


def test_a_run_of_other_sources_forgets_no_words(project: Project) -> None:
    write_catalog(project)
    (project.settings.data.parent / "config" / "shop.yaml").rename(project.settings.data.parent / "config" / "shop.off")
    (project.settings.data.parent / "config" / "other.yaml").write_text(SHOP)
    data = project.settings.data

    write_catalog(load_project({"THREADMILL_DATA": str(data)}, root=data.parent))

    assert "One row per order \\| as the shop has it" in (data / "CATALOG.md").read_text()


def test_a_damaged_catalog_is_written_anew(project: Project) -> None:
    data = project.settings.data
    write_catalog(project)
    (data / "catalog.json").write_text("{")
    (data / "catalog.duckdb").write_text("no database")

    assert write_catalog(project)
    assert asked(data, "SELECT count(*) FROM shop.orders") == [(3,)]
