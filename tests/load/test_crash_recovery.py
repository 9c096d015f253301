"""A recovery may die as well: the one after it makes good what both left.

`THREADMILL_CRASH_ROUNDS` above 1 kills runs before every step, and each recovery in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.load.lake import Lake
from tests.load.children import killed_recovery
from tests.load.disks import QUICK, Killed, SteppingDisk, vanish
from tests.load.scenario import SOURCE, clone, run_once, wrong_after, wrong_now

ROUNDS = int(os.environ.get("THREADMILL_CRASH_ROUNDS", "1"))
CONTEXT = multiprocessing.get_context("forkserver")


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake after two runs."""
    root = tmp_path_factory.mktemp("committed")
    for _ in range(2):
        run_once(Lake(root, SOURCE, disk=QUICK))
    return root


@pytest.mark.timeout(120 * ROUNDS)
def test_k03_a_recovery_killed_before_any_of_its_steps_is_made_good_by_the_next(
    committed: Path, tmp_path: Path
) -> None:
    """Of runs that died before every tenth step; by kill -9 before a recovery's first step, and its last."""
    problems: list[str] = []
    recoveries = 0

    for at in range(1, _steps_of_a_run(clone(committed, tmp_path / "whole")) + 1, 1 if ROUNDS > 1 else 10):
        dead = _dead_run(clone(committed, tmp_path / f"dead-{at}"), at)
        steps = _steps_of_a_recovery(clone(dead, tmp_path / f"count-{at}"))
        for step in range(1, steps + 1):
            root = clone(dead, tmp_path / f"{at}-{step}")
            really = ROUNDS > 1 or (at % 3 == 0 and step in (1, steps))
            problems += [f"{at}, {step}: {line}" for line in _killed_and_made_good(root, step, really=really)]
            recoveries += 1

    assert recoveries > 20
    assert problems == []


def test_k03_a_run_goes_on_after_three_recoveries_have_died(committed: Path, tmp_path: Path) -> None:
    """Each gets one step further; then the next run has all rows."""
    dead = _dead_run(clone(committed, tmp_path / "dead"), _steps_of_a_run(clone(committed, tmp_path / "whole")) - 3)
    seen: list[str] = []

    for step in (1, 2, 3):
        _recover(dead, SteppingDisk(step, vanish, lasting=True))
        seen += wrong_now(dead, Lake(dead, SOURCE, disk=QUICK))
    run_once(Lake(dead, SOURCE, disk=QUICK))

    assert seen == []
    assert list(wrong_after(dead, Lake(dead, SOURCE, disk=QUICK))) == []


def _killed_and_made_good(root: Path, step: int, *, really: bool) -> Iterator[str]:
    """What is wrong while a recovery is dead at *step*, and after the next one."""
    if really:
        process = CONTEXT.Process(target=killed_recovery, args=(root, step))
        process.start()
        process.join(60)
        yield from () if process.exitcode == -9 else (f"exit code {process.exitcode}",)
    else:
        yield from () if _recover(root, SteppingDisk(step, vanish, lasting=True)) else ("was not killed",)
    yield from wrong_now(root, Lake(root, SOURCE, disk=QUICK))
    _recover(root, SteppingDisk())
    yield from wrong_after(root, Lake(root, SOURCE, disk=QUICK))


def _recover(root: Path, disk: SteppingDisk) -> bool:
    """Recover on *disk*; whether it died."""
    lake = Lake(root, SOURCE, disk=disk)
    try:
        with lake.lock("recovery"):
            lake.recover()
    except Killed:
        return True
    return False


def _dead_run(root: Path, at: int) -> Path:
    disk = SteppingDisk(at, vanish, lasting=True)
    with pytest.raises(Killed):
        run_once(Lake(root, SOURCE, disk=disk), disk)
    return root


def _steps_of_a_run(root: Path) -> int:
    disk = SteppingDisk()
    run_once(Lake(root, SOURCE, disk=disk), disk)
    return disk.steps


def _steps_of_a_recovery(root: Path) -> int:
    disk = SteppingDisk()
    _recover(root, disk)
    return disk.steps
