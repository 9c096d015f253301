"""Values that fit and do not fit, in whole runs: what becomes of them does not depend on how pages were cut."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.report.result import SourceReport
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import FakeApi

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SHOP = """\
base_url: {url}
resources:
  orders:
    path: /orders
    records: data
    paginate: {{next_url: next}}
    key: id
    {more}
"""


class Shop:
    """A list of orders, a record to a page."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder = api, folder
        (folder / "config").mkdir()

    def configure(self, *lines: str) -> None:
        """Write the source file with *lines* in its resource."""
        text = SHOP.format(url=self.api.url, more="\n    ".join(lines))
        (self.folder / "config" / "shop.yaml").write_text(text)

    def read(self, *values: Any, **settings: str) -> SourceReport:
        """A run that reads an order for each of *values*."""
        orders = [{"id": number, "v": value} for number, value in enumerate(values)]
        self.api.pages("/orders", records=orders, page_size=1)
        return self.run(**settings)

    def run(self, **settings: str) -> SourceReport:
        """A run in this process."""
        project = load_project(settings, root=self.folder, data=self.folder / "data")
        return run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))

    def stored(self, dataset: str = "orders") -> list[dict[str, Any]]:
        """What a plain reader sees."""
        folder = self.folder / "data" / "parquet" / "shop" / dataset
        return pq.read_table(folder, partitioning=None).to_pylist() if folder.exists() else []


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    return Shop(api, tmp_path)


def kinds(report: SourceReport) -> list[str]:
    """The kinds of what went wrong."""
    return [one.problem.kind for one in report.resources if one.problem]


@pytest.mark.parametrize("policy", ["fail", "quarantine"])
@pytest.mark.parametrize("write", ["append", "replace", "upsert", "history"])
def test_g19_an_empty_list_that_is_committed_takes_its_type_from_a_later_run(
    shop: Shop, write: str, policy: str
) -> None:
    shop.configure(f"write: {write}", f"on_mismatch: {policy}")
    empty = {"tags": [], "at": {"zip": None}}
    assert kinds(shop.read(empty)) == []

    report = shop.read(empty, {"tags": ["x"], "at": {"zip": "1"}})

    newest = {row["id"]: row["v"] for row in shop.stored()}
    assert (kinds(report), report.resources[0].rejected) == ([], 0)
    assert newest == {0: empty, 1: {"tags": ["x"], "at": {"zip": "1"}}}
