"""Batches on a real Ray cluster of two nodes. Half a minute to start: `make test-engines` asks for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clusters import committed, hold_first_batch, kill_holder, ray_cluster
from tests.fake_api import FakeApi
from tests.processes import alive, eventually
from tests.shop import Ended, Shop, wrong_after

pytestmark = pytest.mark.skipif("TEST_ENGINES" not in os.environ, reason="make test-engines starts a Ray cluster")


@pytest.fixture(scope="module")
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A head and a second node, one CPU each."""
    with ray_cluster(tmp_path_factory.mktemp("ray")) as address:
        yield address


def test_k07_a_worker_killed_in_the_middle_of_a_batch_costs_no_row_and_doubles_none(
    ray_address: str, api: FakeApi, tmp_path: Path
) -> None:
    shop = Shop(api, tmp_path)
    told = hold_first_batch(shop)
    running = shop.start(
        "--json", data=tmp_path / "there", THREADMILL_ENGINE="ray", THREADMILL_ENGINE_ADDRESS=ray_address
    )
    kill_holder(told, lambda: running.poll() is not None, outcome=lambda: Ended.of(running))
    remote = Ended.of(running)

    local = shop.run(data=tmp_path / "here")

    assert (remote.code, local.code) == (0, 0), f"{remote}\n{local}"
    assert remote.report["machine"]["workers"] == 2
    assert wrong_after(tmp_path / "there", 1) == wrong_after(tmp_path / "here", 1) == []
    for source in ("shop", "bank"):
        assert committed(tmp_path / "there", source) == committed(tmp_path / "here", source)


def test_a_run_on_a_cluster_ends_when_it_is_asked_to(ray_address: str, api: FakeApi, tmp_path: Path) -> None:
    """SIGTERM while a batch is under way: the run resumes later, and the worker is free again."""
    shop = Shop(api, tmp_path)
    told = hold_first_batch(shop)
    running = shop.start(THREADMILL_ENGINE="ray", THREADMILL_ENGINE_ADDRESS=ray_address)
    eventually(lambda: told.exists() or running.poll() is not None)

    running.send_signal(signal.SIGTERM)
    ended = Ended.of(running, 60)

    assert ended.code == 130, ended
    assert "stopping" in ended.err
    eventually(lambda: not alive([int(told.read_text())]))


def test_what_is_no_ray_cluster_is_named_at_once(api: FakeApi, tmp_path: Path) -> None:
    shop = Shop(api, tmp_path)

    ended = shop.run(THREADMILL_ENGINE="ray", THREADMILL_ENGINE_ADDRESS="127.0.0.1:1")

    assert ended.code == 2
    assert "no ray cluster answers at 127.0.0.1:1" in " ".join(ended.err.split())
