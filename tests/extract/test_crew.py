"""Threads come when steps wait, and stay away when one more would not help."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipelines.extract.crew import AT_ONCE, Crew, Size
from pipelines.extract.lanes import Lanes


class Work:
    """Threads that wait or compute until they are let go."""

    def __init__(self, size: Size, *, computes: bool = False) -> None:
        self.over = threading.Event()
        self.crew = Crew(self._compute if computes else self._idle, size, "fetch-shop")
        self.crew.open()

    def _idle(self) -> None:
        self.over.wait()

    def _compute(self) -> None:
        while not self.over.is_set():
            sum(range(10_000))

    def end(self) -> None:
        """Let all go."""
        self.crew.close()
        self.over.set()
        self.crew.join()


@pytest.fixture
def works() -> Iterator[list[Work]]:
    made: list[Work] = []
    yield made
    for work in made:
        work.end()


def crew_of(works: list[Work], size: Size, *, computes: bool = False) -> Crew:
    works.append(Work(size, computes=computes))
    return works[-1].crew


def threads() -> int:
    return sum(thread.name.startswith("fetch-shop-") for thread in threading.enumerate())


def test_no_more_threads_come_than_steps_wait(works: list[Work]) -> None:
    crew = crew_of(works, Size(32))

    crew.wanted(3)

    assert threads() == 3


def test_threads_that_wait_are_joined_by_more_up_to_the_requests_in_flight(works: list[Work]) -> None:
    crew = crew_of(works, Size(32))
    crew.wanted(100)

    for _ in range(100):
        threading.Event().wait(0.01)
        crew.wanted(100)

    assert threads() == 32


def test_threads_that_compute_are_not_joined_by_more(works: list[Work]) -> None:
    """Seen at a moment when the machine lets them compute: the share that other programs take looks like waiting."""
    share = 0.0
    deadline = time.monotonic() + 20
    while share < 0.9 and time.monotonic() < deadline:
        for work in works:
            work.end()
        crew = crew_of(works, Size(32), computes=True)
        began, used = time.monotonic(), time.process_time()
        crew.wanted(AT_ONCE)
        threading.Event().wait(0.2)
        crew.wanted(1)
        share = (time.process_time() - used) / (time.monotonic() - began)
    if share < 0.9:
        pytest.skip("other programs left this one no whole processor for 0.2 s")

    assert threads() == AT_ONCE


def test_pages_that_fill_the_memory_keep_threads_away(works: list[Work]) -> None:
    crew = crew_of(works, Size(32, memory=100_000_000))
    crew.wanted(1)
    crew.has_page(30_000_000)

    crew.wanted(100)

    assert threads() == 3


def test_a_number_in_the_settings_is_what_comes(works: list[Work]) -> None:
    crew = crew_of(works, Size(12, is_fixed=True, memory=1))
    crew.has_page(1_000_000)

    crew.wanted(100)

    assert threads() == 12


def test_a_closed_crew_grows_no_more(works: list[Work]) -> None:
    crew = crew_of(works, Size(8))
    crew.close()

    crew.wanted(5)

    assert threads() == 0


def test_lanes_tell_of_steps_for_which_no_thread_is_idle() -> None:
    told: list[int] = []
    lanes: Lanes[int] = Lanes(told.append)
    taker = threading.Thread(target=lanes.take)
    taker.start()
    deadline = time.monotonic() + 10
    while not told and time.monotonic() < deadline:
        lanes.look()  # tells nothing: nothing waits
        lanes.add("orders", 1, 2, 3)

    lanes.close()
    taker.join()

    assert told[0] in (2, 3)
