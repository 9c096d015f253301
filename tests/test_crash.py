"""Kill -9 at any moment, then run again: the same rows, none twice, and readers never see half a commit.

Two ways to die. Cheap ones: sources run in a child of a fork server, with its
workers' calls made in the child itself, killed before a chosen durable step or
at a chosen event. Real ones: `python -m pipelines run` with its worker
processes, killed at random. `THREADMILL_CRASH_ROUNDS` (1 by default)
multiplies both.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.project import load_project
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import FakeApi
from tests.killing import (
    Deadline,
    child,
    counted_steps,
    doomed_command,
    doomed_run,
    files,
    run_here,
    signalled_command,
)
from tests.load.scenario import clone
from tests.processes import children, ended, eventually
from tests.shop import Ended, Shop, wrong_after, wrong_now

ROUNDS = int(os.environ.get("THREADMILL_CRASH_ROUNDS", "1"))


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    """A project whose first day is committed in `day-1`, while the API is at day 2."""
    shop = Shop(api, tmp_path)
    run_here(tmp_path, tmp_path / "day-1", Deadline())
    shop.day = 2
    return shop


@pytest.mark.timeout(200 * ROUNDS)
@pytest.mark.parametrize("by_step", [pytest.param(True, id="durable-step"), pytest.param(False, id="event")])
def test_k01_a_run_killed_at_any_moment_is_made_good_by_the_next(shop: Shop, by_step: bool) -> None:
    """Also killed in the next run, which recovers (k03): every third round."""
    tally: Counter[str] = Counter()
    problems: list[str] = []
    folder = shop.folder

    for at in moments(shop, by_step=by_step):
        data = clone(folder / "day-1", folder / f"killed-at-{at}")
        killed = [child(doomed_run, folder, data, at, by_step) == -signal.SIGKILL]
        problems += [f"{at}: {line}" for line in wrong_now(data, 2)]
        if at % 3 == 0:
            killed.append(child(doomed_run, folder, data, 1 + at // 3, by_step) == -signal.SIGKILL)
            problems += [f"{at}, killed again: {line}" for line in wrong_now(data, 2)]
        run_here(folder, data, Deadline())
        found = wrong_after(data, 2)
        problems += [f"{at}, run again: {line}" for line in found]
        tally.update(rounds=1, killed=sum(killed), exact=not found)

    print(f"\nkilled at a chosen {'step' if by_step else 'event'}: {dict(tally)}")  # noqa: T201 - the tally is the result
    assert problems == []
    assert tally["rounds"] == tally["exact"] <= tally["killed"]


@pytest.mark.timeout(200 * ROUNDS)
def test_k04_a_signal_in_the_middle_of_a_commit_ends_the_run_or_lets_the_commit_finish(shop: Shop) -> None:
    """SIGTERM and SIGINT before durable steps of the process that commits: readers see a whole commit each time."""
    run = ("run",)
    steps = counted_steps(doomed_command, shop.folder, clone(shop.folder / "day-1", shop.folder / "counted"), *run)
    chance, codes, problems = random.Random(ROUNDS), set(), []
    late = range(steps // 3, steps + 1)

    for at in sorted(chance.sample(late, min(len(late), 3 * ROUNDS))):
        data = clone(shop.folder / "day-1", shop.folder / f"told-at-{at}")
        number = chance.choice([signal.SIGTERM, signal.SIGINT])
        codes.add(child(signalled_command, shop.folder, data, at, number, *run))
        problems += [f"{at} of {steps}: {line}" for line in wrong_now(data, 2)]
        run_here(shop.folder, data, Deadline())
        problems += [f"{at} of {steps}, run again: {line}" for line in wrong_after(data, 2)]

    assert problems == []
    assert {130} <= codes <= {0, 130}


class Broken(Here):
    """An engine with a defect of its own: no error that anybody expects."""

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Fail in the parent, as a result that cannot be unpickled does."""
        raise AttributeError("can't get attribute 'Part'")


def test_a_batch_that_is_lost_to_a_defect_fails_its_resource_and_moves_no_watermark(shop: Shop) -> None:
    project = load_project({}, root=shop.folder, data=shop.folder / "day-1")

    report = run_source(project.sources["bank"], Shared("r", datetime.now(UTC), project.settings, Broken()))

    problem = report.resources[0].problem
    assert problem is not None
    assert problem.message == "bank.accounts: AttributeError: can't get attribute 'Part'"
    run_here(shop.folder, shop.folder / "day-1", Deadline())
    assert wrong_after(shop.folder / "day-1", 2) == []


