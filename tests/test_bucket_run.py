"""Whole runs into a bucket: what they read, what others see, and who wins."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import orjson
import pyarrow as pa
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable

import pipelines
from pipelines.catalog import write_catalog
from pipelines.cli import app
from pipelines.config.project import load_project
from pipelines.load.bucket import for_duckdb
from pipelines.load.lake import Lake
from pipelines.report.result import SourceReport
from pipelines.source_run import Shared, run_source
from tests.buckets import SECRET, Bucket, new_bucket, s3_server, way_to
from tests.engines import Here
from tests.fake_api import FakeApi, say
from tests.processes import eventually
from tests.shop import DATASETS, Shop, as_rows, expected


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """One for all tests of a process."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty one, to which the environment leads."""
    bucket = new_bucket(server)
    for name, value in bucket.settings.items():
        monkeypatch.setenv(name, value)
    return bucket


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    """Two sources behind an API."""
    return Shop(api, tmp_path)


def wrong(day: int) -> list[str]:
    """The datasets that are not as after a run of *day*, for a reader of the newest documents."""
    return [
        name
        for name in DATASETS
        if as_rows(pipelines.scan(name.replace("/", ".")).to_table().to_pylist()) != expected(name, day)
    ]


def run_here(shop: Shop, bucket: Bucket, data: Path, *only: str) -> dict[str, SourceReport]:
    """A run of the sources, in this process: the machine whose data folder is *data* does it."""
    project = load_project(bucket.settings, root=shop.folder, data=data, only=only or None)
    shared = Shared(uuid.uuid4().hex, datetime.now(UTC), project.settings, Here())
    return {source.name: run_source(source, shared) for source in project.sources}


def test_runs_of_two_machines_bring_a_bucket_up_to_date(shop: Shop, bucket: Bucket, tmp_path: Path) -> None:
    """Day by day from another data folder; a run with nothing new makes no commit."""
    first = run_here(shop, bucket, tmp_path / "one")
    again = run_here(shop, bucket, tmp_path / "one")
    for shop.day, machine in ((2, "other"), (3, "one")):
        run_here(shop, bucket, tmp_path / machine)

    assert [(one["shop"].commit, one["shop"].changed) for one in (first, again)] == [(1, True), (1, False)]
    assert wrong(3) == []
    assert as_rows(pipelines.scan("shop.events", at=2).to_table().to_pylist()) == expected("shop/events", 2)
    counted = pipelines.sql("SELECT count(*) FROM shop.events JOIN accounts USING (id)", data=bucket.url)
    assert counted.fetchall() == [(9,)]
    assert not (tmp_path / "one" / "parquet").exists()


def test_what_a_run_prints_leads_to_the_bucket(shop: Shop, bucket: Bucket, tmp_path: Path) -> None:
    """There is no folder to glob: the line for pandas reads what was written."""
    done = shop.run(data=tmp_path / "data", **bucket.settings)

    (line,) = [line.split(maxsplit=1)[1] for line in done.out.splitlines() if line.startswith("  pandas ")]
    assert f"Parquet: {bucket.url}/<source>/store/<dataset>/" in done.out
    assert str(tmp_path / "data" / "parquet") not in done.out
    assert len(eval(line, {"pipelines": pipelines})) > 0  # noqa: S307  # what a user copies


def test_k01_a_run_killed_between_upload_and_commit_changed_nothing_and_the_next_has_all(
    shop: Shop, bucket: Bucket, server: str, tmp_path: Path
) -> None:
    """The parts are there, no document is. The next run uses what was fetched; no secret is told or written down."""
    with way_to(server) as way:
        way.hold.clear()
        killed = shop.start(data=tmp_path / "data", **bucket.behind(way).settings)
        eventually(lambda: way.held == 2)  # both sources have all their pages
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
        way.forget = True
        uploaded, committed = bucket.keys("/store/"), bucket.keys("/log/0")

    ended = shop.run("--json", data=tmp_path / "data", **bucket.settings)

    assert (bool(uploaded), committed, ended.code) == (True, [], 0), ended
    assert wrong(1) == []
    assert ended.resource("shop.events")["requests"] == 0
    (report,) = (tmp_path / "data" / "runs").glob("*.html")
    assert "7 rows in 1 files" in report.read_text()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert SECRET not in ended.out + ended.err
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_k06_of_two_runs_at_once_one_gets_a_conflict_and_its_next_run_loses_nothing(
    shop: Shop, bucket: Bucket, server: str, tmp_path: Path
) -> None:
    """Two machines, no common lock; the slow one is held just before its document is put."""
    run_here(shop, bucket, tmp_path / "slow", "shop")
    shop.day = 2
    with way_to(server) as way, ThreadPoolExecutor(1) as other:
        way.hold.clear()
        slow = other.submit(run_here, shop, bucket.behind(way), tmp_path / "slow", "shop")
        eventually(lambda: way.held == 1)
        fast = run_here(shop, bucket, tmp_path / "fast", "shop")
        way.hold.set()
        lost = slow.result()
    shop.day = 3

    run_here(shop, bucket, tmp_path / "slow")

    assert (fast["shop"].commit, fast["shop"].problem) == (2, None)
    assert lost["shop"].problem is not None
    assert lost["shop"].problem.kind == "Conflict"
    assert wrong(3) == []
    assert Lake(tmp_path / "reader", "shop", bucket.remote).log.numbers() == [1, 2, 3]


