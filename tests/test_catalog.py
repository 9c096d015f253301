"""The catalog that a run leaves in the data folder: a page, a database of views, and JSON."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pyarrow as pa
import pytest

from pipelines.catalog import write_catalog
from pipelines.catalog_page.snippets import snippets
from pipelines.config.project import Project, load_project
from pipelines.errors import Busy
from pipelines.load.lake import Lake
from pipelines.load.lock import in_turn
from pipelines.load.merge import Place, plan, resolve
from pipelines.load.target import Target
from tests.browser import browser
from tests.load.disks import QUICK

ROOT = Path(__file__).parents[1]
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


def load(
    data: Path, dataset: str, table: pa.Table, *, partition_by: tuple[str, ...] = (), source: str = "shop"
) -> None:
    """One run that replaces *dataset*."""
    lake = Lake(data, source, disk=QUICK)
    target = Target(write="replace", allow_empty=True, partition_by=partition_by)
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


def page_of(project: Project) -> str:
    write_catalog(project)
    return (project.settings.data / "catalog.html").read_text(encoding="utf-8")


def charts(page: str) -> list[dict[str, Any]]:
    """The specifications that the page holds."""
    return [orjson.loads(one) for one in re.findall(r'<script type="application/json">(.*?)</script>', page)]


def test_the_page_for_analysts_shows_nulls_words_lineage_and_rows_and_escapes_all_of_it(project: Project) -> None:
    page = page_of(project)

    assert '<td data-title="column" class="text"><code>id</code></td>' in page
    assert '<td data-title="null" class="text">33%</td>' in page
    assert {"column": "id", "share": 0.3333} in [row for spec in charts(page) for row in spec["data"]["values"]]
    assert "One row per order | as the shop has it" in page
    assert "&lt;b&gt;" in page
    assert "<b>x" not in page
    assert "used by marts.totals" in re.sub(r"<[^>]*>", "", page)


def test_the_page_for_analysts_loads_nothing_and_runs_only_what_draws_its_charts(project: Project) -> None:
    """Its policy forbids it, and it has nothing to load."""
    page = page_of(project)
    for script in re.findall(r"<script(?: type=\"application/gzip\" id=\"library\")?>.*?</script>", page, re.DOTALL):
        page = page.replace(script, "")

    assert re.search(r"content=\"default-src 'none'; style-src 'unsafe-inline'; script-src( 'sha256-[^']+'){2}\"", page)
    assert re.findall(r"<script>|<script src|<link|<img|<iframe|src=|url\(|@import|\bon\w+=", page) == []
    assert {one for one in re.findall(r'href="([^"]*)"', page) if not one.startswith("#")} == set()


def test_a_browser_shows_it_on_any_screen_and_has_nothing_to_complain_of(project: Project, tmp_path: Path) -> None:
    """Wide and narrow, light and dark; what is wider than a phone scrolls inside the page."""
    days = pa.array([datetime(2024, 5, day, tzinfo=UTC) for day in range(1, 31)])
    wide = {f"a_column_with_a_long_name_{number}": ["a value that is not short"] * 30 for number in range(12)}
    load(project.settings.data, "orders", pa.table({"at": days, **wide}))
    page_of(project)
    page = project.settings.data / "catalog.html"

    with browser(tmp_path / "browser") as tab:
        for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
            tab.show(page, width=width, dark=dark)

            assert tab.drawn() == 2, (width, dark)
            assert tab.value("document.documentElement.scrollWidth") <= width, (width, dark)
            assert tab.value("document.querySelectorAll('figure .mark-rect path').length") == 60
            assert tab.value("document.querySelector('[id=\"shop.orders\"] h2').innerText") == "shop.orders"
        assert tab.complaints == []
        assert set(tab.asked) == {page.resolve().as_uri()}


def test_links_within_the_page_lead_to_sections_of_it(project: Project) -> None:
    page = page_of(project).partition("</main>")[0]

    assert set(re.findall(r'href="#([^"]*)"', page)) - set(re.findall(r' id="([^"]*)"', page)) == set()


def test_a_dataset_without_rows_or_times_has_a_section_all_the_same(project: Project) -> None:
    page = page_of(project)

    assert '<section class="dataset" id="shop.empty">' in page
    assert "0 rows, 0 files" in page


@pytest.mark.parametrize(
    ("most_rows", "shown"), [(None, {"when": "2024-05-01", "rows": 2}), (1, {"when": "2024-05", "rows": 3})]
)
def test_rows_in_time_come_from_the_column_or_where_it_is_too_long_from_the_folders(
    project: Project, most_rows: int | None, shown: dict[str, object]
) -> None:
    """Three rows on two days of May, in a folder for the month."""
    days = pa.array(
        [datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 9, tzinfo=UTC)]
    )
    load(project.settings.data, "orders", pa.table({"id": [1, 2, 3], "at": days}), partition_by=("month(at)",))

    write_catalog(project, most_rows=most_rows)

    page = (project.settings.data / "catalog.html").read_text(encoding="utf-8")
    assert shown in charts(page)[0]["data"]["values"]


def test_what_was_counted_once_is_kept_while_the_files_are_the_same(project: Project) -> None:
    """A run reads no file of a dataset that did not change, and keeps what `threadmill catalog` counted."""
    data, asked = project.settings.data, []
    days = pa.array([datetime(2024, 5, 1, tzinfo=UTC)])
    load(data, "orders", pa.table({"id": [1], "at": days}))
    write_catalog(project, most_rows=None)
    load(data, "empty", pa.table({"id": [1]}))

    def call(function: Any, *args: Any) -> Any:
        asked.append(args)
        return function(*args)

    write_catalog(project, call, most_rows=0)

    assert len(asked) == 1
    page = (data / "catalog.html").read_text(encoding="utf-8")
    assert {"when": "2024-05-01", "rows": 1} in [row for spec in charts(page) for row in spec["data"]["values"]]


def test_the_snippets_of_the_page_read_the_rows(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python ones, taken from the page as they are copied from it."""
    monkeypatch.setenv("THREADMILL_DATA", str(project.settings.data))
    page = page_of(project)
    section = page.partition('id="shop.orders"')[2]
    shown = dict(re.findall(r"<h3>(\w+)</h3><pre>(.*?)</pre>", section, re.DOTALL))

    for tool in ("pandas", "Polars", "DuckDB", "Threadmill"):
        there: dict[str, Any] = {}
        exec(unescape(shown[tool]), there)  # noqa: S102 - that it runs is what is promised
        assert len(there["frame"]) == 3, tool
    assert list(shown) == ["pandas", "Polars", "DuckDB", "Threadmill", "Spark", "R"]


