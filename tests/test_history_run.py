"""`write: history` and `deletes` in whole runs: YAML in, spans out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import pipelines
from pipelines.config.project import load_project
from pipelines.run import run
from tests.fake_api import FakeApi

SHOP = """\
base_url: {base}
defaults: {{key: id, records: data, paginate: {{next_url: next}}, deletes: {{missing: true}}}}
resources:
  prices: {{path: /prices, write: history}}
  stock: {{path: /stock, write: upsert}}
"""
UNMET = "`deletes: {when: _deleted}` names no column that rows have: none is taken for gone"
LACKING = "`deletes: {when: !active}` names no column that has a value in this run: no row of it is taken for gone"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


MARKED = """\
base_url: {base}
defaults: {{key: id, records: data, paginate: {{next_url: next}}, deletes: {{when: "{when}"}}, columns: {{{columns}}}}}
resources:
  prices: {{path: /prices, write: history}}
  stock: {{path: /stock, write: upsert}}
"""
Told = tuple[int, list[tuple[str, ...]]]


def read(api: FakeApi, folder: Path, when: str, days: list[list[dict[str, Any]]], columns: str = "") -> list[Told]:
    """Exit code and warnings of a run on each of *days*, whose records are all that the API has."""
    (folder / "config").mkdir()
    (folder / "config" / "shop.yaml").write_text(MARKED.format(base=api.url, when=when, columns=columns))
    told = []
    for day, records in enumerate(days):
        for path in ("/prices", "/stock"):
            api.pages(path, records=records)
        project = load_project({"THREADMILL_DATA": str(folder / "data"), "THREADMILL_WORKERS": "1"}, root=folder)
        report = run(project, now=NOON + timedelta(days=day))
        told.append((report.exit_code, [one.warnings for one in report.sources[0].resources]))
    return told


def test_an_api_may_mark_only_what_is_gone(api: FakeApi, tmp_path: Path) -> None:
    """Days without a deletion before and after the one that has one; that no record says so is told until then."""
    days: list[list[dict[str, Any]]] = [[{"id": 1}, {"id": 2}], [{"id": 1, "_deleted": True}], [{"id": 3}]]

    told = read(api, tmp_path, "_deleted", days)

    spans = pipelines.read("prices", data=tmp_path / "data")
    warnings = [(f"shop.{name}: {UNMET}",) for name in ("prices", "stock")]
    assert told == [(0, warnings), (0, [(), ()]), (0, [(), ()])]
    assert sorted(spans[spans["is_current"]]["id"]) == [2, 3]
    assert sorted(pipelines.read("stock", data=tmp_path / "data")["id"]) == [2, 3]


@pytest.mark.parametrize("columns", [pytest.param("", id="inferred"), pytest.param("active: bool", id="declared")])
def test_rows_are_kept_where_the_api_gives_the_field_another_name(api: FakeApi, tmp_path: Path, columns: str) -> None:
    """On the second day no record has `active`, so that `!active` is true of all of them."""
    days = [[{"id": 1, "active": True}, {"id": 2, "active": True}], [{"id": 1, "enabled": True}]]

    told = read(api, tmp_path, "!active", days, columns)

    spans = pipelines.read("prices", data=tmp_path / "data")
    warnings = [(f"shop.{name}: {LACKING}",) for name in ("prices", "stock")]
    assert told == [(0, [(), ()]), (0, warnings)]
    assert sorted(spans[spans["is_current"]]["id"]) == [1, 2]
    assert sorted(pipelines.read("stock", data=tmp_path / "data")["id"]) == [1, 2]


def test_full_reads_become_a_history_and_an_upsert_forgets_what_is_gone(api: FakeApi, tmp_path: Path) -> None:
    """Day 1: two prices; day 2: one changed, one gone; day 3: the same again, which commits nothing."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SHOP.format(base=api.url))
    days = [[(1, 5), (2, 7)], [(1, 6)], [(1, 6)]]
    commits = []

    for day, prices in enumerate(days):
        for path in ("/prices", "/stock"):
            api.pages(path, records=[{"id": key, "price": price} for key, price in prices])
        project = load_project({"THREADMILL_DATA": str(tmp_path / "data"), "THREADMILL_WORKERS": "1"}, root=tmp_path)
        report = run(project, now=NOON + timedelta(days=day))
        commits.append((report.exit_code, report.sources[0].changed))

    spans = pipelines.read("prices", data=tmp_path / "data").sort_values(["id", "valid_from"])
    held = [(row.id, row.price, row.is_current) for row in spans.itertuples()]
    assert commits == [(0, True), (0, True), (0, False)]
    assert held == [(1, 5, False), (1, 6, True), (2, 7, False)]
    assert pipelines.read("stock", data=tmp_path / "data").to_dict("list") == {"id": [1], "price": [6]}
