"""The engine's events become milestones that tasks wait for; Prefect is not needed for it."""

from __future__ import annotations

import threading

import pytest

from flows.milestones import Milestone, Milestones, Stage
from pipelines.errors import AuthError, Busy, StoreError
from pipelines.extract.events import Event, EventKind
from pipelines.report.result import Problem, ResourceReport, RunReport, SourceReport

ORDERS = ResourceReport("shop", "orders", verdict="complete")


def test_a_stage_starts_with_its_first_event_and_ends_with_its_counts() -> None:
    milestones = Milestones()

    for event in (_event("answered"), _event("spooled", size=70), _event("answered"), _event("spooled", size=30)):
        milestones.listen("shop", event)
    milestones.listen("shop", _event("batch", size=20))
    milestones.listen("shop", _event("finished", note="complete"))
    milestones.listen("shop", _event("settled", size=15, note="complete"))
    milestones.listen("shop", Event("committed", "", 0.0, size=7))
    milestones.close(_report(SourceReport("shop", 7, True, (ORDERS,))))

    stages = list(milestones.stages())
    assert stages == [Stage("extract", "shop.orders"), Stage("mill", "shop.orders"), Stage("commit", "shop.orders")]
    assert [milestones.wait(stage).counts for stage in stages] == [
        {"requests": 2, "pages": 2, "bytes": 100, "verdict": "complete"},
        {"batches": 1, "rows_read": 20, "rows_written": 15},
        {"commit": 7},
    ]


def test_who_waits_for_a_stage_is_woken_by_its_end() -> None:
    milestones, found = Milestones(), list[Milestone]()
    milestones.listen("shop", _event("answered"))
    waiting = threading.Thread(target=lambda: found.append(milestones.wait(Stage("extract", "shop.orders"))))
    waiting.start()

    milestones.listen("shop", _event("finished", note="unproved"))

    waiting.join(10)
    assert found == [Milestone({"requests": 1, "verdict": "unproved"})]


@pytest.mark.parametrize(
    ("events", "failed", "skipped"),
    [
        pytest.param([], {"extract shop.orders"}, set(), id="before-the-first-request"),
        pytest.param(
            [("spooled", ""), ("finished", "AuthError")], {"extract shop.orders"}, {"mill shop.orders"}, id="extracting"
        ),
        pytest.param(
            [("spooled", ""), ("finished", "complete"), ("settled", "failed")],
            {"mill shop.orders"},
            set(),
            id="milling",
        ),
    ],
)
def test_a_failed_resource_fails_the_stage_that_it_had_reached(
    events: list[tuple[EventKind, str]], failed: set[str], skipped: set[str]
) -> None:
    milestones = Milestones()
    for kind, note in events:
        milestones.listen("shop", _event(kind, note=note))

    milestones.close(_report(SourceReport("shop", 1, False, (ORDERS.failed(AuthError("401", "look at auth")),))))

    ends = {f"{stage.kind} {stage.name}": milestones.wait(stage) for stage in milestones.stages()}
    assert {name for name, end in ends.items() if end.problem and end.problem.hint == "look at auth"} == failed
    assert {name for name, end in ends.items() if end.skipped} == skipped


def test_a_source_that_cannot_begin_fails_its_commit() -> None:
    milestones, busy = Milestones(), Problem.of(Busy("locked by 77", "wait for it"))

    milestones.close(_report(SourceReport("shop", None, False, (ResourceReport("shop", "orders"),), busy)))

    stages = list(milestones.stages())
    assert stages == [Stage("commit", "shop")]
    assert milestones.wait(stages[0]).problem == busy


def test_a_commit_that_fails_fails_for_every_dataset_that_waited_for_it() -> None:
    milestones, full = Milestones(), Problem.of(StoreError("disk full", "make room"))
    for event in (_event("spooled", size=70), _event("finished", note="complete"), _event("settled", note="complete")):
        milestones.listen("shop", event)

    milestones.close(_report(SourceReport("shop", None, False, (ORDERS,), full)))

    ends = {f"{stage.kind} {stage.name}": milestones.wait(stage).problem for stage in milestones.stages()}
    assert ends == {"extract shop.orders": None, "mill shop.orders": None, "commit shop.orders": full}


def test_progress_is_counted_over_all_stages() -> None:
    milestones = Milestones()
    for event in (_event("answered"), _event("spooled", size=70), _event("batch", size=20)):
        milestones.listen("shop", event)
    milestones.listen("shop", _event("finished", note="complete"))

    totals = {**milestones.totals}

    assert milestones.ended == 1
    assert totals == {"requests": 1, "pages": 1, "bytes": 70, "batches": 1, "rows_read": 20}


def test_nobody_waits_for_ever_when_a_run_is_stopped() -> None:
    milestones = Milestones()
    milestones.listen("shop", _event("answered"))
    milestones.listen("marts", Event("planned", "city_day", 0.0))

    milestones.close(None)
    milestones.listen("shop", Event("answered", "late", 0.0))

    problems = [milestones.wait(stage).problem for stage in milestones.stages()]
    assert [problem and problem.kind for problem in problems] == ["Interrupted", "Interrupted"]


def test_a_mart_is_one_stage() -> None:
    milestones = Milestones()

    for kind, note in (("planned", ""), ("settled", "complete")):
        milestones.listen("marts", Event(kind, "city_day", 0.0, size=12, note=note))  # type: ignore[arg-type]  # literals
    milestones.listen("marts", Event("committed", "", 0.0, size=3))
    milestones.close(None)

    stages = list(milestones.stages())
    assert stages == [Stage("mart", "city_day"), Stage("commit", "marts.city_day")]
    assert [milestones.wait(stage) for stage in stages] == [Milestone({"rows_written": 12}), Milestone({"commit": 3})]


def _event(kind: EventKind, *, size: int = 0, note: str = "") -> Event:
    return Event(kind, "orders", 0.0, size=size, note=note)


def _report(*sources: SourceReport) -> RunReport:
    return RunReport("r1", "2024-01-01T00:00:00+00:00", 1.0, "data", sources)