@pytest.mark.parametrize("name", ['it\'s "here"', "a[b]", "a*", "a?"])
def test_a_data_folder_of_any_name_breaks_no_snippet(tmp_path: Path, name: str) -> None:
    """Nor is one read whose name the other matches as a pattern."""
    data = tmp_path / name
    load(tmp_path / "ab", "orders", pa.table({"id": [2, 3]}))
    load(data, "orders", pa.table({"id": [1]}))

    for tool in ("pandas", "Polars", "DuckDB"):
        there: dict[str, Any] = {}
        exec(snippets("shop.orders", data)[tool], there)  # noqa: S102 - as above
        assert len(there["frame"]) == 1, tool


def test_the_database_shows_the_newest_commit_even_before_it_is_written_again(project: Project) -> None:
    data = project.settings.data
    write_catalog(project)

    load(data, "orders", pa.table({"id": [7], "note": ["new"]}))

    assert asked(data, "SELECT id, note FROM shop.orders") == [(7, "new")]
    assert asked(data, "SELECT comment FROM duckdb_views() WHERE view_name = 'orders'") == [
        ("One row per order | as the shop has it",)
    ]


@pytest.mark.parametrize("source", ["catalog", "memory", "system", "temp"])
def test_a_source_called_as_a_catalog_of_duckdb_keeps_no_other_out_of_the_database(
    project: Project, source: str
) -> None:
    data = project.settings.data
    load(data, "events", pa.table({"id": [7]}), source=source)

    write_catalog(project)

    assert asked(data, "SELECT count(*) FROM shop.orders") == [(3,)]
    assert f"| [{source}.events](#{source}events) | 1 |" in (data / "CATALOG.md").read_text()


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


