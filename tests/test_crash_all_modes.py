"""Kill -9 of runs that end and delete rows, and of the commands for committed data: readers see a whole commit.

Killed in a child before a chosen durable step, and as whole process groups at
random; what follows each time is the next run, and it finds everything.
`THREADMILL_CRASH_ROUNDS` (1 by default) multiplies both.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.load.lake import Lake
from tests.fake_api import FakeApi
from tests.killing import Deadline, child, counted_steps, doomed_command, doomed_run, run_here
from tests.load.scenario import clone
from tests.market import Market, wrong_after, wrong_now
from tests.processes import children, ended, eventually
from tests.shop import start

ROUNDS = int(os.environ.get("THREADMILL_CRASH_ROUNDS", "1"))
COMMANDS = {
    "compact": ("compact", "market"),
    "rollback": ("rollback", "market", "2"),
    "vacuum": ("vacuum", "market", "--keep", "1", "--grace", "0s"),
    "repair": ("repair", "market"),
}
DAYS = {"run": (3, 4), "rollback": (2, 3), "compact": (3,), "vacuum": (3,)}
"""Which days readers may see once a command was killed; a lake that was to be repaired is damaged."""


@pytest.fixture
def market(api: FakeApi, tmp_path: Path) -> Market:
    """A project whose first three days are committed in `day-3`, while the API is at day 4."""
    market = Market(api, tmp_path)
    for market.day in (1, 2, 3):
        run_here(tmp_path, tmp_path / "day-3", Deadline())
    market.day = 4
    return market


def copy(market: Market, name: object, what: str = "run") -> Path:
    """The three days again; for a repair without two of their files."""
    data = clone(market.folder / "day-3", market.folder / f"{what}-{name}")
    if what == "repair":
        Lake(data, "market").snapshot()["stock"][0].unlink()
        next((data / "parquet/market/offers").rglob("*.parquet")).unlink()
    return data


def problems_now(data: Path, what: str, *more: int) -> list[str]:
    """What readers see that they must not, at once."""
    return wrong_now(data, (*DAYS[what], *more)) if what in DAYS else []


def problems_after(market: Market, data: Path, what: str) -> Iterator[str]:
    """What is wrong after the next run; a damaged lake is repaired before it."""
    if what == "repair":
        assert child(doomed_command, market.folder, data, -1, *COMMANDS["repair"]) == 0
    run_here(market.folder, data, Deadline())
    yield from (f"run again: {line}" for line in wrong_after(data, 4))


@pytest.mark.timeout(200 * ROUNDS)
@pytest.mark.parametrize("what", ["run", *COMMANDS])
def test_k01_rows_that_end_and_go_survive_a_kill_before_any_durable_step(market: Market, what: str) -> None:
    """A run with history and deletes, compact, rollback, vacuum and repair, and each third time what follows it."""
    work: Callable[..., None] = doomed_run if what == "run" else doomed_command
    words = COMMANDS.get(what, ())
    steps = counted_steps(work, market.folder, copy(market, "counted", what), *words)
    limit = (8 if what == "run" else 3) * ROUNDS
    every = range(1, steps + 1)
    tally: Counter[str] = Counter()
    problems: list[str] = []

    for at in every if steps <= limit else sorted(random.Random(ROUNDS).sample(every, limit)):
        data = copy(market, at, what)
        killed = [child(work, market.folder, data, at, *words) == -signal.SIGKILL]
        found = [f"{at}: {line}" for line in problems_now(data, what)]
        if at % 3 == 0:
            killed.append(child(doomed_run, market.folder, data, 1 + at // 3) == -signal.SIGKILL)
            found += [f"{at}, killed again: {line}" for line in problems_now(data, what, 4)]
        found += [f"{at}: {line}" for line in problems_after(market, data, what)]
        problems += found
        tally.update(rounds=1, killed=sum(killed), exact=not found)

    print(f"\n{what} killed at a chosen step of {steps}: {dict(tally)}")  # noqa: T201 - the tally is the result
    assert problems == []
    assert steps > 5
    assert 0 < tally["rounds"] <= tally["killed"]


@pytest.mark.timeout(200 * ROUNDS)
def test_k02_whole_commands_killed_at_random_leave_what_the_next_run_makes_good(market: Market) -> None:
    """Kill -9 of the group of processes, at any time from its start on, or a moment after it has taken the lock."""
    chance = random.Random(ROUNDS)
    tally: Counter[str] = Counter()
    problems: list[str] = []

    for turn in range(ROUNDS):
        for what, words in {"run": ("run", "market"), **COMMANDS}.items():
            data = copy(market, f"killed-{turn}", what)
            tally["killed"] += killed_group(market, data, words, chance)
            found = [f"{what} {turn}: {line}" for line in problems_now(data, what)]
            found += [f"{what} {turn}: {line}" for line in problems_after(market, data, what)]
            problems += found
            tally.update(rounds=1, exact=not found)

    print(f"\nkilled at random: {dict(tally)}")  # noqa: T201 - the tally is the result
    assert problems == []
    assert tally["killed"] > tally["rounds"] // 2


def killed_group(market: Market, data: Path, words: tuple[str, ...], chance: random.Random) -> bool:
    """Start `threadmill WORDS` and kill its group; whether it was still at it."""
    process = start(market.folder, *words, "--data", str(data))
    lock = data / "lake/market/lock"
    if chance.random() < 0.5:
        eventually(lambda: str(process.pid) in lock.read_text() or process.poll() is not None)
    # the moment is the point
    time.sleep(chance.uniform(0, 0.03) if str(process.pid) in lock.read_text() else chance.uniform(0, 0.8))
    below = children(process.pid)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert ended(below, within_s=5), "workers outlive their parent"
    return process.returncode == -signal.SIGKILL
