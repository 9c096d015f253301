"""The lake survives what kills it: the same rows afterwards, and readers that never see half a commit.

`THREADMILL_CRASH_ROUNDS` (1 by default) multiplies the rounds.
"""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.errors import StoreError
from pipelines.load.lake import Lake
from tests.load import wrong_protocols
from tests.load.children import competing_run, killed_recovery, killed_run
from tests.load.disks import (
    QUICK,
    ForgetfulDisk,
    FullDisk,
    Killed,
    NoExchangeDisk,
    SteppingDisk,
    ThoroughDisk,
    vanish,
)
from tests.load.scenario import SOURCE, TARGETS, clone, cursor, expected, run_once, seen, wrong_after, wrong_now

ROUNDS = int(os.environ.get("THREADMILL_CRASH_ROUNDS", "1"))
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "pandas", "tests.load.children"])
# a child lives for milliseconds: threads would cost it more than all that it does
os.environ.setdefault("POLARS_MAX_THREADS", "1")


def child(target: Callable[..., None], *arguments: object) -> int | None:
    """The exit code of a process that does *target*."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake after two runs."""
    root = tmp_path_factory.mktemp("committed")
    for _ in range(2):
        run_once(Lake(root, SOURCE, disk=QUICK))
    return root


@pytest.fixture
def fresh(committed: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes copies of that lake."""
    numbers = iter(range(1_000_000))
    return lambda: clone(committed, tmp_path / str(next(numbers)))


def steps_of_a_run(root: Path, disk: SteppingDisk | None = None) -> int:
    """How many durable steps a whole run takes, as *disk* counts them."""
    disk = disk or SteppingDisk()
    run_once(Lake(root, SOURCE, disk=disk), disk)
    return disk.steps


def problems_after_next_runs(root: Path, *, run: bool = True) -> Iterator[str]:
    """Recover, and *run* once more; what was wrong on the way."""
    lake = Lake(root, SOURCE, disk=QUICK)
    with lake.lock("check"):
        lake.recover()
    yield from wrong_after(root, lake)
    if not run:
        return
    before = cursor(lake.head())
    run_once(Lake(root, SOURCE, disk=QUICK))
    yield from wrong_after(root, lake)
    if cursor(lake.head()) != before + 1:
        yield "the next run did not go on where the last commit ended"


def kill_a_run(root: Path, at: int, *, really: bool) -> int | None:
    """A run that ends before step *at*: by kill -9 in a process of its own, or at a step from which nothing is done."""
    if really:
        return child(killed_run, root, at)
    disk = SteppingDisk(at, vanish, lasting=True)
    with pytest.raises(Killed):
        run_once(Lake(root, SOURCE, disk=disk), disk)
    return -9


@pytest.mark.timeout(120 * ROUNDS)
def test_k01_a_run_killed_before_any_step_leaves_a_whole_commit(fresh: Callable[[], Path]) -> None:
    """Before every durable step, by kill -9 before every fifth (all in the long battery); recoveries too (k03)."""
    problems: list[str] = []
    steps = steps_of_a_run(fresh())

    for at in [*range(1, steps + 1)] * ROUNDS:
        root = fresh()
        code = kill_a_run(root, at, really=ROUNDS > 1 or at % 5 == 0)
        problems += [f"step {at}: {line}" for line in wrong_now(root, Lake(root, SOURCE, disk=QUICK))]
        if at % (4 if ROUNDS > 1 else 6) == 0:
            child(killed_recovery, root, 1 + at // 4 % 25)
            problems += [f"step {at}, recovery: {line}" for line in wrong_now(root, Lake(root, SOURCE, disk=QUICK))]
        problems += [f"step {at}, after: {line}" for line in problems_after_next_runs(root, run=at % 3 == 1)]
        problems += [] if code == -9 else [f"step {at}: exit code {code}"]

    assert steps > 40
    assert problems == []


def test_k01_the_first_run_of_all_killed_before_any_step_leaves_a_whole_commit(tmp_path: Path) -> None:
    """Nothing is there yet; folders are made on the way."""
    problems: list[str] = []

    for at in range(1, steps_of_a_run(tmp_path / "count") + 1):
        root, disk = tmp_path / str(at), SteppingDisk(at, vanish, lasting=True)
        with pytest.raises(Killed):
            run_once(Lake(root, SOURCE, disk=disk), disk)
        run_once(Lake(root, SOURCE, disk=QUICK))
        problems += [f"step {at}: {line}" for line in wrong_after(root, Lake(root, SOURCE, disk=QUICK))]

    assert problems == []


def test_k05_a_full_disk_costs_the_run_and_nothing_else(fresh: Callable[[], Path]) -> None:
    """Full from step k on, every write being one: an error and nothing left over, or a commit that the next shows."""
    problems: list[str] = []
    steps = steps_of_a_run(fresh(), ThoroughDisk())
    outcomes: set[object] = set()

    for at in range(1, steps + 1):
        root, disk = fresh(), FullDisk(at)
        lake = Lake(root, SOURCE, disk=disk)
        try:
            outcomes.add("pending" if run_once(lake, disk).pending else "committed")
        except StoreError as error:
            outcomes.add("free some space" in error.hint)
            left = set(lake.store.rglob("*.parquet")) - {
                lake.store / path for number in lake.log.numbers() for path in lake.log.read(number).paths
            }
            problems += [f"step {at}: left over {path.name}" for path in left]
        problems += [f"step {at}: {line}" for line in wrong_now(root, Lake(root, SOURCE, disk=QUICK))]
        problems += [f"step {at}, after: {line}" for line in problems_after_next_runs(root, run=at % 5 == 0)]

    assert problems == []
    assert outcomes == {"pending", "committed", True}


def power_cuts(fresh: Callable[[], Path], rounds: int, *, honest: bool) -> Iterator[str]:
    """What is wrong after power cuts at random steps."""
    steps = steps_of_a_run(fresh())
    for seed in range(rounds):
        root, chance = fresh(), random.Random(seed)
        disk = ForgetfulDisk(chance.randrange(1, steps + 8), chance, honest=honest)
        try:
            run_once(Lake(root, SOURCE, disk=disk), disk)
            finished = True
        except Killed:
            finished = False
        disk.cut()
        yield from (f"seed {seed}: {line}" for line in problems_after_power(root, finished=finished))


def problems_after_power(root: Path, *, finished: bool) -> Iterator[str]:
    """After a power cut the view may be damaged until a run recovers, no longer."""
    try:
        yield from problems_after_next_runs(root)
        if finished and cursor(Lake(root, SOURCE).head()) != 4:
            yield "a commit that was reported is gone"
    except StoreError as error:
        yield error.message


def test_k01_a_power_cut_loses_no_commit_that_was_reported(fresh: Callable[[], Path]) -> None:
    """Unsynced bytes are cut and unsynced names dropped, at random."""
    problems = list(power_cuts(fresh, 20 * ROUNDS, honest=True))

    assert problems == []


def test_a_disk_that_only_pretends_to_sync_is_noticed_by_the_same_check(fresh: Callable[[], Path]) -> None:
    """The check would fail if the lake did not sync."""
    problem = next(power_cuts(fresh, 60, honest=False), None)

    assert problem is not None


@pytest.mark.parametrize("locked", [pytest.param(True, id="lock"), pytest.param(False, id="no-lock")])
def test_k06_competing_runs_lose_nothing_and_double_nothing(tmp_path: Path, locked: bool) -> None:
    """Three processes at once; each commit that one made counts once."""
    run_once(Lake(tmp_path, SOURCE))
    processes = [CONTEXT.Process(target=competing_run, args=(tmp_path, 12 * ROUNDS, locked)) for _ in range(3)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
    lake = Lake(tmp_path, SOURCE)
    with lake.lock("check"):
        lake.recover()

    made = sum(int(path.read_text()) for path in tmp_path.glob("made-*"))
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert list(wrong_after(tmp_path, lake)) == []
    assert cursor(lake.head()) == 1 + made
    assert made >= 3


@pytest.mark.parametrize("protocol", wrong_protocols.ALL, ids=lambda protocol: protocol.__name__)
def test_a_wrong_protocol_is_caught_by_the_same_oracle(
    fresh: Callable[[], Path], protocol: type[wrong_protocols.Protocol]
) -> None:
    """Each breaks one promise of the lake; killing it before each step must show it."""
    problems: list[str] = []

    for at in protocol.steps(steps_of_a_run(fresh()) + 8):
        problems += protocol(at).problems(fresh())
        if problems:
            break

    assert problems != []


def test_the_right_protocol_passes_the_oracle_that_catches_the_wrong_ones(fresh: Callable[[], Path]) -> None:
    """Steps up to the last, and a run that is not killed."""
    problems: list[str] = []
    steps = steps_of_a_run(fresh())

    for at in range(1, steps + 8, 7 if ROUNDS == 1 else 1):
        problems += wrong_protocols.Protocol(at).problems(fresh())

    assert problems == []


def test_a_file_system_without_links_and_exchange_gets_copies(tmp_path: Path) -> None:
    """The abilities say so; rows are the same."""
    lake = Lake(tmp_path, SOURCE, disk=NoExchangeDisk())

    for _ in range(3):
        run_once(lake)

    assert (lake.abilities.hard_links, lake.abilities.exchange) == (False, False)
    assert [seen(tmp_path, name) for name in TARGETS] == [expected(name, 3) for name in TARGETS]
