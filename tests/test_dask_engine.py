"""Batches and marts on a real Dask scheduler with workers in processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.engines import connect
from pipelines.engines.cluster import Cluster
from pipelines.errors import ConfigError, DecodeError, Interrupted, TransformError, WorkerDied
from pipelines.run import run
from tests.clusters import DaskCluster, committed, dask_cluster, hold_first_batch, kill_holder
from tests.fake_api import FakeApi
from tests.shop import ROOT, Shop, wrong_after

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler and two workers."""
    with dask_cluster(tmp_path_factory.mktemp("dask"), workers=2) as cluster:
        yield cluster


@pytest.fixture
def engine(dask: DaskCluster, tmp_path: Path) -> Iterator[Cluster]:
    """The cluster, looked over; tmp_path is the data folder."""
    with connect("dask", dask.address, workers=None, shared=tmp_path, transforms=None) as engine:
        yield engine


def _refuse() -> None:
    raise DecodeError("page 3 is no JSON", "look at it")


def test_calls_are_computed_by_the_workers_and_their_errors_are_raised_here(engine: Cluster) -> None:
    pids = set(engine.map(_pid_of, range(20)))

    with pytest.raises(DecodeError, match="page 3 is no JSON"):
        engine.call(_refuse)
    with pytest.raises(TransformError, match="ZeroDivisionError"):
        engine.call(divmod, 1, 0)

    assert os.getpid() not in pids


def _pid_of(number: int) -> int:
    return os.getpid()


class Torn:
    """A call of distributed, whose wait once ends as its `sync` does when limit and result come at one moment."""

    def __init__(self, call: Any) -> None:
        self.call, self.asked = call, 0

    @property
    def status(self) -> Any:
        """How far it is."""
        return self.call.status

    def result(self, timeout: float) -> Any:
        """What came of it, from the second time on."""
        self.asked += 1
        if self.asked == 1:
            raise UnboundLocalError("cannot access local variable 'result' where it is not associated with a value")
        return self.call.result(timeout=timeout)


def test_a_wait_that_ends_as_its_result_comes_is_asked_again(dask: DaskCluster) -> None:
    from pipelines.engines.dask_client import DaskClient

    client = DaskClient(dask.address)
    try:
        call = Torn(client.submit(abs, -7))
        with pytest.raises(TimeoutError):
            client.result(call, 5)

        assert client.result(call, 5) == 7
    finally:
        client.close()


def test_a_closed_engine_lets_nobody_wait(engine: Cluster) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(engine.call, time.sleep, 5)
        engine.close()

        with pytest.raises(Interrupted):
            waiting.result(10)
    with pytest.raises(Interrupted):
        engine.call(os.getpid)


def test_sources_and_marts_come_out_as_from_worker_processes(dask: DaskCluster, tmp_path: Path) -> None:
    """Three of the bundled APIs, 55,000 rows, and the mart that is made from them: every row."""
    only = ("frankfurter", "nager", "openmeteo")
    here = load_project({}, root=ROOT, only=only, data=tmp_path / "here", workers=2)
    there = load_project({}, root=ROOT, only=only, data=tmp_path / "there", engine="dask", engine_address=dask.address)

    local, remote = run(here), run(there)

    assert [one.problem for one in (*local.resources, *remote.resources) if one.problem] == []
    assert _rows(tmp_path / "there") == _rows(tmp_path / "here")
    assert len(_rows(tmp_path / "there")["parquet/marts/city_day"]) == 2_922
    assert remote.machine["workers"] == 2
    assert remote.warnings == local.warnings


def _rows(data: Path) -> dict[str, list[str]]:
    folders = [folder for folder in (data / "parquet").glob("*/*") if folder.is_dir()]
    return {str(folder.relative_to(data)): _lines(folder) for folder in folders}


def _lines(folder: Path) -> list[str]:
    rows = pq.read_table(folder, partitioning=None).to_pylist()
    return sorted(str(sorted(row.items())) for row in rows)


def test_a_worker_that_does_not_share_the_data_folder_is_refused(dask: DaskCluster, tmp_path: Path) -> None:
    shared = tmp_path / "mine"
    shared.mkdir(mode=0o700)

    with _as_seen_by_nobody(shared) as seen, pytest.raises(ConfigError) as refused:
        connect("dask", dask.address, workers=None, shared=seen, transforms=None)

    assert "does not share the data folder" in refused.value.message
    assert list(shared.iterdir()) == []


@contextmanager
def _as_seen_by_nobody(folder: Path) -> Iterator[Path]:
    """The same folder by a path that only this process has."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def test_a_worker_with_other_transforms_is_refused(
    dask: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is another folder where the worker is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "transforms").mkdir()
    (tmp_path / "transforms" / "shop.py").write_text("def clean(frame):\n    return frame\n")

    with pytest.raises(ConfigError, match="has other transforms"):
        connect("dask", dask.address, workers=None, shared=tmp_path, transforms=Path("transforms"))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        pytest.param("tcp://127.0.0.1:1", "no dask cluster answers", id="nobody-there"),
        pytest.param("", "is no address of a dask cluster", id="no-address"),
        pytest.param("scheduler", "is no address of a dask cluster", id="no-port"),
    ],
)
def test_a_cluster_that_is_not_there_is_named_with_what_to_do(address: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        connect("dask", address, workers=None, shared=tmp_path, transforms=None)

    assert said in refused.value.message
    assert refused.value.hint


def test_k07_a_worker_killed_in_the_middle_of_a_batch_costs_no_row_and_doubles_none(
    dask: DaskCluster, api: FakeApi, tmp_path: Path
) -> None:
    shop = Shop(api, tmp_path)
    told = hold_first_batch(shop)
    project = load_project({}, root=tmp_path, data=tmp_path / "there", engine="dask", engine_address=dask.address)
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run, project)
        killed = kill_holder(told, running.done, outcome=running.result)
        report = running.result(60)

    local = run(load_project({}, root=tmp_path, data=tmp_path / "here"))

    assert killed in [process.pid for process in dask.processes]
    assert (report.problems, local.problems) == ([], [])
    assert wrong_after(tmp_path / "there", 1) == wrong_after(tmp_path / "here", 1) == []
    for source in ("shop", "bank"):
        assert committed(tmp_path / "there", source) == committed(tmp_path / "here", source)


def test_calls_end_when_the_cluster_has_no_worker_left(dask: DaskCluster, tmp_path: Path) -> None:
    from pipelines.engines.dask_client import DaskClient

    with Cluster(DaskClient(dask.address), workers=None, shared=tmp_path, patience_s=0.5) as engine:
        for process in dask.processes[1:]:
            process.kill()

        with pytest.raises(WorkerDied, match="has had no workers"):
            engine.call(os.getpid)
