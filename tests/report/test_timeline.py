"""The timeline: totals stay exact and memory stays bounded, whatever a run does."""

from __future__ import annotations

import threading

import orjson

from pipelines.extract.events import Event, EventKind
from pipelines.report.timeline import Timeline, spans_of


def answered(at: float, seconds: float = 0.05, resource: str = "events") -> Event:
    return Event("answered", resource, at, seconds, 1000, "200")


def test_every_request_has_its_span_until_there_are_too_many() -> None:
    timeline = Timeline(began=10.0)

    for number in range(100):
        timeline.listen("usgs", answered(at=11.0 + number))

    kept = timeline.to_json()
    spans = spans_of(kept)
    assert len(spans) == 100
    assert (spans[0].name, spans[0].kind, spans[0].start, spans[0].end) == ("usgs.events", "answered", 0.95, 1.0)
    assert kept["cell_s"] == 0.0


def test_a_hundred_thousand_requests_fit_into_300_kb_and_their_totals_stay_exact() -> None:
    """Folded spans keep the count, the seconds and the bytes of all that they stand for."""
    timeline = Timeline(began=0.0)

    for number in range(100_000):
        timeline.listen("usgs", answered(at=0.05 + number / 100, resource=f"r{number % 3}"))

    kept = timeline.to_json()
    spans = spans_of(kept)
    assert len(orjson.dumps(kept)) < 300_000
    assert sum(span.count for span in spans) == 100_000
    assert sum(span.size for span in spans) == 100_000_000
    assert abs(sum(span.busy_s for span in spans) - 5000) < 1
    assert [kept["totals"][f"usgs.r{number}"]["answered"]["count"] for number in range(3)] == [33_334, 33_333, 33_333]


def test_no_event_is_lost_when_many_threads_tell_at_once() -> None:
    timeline = Timeline(began=0.0)

    def tell() -> None:
        for _ in range(5_000):
            timeline.listen("usgs", answered(at=1.0))

    threads = [threading.Thread(target=tell) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert timeline.to_json()["totals"]["usgs.events"]["answered"]["count"] == 40_000


def test_a_pause_lies_after_its_event_and_work_before_it() -> None:
    timeline = Timeline(began=0.0)

    timeline.listen("usgs", Event("retried", "events", at=5.0, seconds=2.0))
    timeline.listen("usgs", Event("batch", "events", at=9.0, seconds=2.0, size=10, note="77", cpu_s=1.5))

    pause, batch = spans_of(timeline.to_json())
    assert (pause.start, pause.end) == (5.0, 7.0)
    assert (batch.start, batch.end, batch.lane) == (7.0, 9.0, "worker 1")
    assert timeline.to_json()["totals"]["usgs.events"]["batch"]["cpu_s"] == 1.5


def test_a_pause_that_the_api_asks_for_takes_the_time_that_it_took_not_that_it_was_to_take() -> None:
    """Told 429, a thread is to wait 30 s, and waits 2."""
    timeline = Timeline(began=0.0)

    timeline.listen("usgs", Event("throttled", "events", at=5.0, seconds=30.0))
    timeline.listen("usgs", Event("paused", "events", at=7.0, seconds=2.0))

    kept = timeline.to_json()
    assert [(span.kind, span.start, span.end) for span in spans_of(kept)] == [("paused", 5.0, 7.0)]
    told = {kind: (total["count"], total["seconds"]) for kind, total in kept["totals"]["usgs.events"].items()}
    assert told == {"throttled": (1, 0.0), "paused": (1, 2.0)}


def test_what_a_fetching_thread_computes_counts_for_the_resource_of_its_page() -> None:
    timeline = Timeline(began=0.0)
    kinds: tuple[EventKind, ...] = ("spooled", "spooled")

    def fetch() -> None:
        for kind in kinds:
            sum(range(300_000))
            timeline.listen("usgs", Event(kind, "events", at=1.0))

    thread = threading.Thread(target=fetch, name="fetch-usgs-0")
    thread.start()
    thread.join()

    assert timeline.to_json()["totals"]["usgs.events"]["spooled"]["cpu_s"] > 0.002
