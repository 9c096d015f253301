"""`expect` says what is wrong, for how many rows, and how bad that is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipelines.errors import ExpectationFailed
from pipelines.transform.checks import Expectation, enforce, set_aside, violations

NOW = datetime(2024, 1, 10, tzinfo=UTC)
TABLE = pa.table(
    {
        "id": ["a1", "a1", "b", None],
        "mag": [1.5, None, 11.0, -3.0],
        "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")),
    }
)


@pytest.mark.parametrize(
    ("check", "rows"),
    [
        ({"unique": "id"}, 1),
        ({"unique": ["id", "mag"]}, None),
        ({"not_null": ["at", "id"]}, 1),
        ({"min_rows": 5}, 4),
        ({"min_rows": 4}, None),
        ({"between": {"mag": [-2, 10]}}, 2),
        ({"between": {"mag": [None, 11]}}, None),
        ({"matches": {"id": "[a-z]\\d"}}, 1),
        ({"freshness": {"at": "7d"}}, 4),
        ({"freshness": {"at": "9d"}}, None),
        ({"not_null": "gone"}, 4),
    ],
)
def test_a_check_counts_the_rows_that_break_it(check: dict[str, Any], rows: int | None) -> None:
    found = violations(TABLE, [Expectation.model_validate(check)], NOW)

    assert [one.rows for one in found] == ([] if rows is None else [rows])


def test_only_severity_fail_ends_the_run() -> None:
    warned = violations(TABLE, [Expectation(unique=("id",), severity="warn")])
    failed = violations(TABLE, [Expectation(unique=("id",))])

    enforce(warned, "shop.orders")
    with pytest.raises(ExpectationFailed, match=r"shop\.orders: 1 rows repeat id"):
        enforce(failed, "shop.orders")


def test_rows_are_set_aside_with_column_and_reason() -> None:
    checks = [
        Expectation(not_null=("id",), severity="quarantine"),
        Expectation(between={"mag": (0, 10)}, severity="quarantine"),
    ]

    kept, rejects = set_aside(TABLE, checks)

    assert kept["id"].to_pylist() == ["a1", "a1"]
    assert rejects is not None
    assert rejects["reason"].to_pylist() == ["id is null", "mag is not between 0 and 10"]


@pytest.mark.parametrize("check", [{}, {"unique": "id", "min_rows": 1}, {"min_rows": 1, "severity": "quarantine"}])
def test_a_check_is_one_thing(check: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Expectation.model_validate(check)
