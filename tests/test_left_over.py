"""Datasets that nothing makes any more are told until they are dropped; one that is dropped may be made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from pipelines.cli import app
from tests.fake_api import FakeApi, say

SOURCE = """\
base_url: {url}
resources:
  {name}:
    path: /orders
    paginate: none
    key: id
    write: upsert
    columns: {{v: int64}}
    on_mismatch: quarantine
"""
LINE = "{0}: nothing makes it any more; `threadmill drop {0}` takes it out"


@pytest.fixture
def project(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one source, whose second record is set aside, and its data after a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THREADMILL_WORKERS", "1")
    (tmp_path / "config").mkdir()
    api.answer("/orders", say([{"id": 1, "v": 1}, {"id": 2, "v": "n/a"}, {"id": 3, "v": 3}]))
    configure(api, tmp_path, "orders")
    run()
    return tmp_path


def configure(api: FakeApi, folder: Path, name: str) -> None:
    (folder / "config/shop.yaml").write_text(SOURCE.format(url=api.url, name=name))


def run() -> list[str]:
    """The warnings of a run."""
    result = CliRunner().invoke(app, ["run", "--json"])
    report: dict[str, Any] = orjson.loads(result.stdout)
    return [line for source in report["sources"] for line in source["warnings"]]


def text(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_resource_with_a_new_name_leaves_a_dataset_that_is_told_until_it_is_dropped(
    api: FakeApi, project: Path
) -> None:
    """What was set aside of it goes with it, without a word of its own."""
    configure(api, project, "sales")

    told = [run(), run()]
    status, catalog = text("status"), (project / "data/CATALOG.md").read_text()
    text("drop", "shop.orders")
    after = run()

    assert told == [[LINE.format("shop.orders")]] * 2
    assert LINE.format("shop.orders") in status.splitlines()
    assert "Nothing makes it any more." in catalog
    assert after == []
    assert "shop.orders" not in text("status") + (project / "data/CATALOG.md").read_text()
    assert sorted(path.name for path in (project / "data/parquet/shop").iterdir()) == ["sales", "sales__rejects"]


def test_a_source_without_a_file_is_told_by_status(project: Path) -> None:
    (project / "config/shop.yaml").rename(project / "config/other.yaml")

    assert LINE.format("shop.orders") in text("status").splitlines()
    assert {one["dataset"]: one["is_made"] for one in orjson.loads(text("status", "--json"))} == {
        "other.orders": True,
        "shop.orders": False,
        "shop.orders__rejects": True,
    }


@pytest.mark.usefixtures("project")
def test_a_dataset_that_is_dropped_is_read_from_the_first_record(api: FakeApi) -> None:
    text("drop", "shop.orders")
    before = orjson.loads(text("status", "--json"))
    api.answer("/orders", say([{"id": 1, "v": 10}, {"id": 2, "v": 20}]))

    warnings = run()

    assert [one["rows"] for one in before] == [0]
    assert warnings == []
    assert [(one["dataset"], one["rows"]) for one in orjson.loads(text("status", "--json"))] == [("shop.orders", 2)]