def moments(shop: Shop, *, by_step: bool) -> Iterator[int]:
    """Numbers of the moments to die at: ten at random, or with many rounds all."""
    data = clone(shop.folder / "day-1", shop.folder / "counted")
    deadline = Deadline()
    if by_step:
        deadline.passed = counted_steps(doomed_run, shop.folder, data)
    else:
        run_here(shop.folder, data, deadline)
    every = range(1, deadline.passed + 1)
    assert len(every) > 40
    yield from every if len(every) <= 10 * ROUNDS else sorted(random.Random(ROUNDS).sample(every, 10 * ROUNDS))


@pytest.mark.timeout(200 * ROUNDS)
def test_k02_whole_runs_killed_at_random_end_with_the_same_rows_and_leave_no_process(shop: Shop) -> None:
    """Kill -9 of the parent while it fetches, mills or commits, and often in recovery; its workers follow."""
    tally: Counter[str] = Counter()
    chance = random.Random(ROUNDS)
    problems: list[str] = []
    data = clone(shop.folder / "day-1", shop.folder / "data")

    for turn in range(2 * ROUNDS):
        shop.day = 2 + turn % 6
        data = data if turn % 6 else clone(shop.folder / "day-1", shop.folder / f"data-{turn}")
        for stage in chance.sample(STAGES, 2 - turn % 2):
            tally["killed"] += killed_in(stage, shop.start(data=data), data, chance)
            problems += [f"day {shop.day}, killed when {stage}: {line}" for line in wrong_now(data, shop.day)]
        again = shop.run(data=data)
        found = wrong_after(data, shop.day) + ([] if again.code == 0 else [repr(again)])
        problems += [f"day {shop.day}, run again: {line}" for line in found]
        tally.update(rounds=1, exact=not found)

    print(f"\nkilled at random: {dict(tally)}")  # noqa: T201 - the tally is the result
    assert problems == []
    assert tally["exact"] == tally["rounds"]
    assert tally["killed"] > tally["rounds"] // 2


STAGES = ("locked", "fetching", "milling", "committed")


def killed_in(stage: str, run: subprocess.Popen[bytes], data: Path, chance: random.Random) -> bool:
    """Kill *run* a random moment after it has come to *stage*; whether it was still running."""
    before = (files(data, "lake/*/store"), files(data, "lake/*/log"))

    def come() -> bool:
        signs = {
            "locked": any(str(run.pid) in lock.read_text() for lock in data.glob("lake/*/lock")),
            "fetching": any(data.glob("spool/*/*.pages")),
            "milling": files(data, "lake/*/store") != before[0],
            "committed": files(data, "lake/*/log") != before[1],
        }
        return signs[stage] or run.poll() is not None

    eventually(come)
    time.sleep(max(chance.uniform(-0.1, 0.1), 0))  # the moment is the point
    workers = children(run.pid)
    run.kill()
    code = Ended.of(run).code
    assert ended(workers, within_s=5), "workers outlive their parent"
    return code == -signal.SIGKILL


WAITING = """\
import os
import time
from pathlib import Path

PLACE = Path({place!r})


def wait_once(frame):
    try:
        (PLACE / "first").touch(exist_ok=False)
    except FileExistsError:
        return frame
    (PLACE / "pid").write_text(str(os.getpid()))
    while not (PLACE / "go").exists():
        time.sleep(0.01)
    return frame
"""


@pytest.fixture
def stuck(shop: Shop) -> Shop:
    """The same, with a transform that holds the worker that calls it first until there is a file `go`."""
    shop.write("../transforms/hold.py", WAITING.format(place=str(shop.folder)))
    shop.edit("bank.yaml", "key: id", "key: id\n    transform: hold:wait_once")
    shop.write("settings.toml", f'workers = 2\ntransforms = "{shop.folder}/transforms"\ngrace = "1s"\n')
    return shop


def held_worker(shop: Shop) -> int:
    """The process in the middle of a batch."""
    place = shop.folder / "pid"
    eventually(lambda: place.exists() and place.read_text() != "")
    return int(place.read_text())


def test_k07_k08_a_killed_worker_costs_no_row_and_workers_follow_a_killed_parent(stuck: Shop) -> None:
    """The parent is killed in the middle of a batch; in the next run its worker is, and the batch is milled again."""
    data = stuck.folder / "data"
    run = stuck.start(data=data)
    held = held_worker(stuck)
    run.kill()
    run.communicate()
    assert ended([held], within_s=2)
    (stuck.folder / "pid").unlink()
    (stuck.folder / "first").unlink()

    again = stuck.start("--json", data=data)
    os.kill(held_worker(stuck), signal.SIGKILL)

    finished = Ended.of(again)
    assert finished.code == 0, finished
    assert finished.resource("bank.accounts")["problem"] is None
    assert wrong_after(data, 2) == []
