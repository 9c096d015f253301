"""What a run waited for: verdicts from figures, and the path that nothing else could shorten."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines.extract.events import Event
from pipelines.report.critical_path import critical_path, verdict
from pipelines.report.explain import stages, works
from tests.runs import Told, answer, batch, saved

WAITING: list[Told] = [("shop", answer(at=1.0 + 0.5 * number, seconds=0.5)) for number in range(8)]
MERGED: Told = ("shop", Event("merged", "events", at=5.2, seconds=0.1))
COMMITTED: Told = ("shop", Event("committed", "", at=5.3, seconds=0.1, size=1))


def told(*more: Told) -> list[Told]:
    return [*WAITING, *more, MERGED, COMMITTED]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param(told(("shop", batch(5.0, 0.2, 0.2))), "I/O-bound", id="answers"),
        pytest.param(told(("shop", batch(5.0, 9.0, 8.0))), "CPU-bound", id="computes"),
        pytest.param(told(("shop", batch(5.0, 9.0, 1.0))), "contended", id="waits-for-a-processor"),
        pytest.param(told(("shop", Event("paused", "events", 12.0, 9.0))), "throttled", id="429"),
        pytest.param(told(("shop", Event("waited", "events", 3.0, 9.0))), "limited", id="own-limits"),
        pytest.param([("shop", answer(1.0, 0.01))], "idle", id="nothing-to-do"),
    ],
)
def test_the_verdict_on_a_resource_names_what_held_it_up_most(
    tmp_path: Path, events: list[Told], expected: str
) -> None:
    run = saved(tmp_path, *events, seconds=6.0)

    (work,) = works(run)

    assert work.verdict == expected


def test_the_critical_path_has_no_gap_and_adds_up_to_the_run(tmp_path: Path) -> None:
    """Of two sources the later commit counts; then the marts, one after the other."""
    run = saved(
        tmp_path,
        ("bank", answer(0.9, 0.5)),
        ("bank", Event("committed", "", at=1.0, seconds=0.1, size=1)),
        *told(("shop", batch(5.0, 0.2, 0.2))),
        ("marts", batch(7.0, 1.0, 0.9, resource="exposure")),
        ("marts", Event("merged", "exposure", at=7.5, seconds=0.5)),
        ("marts", Event("committed", "", at=7.6, seconds=0.1, size=1)),
        seconds=8.0,
    )

    path = critical_path(run)

    assert [(step.what, step.name) for step in path] == [
        ("start", ""),
        ("fetch", "shop.events"),
        ("mill", "shop.events"),
        ("merge", "shop.events"),
        ("commit", "shop"),
        ("make", "marts.exposure"),
        ("merge", "marts.exposure"),
        ("commit", "marts"),
        ("end", ""),
    ]
    assert sum(step.seconds for step in path) == pytest.approx(8.0)
    assert all(one.end == other.start for one, other in pairwise(path))
    assert verdict(run) == "50% of 8.0 s went into fetch shop.events: it waited for answers"


def test_a_step_that_is_no_fetch_is_not_told_to_have_waited_for_answers(tmp_path: Path) -> None:
    """All told the resource waited most for the network; most of the run went into something else."""
    slow = (*WAITING * 2, ("shop", batch(5.0, 1.0, 0.9)), ("shop", Event("merged", "events", at=11.0, seconds=6.0)))
    merged = saved(tmp_path / "merged", *slow, seconds=12.0)
    milled = saved(tmp_path / "milled", *WAITING * 2, ("shop", batch(11.0, 6.5, 6.0)), seconds=12.0)

    assert [one.verdict for one in works(merged)] == ["I/O-bound"]
    assert verdict(merged) == "50% of 12.0 s went into merge shop.events: files are rewritten and checked"
    assert verdict(milled) == "54% of 12.0 s went into mill shop.events: it computed"


@pytest.mark.parametrize(
    ("events", "threads", "expected"),
    [
        pytest.param(WAITING * 3, 4, "`limits: {in_flight: 8}` of shop saves up to 2.0 s", id="all-threads-wait"),
        pytest.param(WAITING, 1, "pages follow one another, 0.50 s each", id="one-chain"),
        pytest.param(
            [*WAITING, ("shop", Event("paused", "events", 4.4, 9.0))], 4, "held it back for 9.0 thread-s", id="429"
        ),
        pytest.param(
            [*WAITING, ("shop", Event("waited", "events", 3.0, 9.0))], 4, "held requests back for 9.0", id="limits"
        ),
        pytest.param(
            [*WAITING, ("shop", Event("blocked", "events", 4.4, 9.0))], 4, "waited 9.0 s for workers", id="behind"
        ),
    ],
)
def test_what_would_make_it_faster_is_said_with_figures(
    tmp_path: Path, events: list[Told], threads: int, expected: str
) -> None:
    run = saved(tmp_path, *events, MERGED, COMMITTED, seconds=15.0, threads=threads)

    (fetch,) = [step for step in critical_path(run) if step.what == "fetch"]

    assert expected in fetch.advice


def test_the_path_of_a_run_without_commit_ends_where_its_source_did_last_anything(tmp_path: Path) -> None:
    run = saved(tmp_path, *WAITING, seconds=5.0)

    path = critical_path(run)

    assert [(step.what, round(step.end, 1)) for step in path] == [("start", 0.5), ("fetch", 4.5), ("end", 5.0)]


def test_workers_that_wait_for_pages_are_starved_and_threads_that_wait_are_not_busy_computing(tmp_path: Path) -> None:
    run = saved(tmp_path, *told(("shop", batch(2.0, 0.1, 0.1)), ("shop", batch(5.0, 0.1, 0.1))), seconds=6.0)

    found: dict[str, Any] = {stage.name: stage for stage in stages(run)}

    assert (found["fetch"].verdict, found["mill"].verdict, found["marts"].verdict) == ("I/O-bound", "starved", "idle")
    assert found["fetch"].busy_s == pytest.approx(4.0)
    assert found["fetch"].lanes == 4


def test_a_report_without_timeline_is_still_explained(tmp_path: Path) -> None:
    run = saved(tmp_path, *told(), seconds=6.0)
    del run["timeline"]

    assert [work.verdict for work in works(run)] == ["idle"]
    assert [step.what for step in critical_path(run)] == ["end"]