@pytest.mark.parametrize(
    "question",
    [
        "SELECT count(*) FROM shop.orders",
        "FROM shop.orders",
        "FROM shop.orders WHERE id = 7",
        "FROM shop.orders WHERE note IN ('a', 'b') OR id > 3",
        "SELECT note, max(id) FROM shop.orders WHERE id IS NOT NULL GROUP BY note",
        "FROM (SELECT 7 AS id) LEFT JOIN shop.orders USING (id)",
        "SELECT EXISTS (FROM shop.orders WHERE note LIKE 'a%')",
    ],
)
def test_a_view_of_an_empty_dataset_is_no_answer_once_there_are_rows(project: Project, question: str) -> None:
    """Nobody may take rows that came after the catalog for none, whatever DuckDB knows of nulls."""
    data = project.settings.data
    load(data, "orders", pa.table({"id": pa.array([], pa.int64()), "note": pa.array([], pa.string())}))
    write_catalog(project)
    asked(data, question)

    load(data, "orders", pa.table({"id": [7], "note": ["a"]}))

    with pytest.raises(duckdb.Error, match="was empty when its view was made: `threadmill catalog`"):
        asked(data, question)
    write_catalog(project)
    assert asked(data, "FROM shop.orders") == [(7, "a")]


def test_a_data_folder_whose_name_is_a_pattern_is_read_as_itself(tmp_path: Path) -> None:
    data = tmp_path / "[a]*"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SHOP)
    load(data, "empty", pa.table({"id": pa.array([], pa.int64())}))
    load(data, "orders", pa.table({"id": [1]}))
    loaded = load_project({"THREADMILL_DATA": str(data)}, root=tmp_path)
    write_catalog(loaded)

    load(data, "empty", pa.table({"id": [7]}))

    assert asked(data, "FROM shop.orders") == [(1,)]
    with pytest.raises(duckdb.Error, match="was empty when its view was made"):
        asked(data, "FROM shop.empty")


def test_a_catalog_that_is_up_to_date_needs_no_lock_and_a_busy_one_is_told_of(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = project.settings.data
    write_catalog(project)
    monkeypatch.setattr("pipelines.catalog._PATIENCE_S", 0.2)

    with in_turn(data / "lake" / "catalog.lock", "the catalog", QUICK, 1.0):
        unchanged = write_catalog(project)
        load(data, "orders", pa.table({"id": [7]}))
        with pytest.raises(Busy, match="another run is working on the catalog"):
            write_catalog(project)

    assert (unchanged, write_catalog(project)) == (False, True)


def test_processes_that_write_the_catalog_at_once_wait_for_each_other(project: Project) -> None:
    """Each that committed finds its commit in it afterwards, and nothing is left over, of dead ones neither."""
    data = project.settings.data
    (data / ".catalog.html-dead").write_text("half")
    (data / ".catalog.duckdb-dead").write_text("half")
    code = (
        "import sys, pathlib; from pipelines.config.project import load_project; from tests.test_catalog import load\n"
        "from pipelines.catalog import write_catalog; import pyarrow as pa, duckdb\n"
        "root, number = pathlib.Path(sys.argv[1]), int(sys.argv[2])\n"
        "project = load_project({'THREADMILL_DATA': str(root / 'data')}, root=root)\n"
        "for round in range(4):\n"
        "    name = f'd{number}_{round}'\n"
        "    load(root / 'data', name, pa.table({'id': [number]}), source=f's{number}')\n"
        "    write_catalog(project)\n"
        "    with duckdb.connect(str(root / 'data/catalog.duckdb'), read_only=True) as database:\n"
        "        assert database.sql(f'SELECT id FROM s{number}.{name}').fetchall() == [(number,)]\n"
    )

    running = [
        subprocess.Popen([sys.executable, "-c", code, str(data.parent), str(number)], cwd=ROOT, stderr=subprocess.PIPE)
        for number in range(3)
    ]

    try:
        told = [process.communicate(timeout=90)[1].decode() for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0, 0], told
    assert len(orjson.loads((data / "catalog.json").read_bytes())["datasets"]) == 2 + 3 * 4
    assert not list(data.glob(".*"))


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
