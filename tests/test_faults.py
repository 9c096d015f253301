"""Every promise of docs/faults.md names tests that exist, and no promise is missing."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^ *def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
}
PROMISED = {"T": 21, "G": 22, "C": 9, "A": 8, "K": 10}
"""How many faults each part has."""

_FAULT = re.compile(r"(?:^test|(?<=\d))_([tgcak]\d\d)(?=_)")


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))

    assert named - TESTS == set()


def test_every_one_of_the_seventy_faults_has_an_outcome_and_a_test() -> None:
    rows = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| [A-Z]\d\d \|", line)]

    assert [row[0] for row in rows] == [f"{part}{n:02}" for part, most in PROMISED.items() for n in range(1, most + 1)]
    assert [row for row in rows if len(row) != 4 or "`test_" not in row[3]] == []


def test_a_test_named_after_a_fault_stands_in_its_row() -> None:
    """`test_g05_...` is told at G05: what is tested is promised."""
    rows = {line[2:5]: line for line in PAGE.splitlines() if re.match(r"\| [A-Z]\d\d \|", line)}

    missing = [
        (fault.upper(), test)
        for test in sorted(TESTS)
        for fault in _FAULT.findall(test)
        if fault.upper() in rows and f"`{test}`" not in rows[fault.upper()]
    ]

    assert missing == []
