"""What analysts get from `pipelines.read`, `scan` and `sql`."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines
from pipelines.errors import ConfigError, StoreError
from pipelines.load.lake import Lake
from pipelines.load.merge import Place, plan, resolve
from pipelines.load.target import Target
from tests.load.disks import QUICK

BIG = 2**53 + 1


def load(data: Path, dataset: str, table: pa.Table, *, source: str = "shop", now: datetime | None = None) -> None:
    """One run that replaces *dataset*."""
    lake, target = Lake(data, source, disk=QUICK), Target(write="replace", partition_by=("team",), allow_empty=True)
    with lake.lock("run"):
        draft = lake.begin("run")
        place = Place(lake.store, lake.tmp, dataset, target, disk=QUICK)
        with place.writer() as writer:
            writer.write(table)
            parts = writer.close()
        draft.set_files(dataset, resolve(plan(place, draft.dataset(dataset), parts)), target)
        lake.commit(draft, now=now)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two commits of shop.orders a day apart, and another source."""
    noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
    load(tmp_path, "orders", pa.table({"id": [1, BIG, None], "team": ["a", "b", "b"]}), now=noon)
    load(tmp_path, "orders", pa.table({"id": [4], "team": ["c"]}), now=noon + timedelta(days=1))
    load(tmp_path, "teams", pa.table({"team": ["c"], "name": ["Core"]}), source="staff")
    return tmp_path


def test_g14_a_frame_holds_what_was_sent_integers_with_nulls_too(data: Path) -> None:
    frame = pipelines.read("shop.orders", at=1, data=data)

    assert isinstance(frame.dtypes["id"], pd.ArrowDtype)
    assert sorted(frame["id"].dropna().tolist()) == [1, BIG]
    assert frame["id"].isna().sum() == 1


def test_columns_and_the_name_alone_are_enough(data: Path) -> None:
    frame = pipelines.read("orders", columns=["team"], data=data)

    assert frame.to_dict("list") == {"team": ["c"]}


@pytest.mark.parametrize(
    ("at", "rows"),
    [
        pytest.param(1, 3, id="commit"),
        pytest.param(datetime(2024, 5, 2, 11, tzinfo=UTC), 3, id="before-the-second"),
        pytest.param(datetime(2024, 5, 2, 12), 1, id="without-zone-is-utc"),  # noqa: DTZ001
        pytest.param("2024-05-02T13:30+02:00", 3, id="text"),
        pytest.param("2024-05-03", 1, id="day"),
        pytest.param(None, 1, id="newest"),
    ],
)
def test_any_commit_that_is_kept_can_be_read(data: Path, at: int | datetime | str | None, rows: int) -> None:
    assert pipelines.scan("shop.orders", at=at, data=data).count_rows() == rows


def test_a_relation_joins_sources_and_is_not_disturbed_by_a_later_commit(data: Path) -> None:
    relation = pipelines.sql("SELECT name, id FROM shop.orders JOIN teams USING (team)", data=data)
    load(data, "orders", pa.table({"id": [5], "team": ["x"]}))

    assert relation.fetchall() == [("Core", 4)]


@pytest.mark.parametrize("source", ["catalog", "memory", "system", "temp"])
def test_a_source_called_as_a_catalog_of_duckdb_is_read_and_hides_no_other(data: Path, source: str) -> None:
    load(data, "events", pa.table({"id": [7], "team": ["a"]}), source=source)

    frame = pipelines.read(f"{source}.events", data=data)
    others = pipelines.sql("SELECT id FROM shop.orders UNION ALL SELECT id FROM events", data=data)

    assert frame["id"].tolist() == [7]
    assert sorted(others.fetchall()) == [(4,), (7,)]


@pytest.mark.parametrize(("folder", "beside"), [("a[b]c", "abc"), ("a*", "abc"), ("who?", "whom"), ("it's", "its")])
def test_a_data_folder_may_have_any_name(tmp_path: Path, folder: str, beside: str) -> None:
    """Taken as a pattern, the name is that of a copy beside it as well, whose rows are others."""
    load(tmp_path / folder, "orders", pa.table({"id": [1], "team": ["a"]}))
    for file in (tmp_path / folder).rglob("store/**/*.parquet"):
        copy = tmp_path / beside / file.relative_to(tmp_path / folder)
        copy.parent.mkdir(parents=True)
        pq.write_table(pa.table({"id": [2], "team": ["a"]}), copy)

    frame = pipelines.sql("SELECT id, team FROM shop.orders", data=tmp_path / folder).df()

    assert frame.to_dict("list") == {"id": [1], "team": ["a"]}
    assert len(pipelines.read("shop.orders", data=tmp_path / folder)) == 1


def test_a_dataset_without_rows_has_its_columns(data: Path) -> None:
    load(data, "orders", pa.table({"id": pa.array([], pa.int64()), "team": pa.array([], pa.string())}))

    assert list(pipelines.read("shop.orders", data=data).columns) == ["id", "team"]
    assert pipelines.sql("SELECT id, team FROM orders", data=data).fetchall() == []


def test_what_is_not_there_is_told_with_what_is(data: Path) -> None:
    with pytest.raises(ConfigError, match="no dataset 'ordres'") as dataset:
        pipelines.read("ordres", data=data)
    with pytest.raises(ConfigError, match=r"no column 'taem'.*did you mean team") as column:
        pipelines.read("shop.orders", columns=["taem"], data=data)
    with pytest.raises(StoreError, match="made by 2020-01-01"):
        pipelines.read("shop.orders", at=datetime(2020, 1, 1, tzinfo=UTC), data=data)
    with pytest.raises(StoreError, match="shop has no commit 9") as commit:
        pipelines.read("shop.orders", at=9, data=data)
    with pytest.raises(ConfigError, match="at='yesterday' is no time"):
        pipelines.scan("shop.orders", at="yesterday", data=data)

    assert commit.value.hint == "kept are those from 1 to 2; `threadmill log shop` lists them"
    assert dataset.value.hint == "datasets: shop.orders, staff.teams"
    assert column.value.hint == "columns: id, team"


def test_the_data_folder_is_that_of_the_settings(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("THREADMILL_DATA", str(data))

    assert len(pipelines.read("orders")) == 1


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import pipelines, sys; print([name for name in ('pandas', 'pyarrow', 'duckdb') if name in sys.modules])"

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"
