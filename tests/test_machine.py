"""How many workers a machine, or a container on it, is good for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.machine import automatic_workers, available_memory, processors

MACHINE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("usable", "free", "expected"),
    [
        pytest.param(8, 64 * 10**9, 8, id="one-for-each-processor"),
        pytest.param(8, 700 * 10**6, 3, id="as-many-as-fit"),
        pytest.param(8, 50 * 10**6, 1, id="at-least-one"),
        pytest.param(8, None, 8, id="memory-unknown"),
    ],
)
def test_automatic_workers_fit_processors_and_memory(usable: int, free: int | None, expected: int) -> None:
    assert automatic_workers(usable, free) == expected


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        pytest.param("max 100000", MACHINE, id="no-quota"),
        pytest.param("50000 100000", 1, id="half-a-processor"),
        pytest.param("100000 100000", 1, id="one"),
        pytest.param("broken", MACHINE, id="unreadable"),
    ],
)
def test_a_quota_of_a_container_counts_as_its_processors(tmp_path: Path, quota: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(quota)

    assert processors(tmp_path) == expected


def test_a_system_that_binds_no_processors_has_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS."""
    monkeypatch.delattr(os, "sched_getaffinity")

    assert processors(tmp_path) == os.cpu_count()


def test_free_memory_is_what_both_the_machine_and_the_container_have(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    alone = available_memory(tmp_path, meminfo)
    (tmp_path / "memory.max").write_text("4096000\n")
    (tmp_path / "memory.current").write_text("1000000\n")

    assert alone == 8_192_000
    assert available_memory(tmp_path, meminfo) == 3_096_000
    assert available_memory(tmp_path / "nowhere", tmp_path / "nothing") is None
