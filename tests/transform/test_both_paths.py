"""The fast path gives what the exact path gives, whatever the API sends."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipelines.errors import PipelineError
from pipelines.transform.columns import Shape
from pipelines.transform.decode import decode

TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            "",
            "12",
            "007",
            "1.50",
            "2024-01-01",
            "2024-01-01T05:00:00Z",
            "2024-01-01T05Z",
            "2024-07-01 05:00:00+02",
            "2024-03-31T02:30:00",
            "2050-07-01T12:00:00",
            "2050-03-27T02:30:00",
            "9999-12-31",
            "9999-12-31T23:59:59.5",
            "2024-01-01T05:00:00.123456Z",
            "2016-12-31T23:59:60Z",
            "0001-01-01T00:00:00+02:00",
            'a":b',
            'a\\":',
            "\x00",
            "null",
        ]
    ),
).map(json.dumps)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.integers(-5, 5).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["-0", "-0.0", "1e3", "1.0", "1.10", "9007199254740992", "9007199254740993", "1e400", "NaN", "1E+2"]
    ),
)
SCALARS = st.one_of(st.sampled_from(["null", "true", "false"]), NUMBERS, TEXTS)
NAMES = st.sampled_from(["a", "b", "c", "created", "Deep", "x y"])


def _object(pairs: list[tuple[str, str]]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in pairs) + "}"


VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ",".join(items) + "]"),
        st.lists(st.tuples(NAMES, inner), max_size=3, unique_by=lambda pair: pair[0]).map(_object),
    ),
    max_leaves=6,
)
TYPES = st.sampled_from(
    [
        "int64",
        "uint8",
        "float64",
        "decimal(12,2)",
        "string",
        "bool",
        "date",
        "json",
        "timestamp",
        "timestamp(ms)",
        "timestamp(ms) from epoch_ms",
        "timestamp from epoch_s",
        "list<int64>",
        "struct<a: int64>",
    ]
)


@st.composite
def tidy_pages(draw: st.DrawFn) -> list[str]:
    """Pages whose fields mostly keep their kind, as real ones do."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    kinds = {
        name: draw(st.sampled_from([NUMBERS, TEXTS, st.just("null"), st.integers(-9, 9).map(str), VALUES]))
        for name in names
    }
    pages = []
    for _ in range(draw(st.integers(1, 3))):
        rows = []
        for _ in range(draw(st.integers(0, 4))):
            kept = [name for name in names if draw(st.integers(0, 9))]
            rows.append(_object([(name, draw(kinds[name])) for name in kept]))
        pages.append("[" + ",".join(rows) + "]")
    return pages


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    columns: dict[str, Any] = draw(st.dictionaries(NAMES.filter(str.isidentifier), TYPES, max_size=3))
    if draw(st.booleans()):
        columns["below"] = {"from": draw(st.sampled_from(["a.b", "c.a", "b[0]", "a.c.b"])), "type": draw(TYPES)}
    if draw(st.booleans()) and columns:
        columns = {
            name: {**(one if isinstance(one, dict) else {"type": one}), "zone": "Europe/Madrid"}
            for name, one in columns.items()
        }
    return {
        "columns": columns,
        "flatten": draw(st.integers(0, 2)),
        "on_new_column": draw(st.sampled_from(["add", "ignore", "fail"])),
        "on_mismatch": draw(st.sampled_from([None, "widen", "quarantine", "fail"])),
    }


def outcome(pages: list[str], shape: dict[str, Any], *, fast: bool) -> Any:
    try:
        decoded = decode([(page.encode(), {}) for page in pages], Shape.model_validate(shape), fast=fast)
    except PipelineError as error:
        return error.kind
    return decoded.table.schema, decoded.table.to_pylist(), decoded.rejects and decoded.rejects.to_pylist()


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(tidy_pages(), shapes())
def test_the_fast_path_gives_what_the_exact_path_gives(pages: list[str], shape: dict[str, Any]) -> None:
    fast = outcome(pages, shape, fast=True)

    exact = outcome(pages, shape, fast=False)

    assert repr(fast) == repr(exact)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(tidy_pages())
def test_how_rows_are_cut_into_pages_changes_nothing(pages: list[str]) -> None:
    assume(not any("1e400" in page for page in pages))  # an error as a number, text inside of text
    rows = ",".join(page[1:-1] for page in pages if page != "[]")
    shape = {"on_mismatch": "widen"}

    cut = outcome(pages, shape, fast=True)
    whole = outcome([f"[{rows}]"], shape, fast=True)

    assert repr(cut) == repr(whole)
