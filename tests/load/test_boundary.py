"""Rows that are read again at the edge of an append, where their columns have changed meanwhile."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from pipelines.load.boundary import unseen

AT = "2024-01-01"


@pytest.mark.parametrize(
    ("stored", "read", "new"),
    [
        pytest.param([{"city": "x"}], ['{"city":"x"}', "[]"], ["[]"], id="an object that became a text"),
        pytest.param([1.5, 2.0], [2, 3], [3], id="floats that came as integers"),
        pytest.param([1, 2], [1.0, 2.5], [2.5], id="integers that came as floats"),
        pytest.param(["a", None], [None, None], [], id="nothing but nulls"),
        pytest.param([None], ["a"], ["a"], id="nulls that have a type now"),
        pytest.param([True], ["true", "yes"], ["yes"], id="booleans that became texts"),
    ],
)
def test_rows_are_compared_in_the_type_that_holds_both(stored: list[Any], read: list[Any], new: list[Any]) -> None:
    seen = pa.table({"at": [AT] * len(stored), "value": stored})

    kept = unseen(pa.table({"at": [AT] * len(read), "value": read}), seen, [])

    assert kept["value"].to_pylist() == new


def test_a_key_that_no_stored_row_has_leaves_the_other_columns_to_tell() -> None:
    seen = pa.table({"at": [AT, AT], "value": [1, 2]})

    kept = unseen(pa.table({"id": [7, 8], "at": [AT, AT], "value": [2, 3]}), seen, ["id"])

    assert kept["id"].to_pylist() == [8]
