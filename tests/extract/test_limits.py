"""One budget for each host: places in flight, tokens of the rate, pauses."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.config.loading import load
from pipelines.errors import ConfigError, Interrupted, RateLimited
from pipelines.extract.limits import Budget, Budgets, Limits

NEVER = threading.Event()


def limits(**written: object) -> Limits:
    return Limits.model_validate(written)


def test_two_sources_of_one_host_share_one_budget_and_the_stricter_limit_holds() -> None:
    budgets = Budgets()
    first = budgets.of("https://api.example", limits(in_flight=8))

    second = budgets.of("https://api.example", limits(in_flight=1))

    assert second is first
    with first.place(1, NEVER), ThreadPoolExecutor(1) as pool:
        waiting = threading.Event()
        stop = threading.Event()

        def another() -> None:
            waiting.set()
            with second.place(1, stop):
                pass

        blocked = pool.submit(another)
        waiting.wait()
        stop.set()
        with pytest.raises(Interrupted):
            blocked.result(5)


def test_after_a_pause_one_request_probes_and_the_others_follow_its_success() -> None:
    budget = Budget(limits(in_flight=8))
    running, most = 0, []
    lock = threading.Lock()
    began = time.monotonic()
    budget.pause(0.05)

    def ask() -> float:
        nonlocal running
        with budget.place(1, NEVER) as place:
            started = time.monotonic()
            with lock:
                running += 1
                most.append((place.probe, running))
            NEVER.wait(0.01)
            with lock:
                running -= 1
            return started

    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: ask(), range(8)))

    assert min(started) - began >= 0.05
    assert [count for probe, count in most if probe] == [1]
    assert sum(probe for probe, _ in most) == 1


def test_a_probe_that_is_throttled_again_lets_nobody_follow() -> None:
    budget = Budget(limits())
    budget.pause(0)

    with budget.place(1, NEVER) as place:
        place.welcome = False
    with budget.place(1, NEVER) as following:
        pass

    assert place.probe
    assert following.probe


def test_no_more_requests_are_sent_at_once_than_remain() -> None:
    """Of eight places two are left: the third request waits until the API says that more remain."""
    told = limits(in_flight=8, remaining_header="X-Left")
    budget = Budget(told)
    stop = threading.Event()
    stop.set()
    budget.learn(told, {"x-left": "2"}, now=0.0)

    with budget.place(1, NEVER), budget.place(1, NEVER):
        with pytest.raises(Interrupted), budget.place(1, stop):
            pass
        budget.learn(told, {"x-left": "100"}, now=0.0)
        with budget.place(1, stop):
            pass


@pytest.mark.parametrize("written", ["rate: 10/s", "daily: 10", "rate: [600/min, 10/s]"])
def test_a_weight_that_no_limit_ever_allows_is_refused(tmp_path: Path, written: str) -> None:
    """It would wait for ever."""
    source = tmp_path / "shop.yaml"
    source.write_text(
        f"base_url: https://a.example\nlimits: {{{written}}}\nresources:\n  r:\n    path: /x\n    weight: 11\n"
    )

    with pytest.raises(ConfigError, match=r"shop.yaml:6: .*one request counts as 11, but `limits` allow 10"):
        load(tmp_path, env={})


def test_a_weight_that_the_limits_of_another_source_never_allow_is_an_error() -> None:
    """Both ask one host, and the stricter rate holds for all."""
    budgets = Budgets()
    budget = budgets.of("https://a.example", limits(rate="100/s"))
    budgets.of("https://a.example", limits(rate="5/s"))

    with pytest.raises(RateLimited, match="one request counts as 10, more than the limits"), budget.place(10, NEVER):
        pass
    with budget.place(5, NEVER) as place:
        assert place.waited_s < 1


def test_a_request_counts_by_its_weight() -> None:
    budget = Budget(limits(rate="10/s"))
    began = time.monotonic()

    for _ in range(3):
        with budget.place(5, NEVER):
            pass

    assert 0.9 <= time.monotonic() - began < 2


def test_several_rates_hold_at_once() -> None:
    budget = Budget(limits(rate=["100/s", "3/min"]))
    stop = threading.Event()
    for _ in range(3):
        with budget.place(1, stop):
            pass
    stop.set()

    with pytest.raises(Interrupted), budget.place(1, stop):
        pass


def test_of_a_wait_the_pause_that_the_host_asked_for_is_told_apart() -> None:
    """A rate lets the second request wait for a second; in the first 0.3 s of it nobody may send."""
    budget = Budget(limits(rate="1/s"))
    with budget.place(1, NEVER):
        pass
    budget.pause(0.3)

    with budget.place(1, NEVER) as place:
        pass

    assert 0.2 < place.paused_s < 0.6
    assert place.waited_s - place.paused_s > 0.3


@pytest.mark.parametrize(("reset", "pause_s"), [
    ("2", 2.0), ("1700000002", 2.0), ("1700000002.0", 2.0), ("1700000002000", 2.0), ("2023-11-14T22:13:22Z", 2.0),
    ("Tue, 14 Nov 2023 22:13:22 GMT", 2.0), ("soon", 0.0), ("", 0.0),
])  # fmt: skip
def test_headers_that_say_nothing_remains_pause_until_the_reset(reset: str, pause_s: float) -> None:
    moment = [0.0]
    told = limits(remaining_header="X-Left", reset_header="X-Reset")
    budget = Budget(told, clock=lambda: moment[0])
    stop = threading.Event()
    stop.set()

    budget.learn(told, {"x-left": "0", "x-reset": reset}, now=1_700_000_000.0)

    if pause_s:
        moment[0] = pause_s - 0.1
        with pytest.raises(Interrupted), budget.place(1, stop):
            pass
    moment[0] = pause_s
    with budget.place(1, stop) as place:
        assert place.waited_s == 0
