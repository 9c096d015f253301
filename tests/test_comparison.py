"""The comparison: what its table says was measured, and how an outcome is judged."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.comparison import PAGE, Ended, judged, page, read, table, told, tried
from benchmarks.faulty import FAULTS, Fault
from benchmarks.tools import tools

THREE = Fault("three", "Three rows", lambda api, turn: None, "", frozenset({1, 2, 3}))
REFUSED = Fault("refused", "Three rows and an error", lambda api, turn: None, "", frozenset({1, 2, 3}), error=True)
OPEN = Fault("open", "Any rows and an error", lambda api, turn: None, "", None, error=True)


def test_the_table_of_the_page_is_what_was_measured_last() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert page(text, read()) == text
    assert table(read()).count("**") > 2 * len(FAULTS)


def test_every_tool_has_an_outcome_for_every_fault_or_a_reason() -> None:
    """And none is told of both ways."""
    measured = read().tools

    assert set(measured) == {"threadmill", "dlt", "airbyte", "singer"}
    for tool in measured.values():
        assert sorted([*tool.outcomes, *tool.cannot]) == sorted(fault.name for fault in FAULTS)


@pytest.mark.parametrize(
    ("fault", "code", "rows", "verdict"),
    [
        pytest.param(THREE, 0, [1, 2, 3], "right", id="all-rows"),
        pytest.param(THREE, 0, [1, 2], "silent", id="lost"),
        pytest.param(THREE, 0, [1, 2, 3, 3], "silent", id="doubled"),
        pytest.param(THREE, 0, [1, 2, 3, None], "silent", id="never-served"),
        pytest.param(THREE, 3, [1, 2], "told", id="lost-and-told"),
        pytest.param(THREE, None, [1, 2, 3], "for ever", id="for-ever"),
        pytest.param(REFUSED, 1, [1, 2, 3], "right", id="kept-and-told"),
        pytest.param(REFUSED, 0, [1, 2, 3], "silent", id="kept-without-a-word"),
        pytest.param(REFUSED, 1, [], "told", id="lost-with-the-error"),
        pytest.param(OPEN, 1, [1, 1], "right", id="any-rows-and-the-error"),
        pytest.param(OPEN, 0, [1], "silent", id="any-rows-without-the-error"),
    ],
)
def test_an_outcome_is_judged_by_its_rows_and_its_exit_code(
    fault: Fault, code: int | None, rows: list[object], verdict: str
) -> None:
    assert judged(fault, [Ended(code, 7)], Counter(rows)).verdict == verdict


def test_a_cell_counts_what_is_wrong() -> None:
    outcome = judged(THREE, [Ended(0, 4), Ended(1, 1_200, "PaginationLoop")], Counter([1, 1, 2, None]))

    assert told(outcome) == (
        "**told**: 4 rows, 1 lost, 1 doubled, 1 never served; exit 1 (PaginationLoop); 4 + 1,200 requests"
    )


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in {"moved", "absent", "killed", "lag"}])
def test_threadmill_is_as_good_today_as_the_table_says(fault: Fault, tmp_path: Path) -> None:
    (threadmill,) = tools(tmp_path, ["threadmill"])

    assert tried(threadmill, fault) == read().tools["threadmill"].outcomes[fault.name]
