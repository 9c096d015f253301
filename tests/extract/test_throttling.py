"""An API that asks to be left alone: who waits, for how long, and who does not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from pipelines.errors import Interrupted
from pipelines.extract.client import Client
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.limits import Budgets
from pipelines.extract.request import Request
from tests.extract.conftest import IMPATIENT, WHOLE, Shop, kind_of
from tests.fake_api import Answer, Asked, fake_api, say


def test_t16_a_retry_after_pauses_every_thread_of_that_host_and_one_request_probes(shop: Shop) -> None:
    shop.settings = {"limits": {"in_flight": 8}}
    throttled = threading.Event()

    def route(asked):  # type: ignore[no-untyped-def]  # as the fake API calls it
        if asked.params["n"] == "3" and not throttled.is_set():
            throttled.set()
            return Answer(429, headers={"Retry-After": "1"}, delay_s=0.05)
        return say({"data": [{"id": 1}]}, delay_s=0.02)

    shop.api.route("/orders", route)
    outcome = shop.one(params={"n": "{n}"}, for_each={"values": {"n": list(range(200))}})

    times = shop.api.times("/orders")
    gaps = [after - before for before, after in pairwise(times)]
    resumed = gaps.index(max(gaps)) + 1
    assert outcome.extractions["orders"].error is None
    assert max(gaps) >= 0.9
    assert times[resumed + 1] - times[resumed] >= 0.015, "the others follow the answer to the probe"
    assert len(outcome.rows("orders")) == 200


def test_t16_a_rule_that_retries_pauses_the_whole_host_as_the_api_asks(shop: Shop) -> None:
    """A 403 that a rule takes for a limit, with Retry-After: the seven other threads ask nothing meanwhile."""
    shop.settings = {"limits": {"in_flight": 8}}
    limited = threading.Event()

    def route(asked: Asked) -> Answer:
        if asked.params["n"] == "3" and not limited.is_set():
            limited.set()
            return say({"message": "a secondary rate limit"}, 403, headers={"Retry-After": "1"}, delay_s=0.05)
        return say({"data": [{"id": 1}]}, delay_s=0.02)

    shop.api.route("/orders", route)
    outcome = shop.one(
        params={"n": "{n}"},
        for_each={"values": {"n": list(range(200))}},
        errors=[{"status": 403, "when": "contains(message, 'secondary rate')", "do": "retry"}],
    )

    times = shop.api.times("/orders")
    assert max(after - before for before, after in pairwise(times)) >= 0.9
    assert outcome.extractions["orders"].throttled_s >= 1
    assert len(outcome.rows("orders")) == 200


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads that wait are let in at once, so that what can come between two steps of another does."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("restless_threads")
def test_t16_nobody_takes_the_place_of_a_request_that_was_throttled(shop: Shop) -> None:
    """Sixteen threads wait for the one place: none asks between the 429 and the end of the pause."""
    shop.settings = {"limits": {"in_flight": 1}}
    shop.api.answer("/orders", Answer(429, headers={"Retry-After": "1"}, delay_s=0.1), WHOLE)
    client, endpoint = Client(shop.connection()), Endpoint(path="/orders", records="data")

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(client.fetch, Request("GET", f"{shop.api.url}/orders"), endpoint) for _ in range(16)]
        counts = [one.result().count for one in asked]
    client.close()

    first, second, *_ = shop.api.times("/orders")
    assert second - first >= 1.1
    assert (counts, shop.api.calls["/orders"]) == ([2] * 16, 17)


def test_t17_a_retry_after_date_is_honoured(shop: Shop) -> None:
    def route(asked: Asked) -> Answer:
        if shop.api.calls["/orders"] > 1:
            return WHOLE
        moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return Answer(429, headers={"Retry-After": moment})

    shop.api.route("/orders", route)

    outcome = shop.one()

    first, second = shop.api.times("/orders")
    assert second - first >= 0.9
    assert len(outcome.rows("orders")) == 2


@pytest.mark.parametrize("written", ["-5", "abc", ""])
def test_t17_a_retry_after_without_sense_means_backoff(shop: Shop, written: str) -> None:
    shop.api.answer("/orders", Answer(429, headers={"Retry-After": written}), WHOLE)

    assert len(shop.one().rows("orders")) == 2


def test_t17_a_retry_after_beyond_the_budget_ends_at_once_and_names_the_wait(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(429, headers={"Retry-After": "999999"}))

    error = shop.one().error("orders")

    assert (error.kind, shop.api.calls["/orders"]) == ("RateLimited", 1)
    assert "999,999 s" in error.message


def test_t18_throttled_for_ever_ends_with_no_storm(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(429))

    assert kind_of(shop) == ("RateLimited", 3)


def test_one_host_that_throttles_does_not_slow_another(shop: Shop) -> None:
    """The budgets of one run: while one host asks to be left alone for half a minute, another answers."""
    shop.settings = {"retry": {**IMPATIENT, "total": "60s"}}
    shop.api.answer("/orders", Answer(429, headers={"Retry-After": "30"}), WHOLE)
    endpoint, budgets = Endpoint(path="/orders", records="data"), Budgets()
    throttled, stop = threading.Event(), threading.Event()

    def listen(kind: str, seconds: float, size: int, note: str, ago_s: float = 0.0) -> None:
        if kind == "throttled":
            throttled.set()

    with (
        fake_api() as other,
        closing(Client(shop.connection(), budgets=budgets)) as slow,
        closing(Client(Shop(other, shop.folder).connection(), budgets=budgets)) as quick,
        ThreadPoolExecutor(1) as pool,
    ):
        other.answer("/orders", WHOLE)
        waiting = pool.submit(slow.fetch, Request("GET", f"{shop.api.url}/orders"), endpoint, stop=stop, listen=listen)
        assert throttled.wait(10)

        page = quick.fetch(Request("GET", f"{other.url}/orders"), endpoint)
        stop.set()
        ended = waiting.exception(10)

    assert page.count == 2
    assert isinstance(ended, Interrupted)
    assert shop.api.calls["/orders"] == 1
