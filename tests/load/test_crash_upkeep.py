"""A lake survives what kills its upkeep: rollback, compaction, repair, and runs that keep every version of a key.

`THREADMILL_CRASH_ROUNDS` above 1 kills processes of their own before every step, and kills recoveries too.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import StoreError
from pipelines.load.lake import Lake
from tests.load.children import killed_history, killed_recovery, killed_upkeep
from tests.load.disks import QUICK, ForgetfulDisk, FullDisk, Killed, ReadOnlyDisk, SteppingDisk, ThoroughDisk, vanish
from tests.load.scenario import ALL_TARGETS, SOURCE, UPKEEP, clone, cursor, keep_up, run_once, wrong_after, wrong_now

ROUNDS = int(os.environ.get("THREADMILL_CRASH_ROUNDS", "1"))
CONTEXT = multiprocessing.get_context("forkserver")
RUNS_SEEN = {"rollback": (1, 2), "compact": (2,), "repair": (2,)}
Work = Callable[[Lake, SteppingDisk], object]


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake after two runs, with a history of versions."""
    root = tmp_path_factory.mktemp("committed")
    for _ in range(2):
        run_once(Lake(root, SOURCE, disk=QUICK), targets=ALL_TARGETS)
    return root


@pytest.fixture
def fresh(committed: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes copies of that lake."""
    numbers = iter(range(1_000_000))
    return lambda: clone(committed, tmp_path / str(next(numbers)))


def damaged(root: Path) -> Path:
    """The same lake, where somebody has removed a file of the store and one of the view."""
    events = Lake(root, SOURCE).snapshot()["events"]
    events[0].unlink()
    next((root / "parquet" / SOURCE / "totals").rglob("*.parquet")).unlink()
    return root


def upkeep_of(fresh: Callable[[], Path], what: str) -> tuple[Work, Callable[[], Path]]:
    """*what* as a piece of work, and what makes lakes that it is done to."""

    def work(lake: Lake, disk: SteppingDisk) -> None:
        keep_up(lake, what)

    def make() -> Path:
        return damaged(fresh()) if what == "repair" else fresh()

    return work, make


def killed(work: Work, root: Path, at: int) -> None:
    """Let *work* end before its step *at*; nothing is done from there on."""
    disk = SteppingDisk(at, vanish, lasting=True)
    with pytest.raises(Killed):
        work(Lake(root, SOURCE, disk=disk), disk)


def really_killed(target: Callable[..., None], *arguments: Any) -> int | None:
    """The exit code of a process that does *target*."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def steps_of(work: Work, root: Path, disk: SteppingDisk | None = None) -> int:
    """How many durable steps *work* takes, as *disk* counts them."""
    disk = disk or SteppingDisk()
    work(Lake(root, SOURCE, disk=disk), disk)
    return disk.steps


def problems_afterwards(root: Path, *, run: bool, repairs: bool = False) -> Iterator[str]:
    """Recover, or repair, and *run* once more; what was wrong on the way."""
    lake = Lake(root, SOURCE, disk=QUICK)
    with lake.lock("check"):
        lake.repair() if repairs else lake.recover()
    yield from wrong_after(root, lake)
    if not run:
        return
    before = cursor(lake.head())
    run_once(Lake(root, SOURCE, disk=QUICK), targets=ALL_TARGETS)
    yield from wrong_after(root, lake)
    if cursor(lake.head()) != before + 1:
        yield "the next run did not go on where the last commit ended"


@pytest.mark.timeout(120 * ROUNDS)
@pytest.mark.parametrize("what", UPKEEP)
def test_k01_upkeep_killed_before_any_step_leaves_a_whole_commit(fresh: Callable[[], Path], what: str) -> None:
    """Readers see the commit before or the one after; the next run goes on from whichever it is."""
    problems: list[str] = []

    work, make = upkeep_of(fresh, what)

    steps = steps_of(work, make())
    for at in range(1, steps + 1):
        root = make()
        if ROUNDS > 1:
            code = really_killed(killed_upkeep, root, at, what)
            problems += [] if code == -9 else [f"step {at}: exit code {code}"]
            really_killed(killed_recovery, root, 1 + at % 20)
        else:
            killed(work, root, at)
        # a file that somebody took from the view is missing until it is repaired
        seen_now = wrong_now(root, Lake(root, SOURCE, disk=QUICK), RUNS_SEEN[what]) if what != "repair" else ()
        problems += [f"step {at}: {line}" for line in seen_now]
        after = problems_afterwards(root, run=ROUNDS > 1 or at % 5 == 0, repairs=what == "repair")
        problems += [f"step {at}, after: {line}" for line in after]

    assert steps >= 5
    assert problems == []


@pytest.mark.timeout(120 * ROUNDS)
def test_k01_a_run_that_ends_and_begins_versions_killed_before_any_step_doubles_none(fresh: Callable[[], Path]) -> None:
    """Before every fifth durable step; before every one in the long battery."""
    problems: list[str] = []

    def work(lake: Lake, disk: SteppingDisk) -> None:
        run_once(lake, disk, targets=ALL_TARGETS)

    steps = steps_of(work, fresh())
    for at in range(1, steps + 1, 1 if ROUNDS > 1 else 5):
        root = fresh()
        if ROUNDS > 1:
            code = really_killed(killed_history, root, at)
            problems += [] if code == -9 else [f"step {at}: exit code {code}"]
        else:
            killed(work, root, at)
        problems += [f"step {at}: {line}" for line in wrong_now(root, Lake(root, SOURCE, disk=QUICK))]
        problems += [f"step {at}, after: {line}" for line in problems_afterwards(root, run=ROUNDS > 1 or at % 2 == 0)]

    assert steps > 40
    assert problems == []


def one_run(lake: Lake, disk: SteppingDisk) -> object:
    """A run of all modes: append, upsert, replace, history, deletes."""
    return run_once(lake, disk, targets=ALL_TARGETS)


@pytest.mark.timeout(120 * ROUNDS)
@pytest.mark.parametrize("kind", [FullDisk, ReadOnlyDisk])
def test_k05_a_disk_that_refuses_costs_a_run_of_all_modes_and_nothing_else(
    fresh: Callable[[], Path], kind: type[FullDisk | ReadOnlyDisk]
) -> None:
    """Full, or read-only, from every twelfth durable step on, each write being one; in the long battery from each."""
    problems: list[str] = []
    outcomes: set[str] = set()
    steps = steps_of(one_run, fresh(), ThoroughDisk())

    for at in range(1, steps + 1, 1 if ROUNDS > 1 else 12):
        root, disk = fresh(), kind(at)
        try:
            one_run(Lake(root, SOURCE, disk=disk), disk)
            outcomes.add("committed")
        except StoreError as error:
            outcomes.add(error.hint.partition(":")[0])
        problems += [f"step {at}: {line}" for line in wrong_now(root, Lake(root, SOURCE, disk=QUICK))]
        problems += [f"step {at}, after: {line}" for line in problems_afterwards(root, run=ROUNDS > 1 or at % 2 == 0)]

    assert problems == []
    assert {"the disk is full" if kind is FullDisk else "the file system is mounted read-only"} <= outcomes


@pytest.mark.timeout(120 * ROUNDS)
@pytest.mark.parametrize("kind", [FullDisk, ReadOnlyDisk])
@pytest.mark.parametrize("what", UPKEEP)
def test_k05_a_disk_that_refuses_costs_upkeep_and_nothing_else(
    fresh: Callable[[], Path], what: str, kind: type[FullDisk | ReadOnlyDisk]
) -> None:
    """Full, or read-only, from every fifth step on: an error, or a commit that the next run shows."""
    problems: list[str] = []
    outcomes: set[str] = set()

    work, make = upkeep_of(fresh, what)

    steps = steps_of(work, make(), ThoroughDisk())
    for at in range(1, steps + 1, 1 if ROUNDS > 1 else 5):
        root, disk = make(), kind(at)
        try:
            work(Lake(root, SOURCE, disk=disk), disk)
        except StoreError as error:
            outcomes.add(error.hint.partition(":")[0])
        seen_now = wrong_now(root, Lake(root, SOURCE, disk=QUICK), RUNS_SEEN[what]) if what != "repair" else ()
        problems += [f"step {at}: {line}" for line in seen_now]
        after = problems_afterwards(root, run=ROUNDS > 1 or at % 2 == 0, repairs=what == "repair")
        problems += [f"step {at}, after: {line}" for line in after]

    assert problems == []
    assert {"the disk is full" if kind is FullDisk else "the file system is mounted read-only"} <= outcomes


def test_k01_a_power_cut_in_a_run_of_all_modes_loses_no_commit_that_was_reported(fresh: Callable[[], Path]) -> None:
    """Unsynced bytes are cut and unsynced names dropped, at random."""
    problems: list[str] = []
    steps = steps_of(one_run, fresh())

    for seed in range(5 * ROUNDS):
        root, chance = fresh(), random.Random(seed)
        disk = ForgetfulDisk(chance.randrange(1, steps + 8), chance)
        finished = True
        try:
            one_run(Lake(root, SOURCE, disk=disk), disk)
        except Killed:
            finished = False
        disk.cut()
        problems += [f"seed {seed}: {line}" for line in problems_afterwards(root, run=True)]
        if finished and cursor(Lake(root, SOURCE).head()) != 4:
            problems.append(f"seed {seed}: a commit that was reported is gone")

    assert problems == []


@pytest.mark.timeout(120 * ROUNDS)
@pytest.mark.parametrize("what", UPKEEP)
def test_k01_a_power_cut_in_upkeep_leaves_a_whole_commit(fresh: Callable[[], Path], what: str) -> None:
    """Rows are those of the commit before or of the one after, and the next run goes on from it."""
    problems: list[str] = []

    work, make = upkeep_of(fresh, what)

    steps = steps_of(work, make())
    for seed in range(8 * ROUNDS):
        root, chance = make(), random.Random(seed)
        disk = ForgetfulDisk(chance.randrange(1, steps + 4), chance)
        with suppress(Killed):
            work(Lake(root, SOURCE, disk=disk), disk)
        disk.cut()
        after = problems_afterwards(root, run=True, repairs=what == "repair")
        problems += [f"seed {seed}: {line}" for line in after]

    assert problems == []


def test_a_clock_that_jumps_back_and_forth_changes_no_row_of_any_mode(fresh: Callable[[], Path]) -> None:
    """Commits are ordered by number; vacuum forgets none that is kept; each run goes on from the one before."""
    root = fresh()

    for year in (1999, 2040, 2001, 1980):
        run_once(Lake(root, SOURCE, disk=QUICK), targets=ALL_TARGETS, now=datetime(year, 1, 1, tzinfo=UTC))

    lake = Lake(root, SOURCE)
    assert list(wrong_after(root, lake)) == []
    assert (cursor(lake.head()), lake.log.numbers()[-1]) == (6, 6)
    assert lake.verify().defects == ()
