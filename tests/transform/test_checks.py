"""`expect` says what is wrong, for how many rows, and how bad that is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipelines.errors import ExpectationFailed
from pipelines.transform.checks import Expectation, enforce, set_aside, violations, violations_by_rows

NOW = datetime(2024, 1, 10, tzinfo=UTC)
TABLE = pa.table(
    {
        "id": ["a1", "a1", "b", None],
        "mag": [1.5, None, 11.0, -3.0],
        "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 4, pa.timestamp("us", "UTC")),
        "share": [0.5, float("nan"), None, -0.1],
        "count": pa.array([2**64 - 1, 2**64 - 2, None, None], pa.uint64()),
        "digits": pa.array([2**63 + 1, None, None, 2**63 + 2], pa.decimal128(38, 0)),
        "exactly": pa.array([1704067200_123456789] * 4, pa.timestamp("ns", "UTC")),
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
        ({"between": {"share": [0, 1]}}, 2),
        ({"between": {"share": [None, 1]}}, 1),
        ({"not_null": "share"}, 2),
        ({"between": {"count": [None, 10**30]}}, None),
        ({"between": {"count": [-(10**400), 2**64 - 1]}}, None),
        ({"between": {"count": [2**64 - 1, None]}}, 1),
        ({"between": {"mag": [2**64, None]}}, 3),
        ({"between": {"count": [0, 2**64 - 2]}}, 1),
        ({"between": {"digits": [2**63 + 2, None]}}, 1),
        ({"freshness": {"exactly": "9d"}}, None),
    ],
)
def test_a_check_counts_the_rows_that_break_it(check: dict[str, Any], rows: int | None) -> None:
    found = violations(TABLE, [Expectation.model_validate(check)], NOW)

    assert [one.rows for one in found] == ([] if rows is None else [rows])


@pytest.mark.parametrize(
    ("check", "messages"),
    [
        ({"not_null": ["gone", "at"]}, ["4 of 4 rows: gone is null"]),
        ({"between": {"gone": [0, 1]}}, []),
        ({"matches": {"gone": "x"}}, []),
        ({"unique": "gone"}, []),
    ],
)
def test_a_column_that_a_batch_has_not_is_null_to_checks_of_each_row(
    check: dict[str, Any], messages: list[str]
) -> None:
    found = violations_by_rows(TABLE, [Expectation.model_validate(check)])

    assert [one.message for one in found] == messages


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ({"between": {"id": [0, 1]}}, "`between` cannot be told of 'id', which is string"),
        ({"between": {"at": [0, 1]}}, "`between` cannot be told of 'at', which is timestamp"),
        ({"matches": {"tags": "x"}}, "`matches` cannot be told of 'tags', which is list"),
        ({"unique": ["id", "tags"]}, "`unique` cannot be told of 'tags', which is list"),
        ({"freshness": {"mag": "7d"}}, "`freshness` cannot be told of 'mag', which is double"),
        ({"freshness": {"id": "7d"}}, "`freshness` cannot be told of 'id', which is string"),
    ],
)
@pytest.mark.parametrize("severity", ["warn", "fail"])
def test_a_check_that_does_not_suit_the_type_of_its_column_is_told_as_such(
    check: dict[str, Any], told: str, severity: str
) -> None:
    table = TABLE.append_column("tags", pa.array([["a"]] * 4))

    with pytest.raises(ExpectationFailed, match=told) as refused:
        violations(table, [Expectation.model_validate({**check, "severity": severity})], NOW)

    assert "`columns`" in refused.value.hint


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


@pytest.mark.parametrize(
    "check",
    [
        {},
        {"unique": "id", "min_rows": 1},
        {"min_rows": 1, "severity": "quarantine"},
        {"between": {"mag": [float("nan"), 1]}},
        {"between": {"mag": [0, float("inf")]}},
    ],
)
def test_a_check_is_one_thing_and_its_bounds_are_numbers(check: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Expectation.model_validate(check)