def test_commands_for_committed_data_work_on_a_bucket(
    shop: Shop, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that has read nothing yet."""
    run_here(shop, bucket, tmp_path / "writer")
    monkeypatch.chdir(shop.folder)
    monkeypatch.setenv("THREADMILL_DATA", str(tmp_path / "reader"))

    commands = [["log", "shop"], ["status"], ["verify"], ["repair"], ["compact"], ["vacuum"], ["settings"]]
    commands += [["show", "shop.events"], ["sql", "SELECT count(*) AS events FROM shop.events"]]

    said = {command[0]: CliRunner().invoke(app, command) for command in commands}

    assert {name: one.exit_code for name, one in said.items()} == dict.fromkeys(said, 0), said
    assert "events 7" in said["log"].output
    assert "no defects" in said["verify"].output
    assert "7 rows" in said["show"].output
    assert said["sql"].output.split() == ["events", "7"]
    assert bucket.url in said["settings"].output
    assert SECRET not in "".join(one.output for one in said.values())


def test_commands_read_the_bucket_of_the_profile_that_they_are_given(
    shop: Shop, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No profile of this project is called `live`, which would be the usual one."""
    run_here(shop, bucket, tmp_path / "writer")
    monkeypatch.chdir(shop.folder)
    monkeypatch.delenv("THREADMILL_LAKE")
    (shop.folder / "config" / "settings.toml").write_text(f'[profiles.prod]\nlake = "{bucket.url}"\n')

    commands = [["show", "shop.events"], ["sql", "SELECT count(*) FROM shop.events"]]
    commands += [["export", "shop.events", str(tmp_path / "table"), "--format", "delta"]]
    said = [CliRunner().invoke(app, [*command, "--profile", "prod"]) for command in commands]

    assert [one.exit_code for one in said] == [0, 0, 0], [one.output for one in said]
    assert "7 rows" in said[0].output


def test_the_catalog_describes_a_bucket_and_its_views_name_the_files_of_the_commit(
    shop: Shop, bucket: Bucket, tmp_path: Path
) -> None:
    """On a machine that has none of the files; spans come from their footers."""
    for shop.day in (1, 2):
        run_here(shop, bucket, tmp_path / "writer")
    project = load_project(bucket.settings, root=shop.folder, data=tmp_path / "reader")
    project.settings.data.mkdir()

    write_catalog(project)

    entries = orjson.loads((tmp_path / "reader" / "catalog.json").read_bytes())["datasets"]
    accounts = next(one for one in entries if one["dataset"] == "bank.accounts")
    ids = next(column for column in accounts["columns"] if column["name"] == "id")
    assert (accounts["rows"], ids["least"], ids["greatest"]) == (6, "0", "5")
    assert not list((tmp_path / "reader").rglob("*.parquet"))
    assert "pipelines.read(&quot;shop.events&quot;)" in (tmp_path / "reader" / "catalog.html").read_text()
    with duckdb.connect(str(tmp_path / "reader" / "catalog.duckdb"), read_only=True) as connection:
        connection.register_filesystem(for_duckdb(bucket.remote))
        assert connection.sql("SELECT count(*), sum(changes) FROM bank.accounts").fetchall() == [(6, 3)]


def test_a_snapshot_of_a_bucket_is_exported_into_a_bucket(
    shop: Shop, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a Delta table; Delta's own client puts its versions only where none is."""
    run_here(shop, bucket, tmp_path / "writer")
    monkeypatch.chdir(shop.folder)
    target = f"s3://{bucket.name}/delta/events"

    said = [CliRunner().invoke(app, ["export", "shop.events", target, "--format", "delta"]) for _ in range(2)]

    table = DeltaTable(target, storage_options={**bucket.env, "AWS_ALLOW_HTTP": "true"})
    assert [one.exit_code for one in said] == [0, 0], said
    assert "nothing to do" in said[1].output
    assert as_rows(pa.table(table.to_pyarrow_table()).to_pylist()) == expected("shop/events", 1)


def test_stored_rows_of_a_bucket_take_a_type_that_is_declared_later(
    api: FakeApi, bucket: Bucket, tmp_path: Path
) -> None:
    """By a machine that has none of the files; the dataset is dropped from a third one."""
    (tmp_path / "config").mkdir()
    source = tmp_path / "config" / "till.yaml"
    text = f"base_url: {api.url}\nresources:\n  sales: {{path: /sales, paginate: none, write: append"

    def read(machine: str, more: str, *values: str) -> list[str]:
        source.write_text(f"{text}{more}}}\n")
        api.answer("/sales", say([{"v": value} for value in values]))
        project = load_project(bucket.settings, root=tmp_path, data=tmp_path / machine)
        report = run_source(
            project.sources["till"], Shared(uuid.uuid4().hex, datetime.now(UTC), project.settings, Here())
        )
        return [one.problem.message for one in report.resources if one.problem]

    failed = [read("one", "", "9", "10"), read("two", ", columns: {v: int64}", "11")]
    table = pipelines.scan("till.sales").to_table()
    dropped = CliRunner().invoke(app, ["drop", "till.sales", "--data", str(tmp_path / "three")])

    assert failed == [[], []]
    assert (table["v"].type, sorted(table["v"].to_pylist())) == (pa.int64(), [9, 10, 11])
    assert "till.sales: 3 rows are no longer there from commit 3 on\n  `threadmill rollback till 2`" in dropped.stdout
    head = Lake(tmp_path / "four", "till", bucket.remote).head()
    assert head is not None
    assert dict(head.datasets) == {}
