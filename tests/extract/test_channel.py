"""The channel between threads that fetch and processes that mill."""

from __future__ import annotations

import threading

import pytest

from pipelines.batch import Batch, PageRef
from pipelines.errors import HttpError, PipelineError
from pipelines.extract.channel import Backlog, Fetched, Work
from pipelines.extract.request import Request


def page(number: int, size: int = 1000) -> Fetched:
    return Fetched(PageRef("spool", number, size, size, "d", (number,)), Request("GET", f"http://x/{number}"))


def drain(backlog: Backlog) -> list[Batch]:
    batches = []
    while (work := backlog.take()) is not None:
        assert [int(request.url[9:]) for request in work.requests] == [page.offset for page in work.batch.pages]
        batches.append(work.batch)
    return batches


def test_every_page_leaves_once_in_order_and_cut_by_bytes() -> None:
    backlog = Backlog("shop", ["orders"], workers=1, batch_bytes=10_000)
    for number in range(35):
        backlog.put("orders", page(number))
    backlog.finish("orders")

    batches = drain(backlog)

    assert [page.offset for batch in batches for page in batch.pages] == list(range(35))
    assert all(batch.raw_bytes <= 10_000 for batch in batches)
    assert [batch.sequence for batch in batches] == list(range(len(batches)))


def test_batches_get_smaller_towards_the_end_so_that_workers_end_together() -> None:
    backlog = Backlog("shop", ["orders"], workers=4, batch_bytes=16_000)
    for number in range(40):
        backlog.put("orders", page(number))
    backlog.finish("orders")

    sizes = [batch.raw_bytes for batch in drain(backlog)]

    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], min(sizes[:-1])) == (10_000, 4_000)


def test_a_deep_resource_does_not_starve_a_shallow_one() -> None:
    backlog = Backlog("shop", ["deep", "shallow"], batch_bytes=10_000)
    for number in range(500):
        backlog.put("deep", page(number))
    backlog.put("shallow", page(0))
    backlog.finish("shallow")

    assert {backlog.take().batch.resource for _ in range(2)} == {"deep", "shallow"}  # type: ignore[union-attr]  # there are two


def test_an_idle_worker_begins_with_what_a_slow_api_gave_so_far() -> None:
    """A fourth of a batch is worth it at once, an eighth of that to whoever has nothing else to do."""
    backlog = Backlog("shop", ["slow", "slower"], batch_bytes=64_000)
    backlog.put("slower", page(0, 1_999))
    backlog.put("slow", page(0, 2_000))

    work = backlog.take()

    assert work is not None
    assert (work.batch.resource, work.batch.raw_bytes) == ("slow", 2_000)


def test_a_page_larger_than_a_batch_travels_alone() -> None:
    backlog = Backlog("shop", ["orders"], batch_bytes=1000)
    backlog.put("orders", page(0, 50_000))
    backlog.put("orders", page(1))
    backlog.finish("orders")

    assert [len(batch.pages) for batch in drain(backlog)] == [1, 1]


def test_putting_waits_while_too_much_is_waiting() -> None:
    backlog = Backlog("shop", ["orders"], batch_bytes=1000, waiting_bytes=64_000)
    put = threading.Event()
    for number in range(64):
        backlog.put("orders", page(number))

    def one_more() -> None:
        backlog.put("orders", page(64))
        put.set()

    thread = threading.Thread(target=one_more)
    thread.start()
    assert not put.wait(0.05)

    backlog.take()

    assert put.wait(5)
    thread.join()


@pytest.mark.parametrize("waiting", ["put", "take"])
def test_an_error_lets_everybody_go(waiting: str) -> None:
    backlog = Backlog("shop", ["orders"], batch_bytes=1000, waiting_bytes=64_000)
    raised: list[PipelineError] = []
    for number in range(64 if waiting == "put" else 0):
        backlog.put("orders", page(number))

    def wait() -> None:
        try:
            backlog.put("orders", page(99)) if waiting == "put" else backlog.take()
        except PipelineError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    backlog.fail(HttpError("gone", ""))
    thread.join(5)

    assert not thread.is_alive()
    assert [error.kind for error in raised] == ["HttpError"]


def test_a_resource_that_failed_is_dropped_alone() -> None:
    backlog = Backlog("shop", ["bad", "good"])
    backlog.put("bad", page(0))
    backlog.put("good", page(0))
    backlog.drop("bad", HttpError("gone", ""))
    backlog.finish("good")

    with pytest.raises(HttpError):
        backlog.put("bad", page(1))
    assert [batch.resource for batch in drain(backlog)] == ["good"]


def test_closing_ends_the_takers() -> None:
    backlog = Backlog("shop", ["orders"])
    taken: list[Work | None] = []
    thread = threading.Thread(target=lambda: taken.append(backlog.take()))
    thread.start()

    backlog.close()
    thread.join(5)

    assert taken == [None]


def test_a_bound_smaller_than_a_batch_lets_pages_and_workers_meet() -> None:
    """Threads wait for room and workers for a batch: with less room than a batch both would wait for ever."""
    backlog = Backlog("shop", ["orders"], batch_bytes=4000, waiting_bytes=1)

    for number in range(4):
        backlog.put("orders", page(number))

    work = backlog.take()
    assert work is not None
    assert work.batch.raw_bytes >= 1000
