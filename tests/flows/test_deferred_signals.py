"""A signal is heard where a flow run asks for it, not where it happens to come."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from flows.signals import deferred


@pytest.fixture(autouse=True)
def as_python_has_it() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Finalized:
    """Ctrl-C comes while this goes: what a handler raises there, Python drops."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def interrupted(reached: list[str]) -> None:
    """Ctrl-C comes in a finalizer, twice asked for: before and after."""
    with deferred() as heed:
        heed()
        reached.append("before")
        del [Finalized()][0]
        reached.append("after")
        heed()
        reached.append("never")


def test_a_signal_that_comes_within_a_finalizer_is_heard_at_the_next_safe_place() -> None:
    reached: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        interrupted(reached)

    assert reached == ["before", "after"]


def test_a_signal_that_nobody_asked_for_is_heard_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), deferred():
        os.kill(os.getpid(), signal.SIGINT)


def interrupted_twice(reached: list[str]) -> None:
    """Nobody asks, but a second signal comes."""
    with deferred():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("first")
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("never")


def test_a_second_signal_does_not_wait() -> None:
    reached: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        interrupted_twice(reached)

    assert reached == ["first"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
