"""Records that are all written alike are read as bytes, and come out as any other reader gives them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipelines.errors import PipelineError
from pipelines.transform.alike import read_alike
from pipelines.transform.columns import Shape
from pipelines.transform.decode import decode
from pipelines.transform.places import Unlike

COLUMNS = {"id": "int64", "count": "int32", "name": "string", "at": "timestamp", "ratio": "float64", "ok": "bool"}
WORDS: dict[tuple[str, ...], object] = {("n",): int, ("t",): str}
Row = dict[str, Any]

TEXTS = st.one_of(st.text(max_size=6), st.sampled_from(["", 'a"b', '","id":1,"', "\\", "Zürich", "null", '":', "{}"]))
ROWS = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(-(2**70), 2**70) | st.integers(-(10**16), 10**16) | st.integers(-9, 9),
        "count": st.none() | st.integers(-(2**33), 2**33) | st.integers(0, 120),
        "name": st.none() | TEXTS,
        "at": st.none() | st.sampled_from(["2024-01-01T05:00:00Z", "2024-07-01 05:00:00+02", "soon"]),
        "ratio": st.none()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-9, 9)
        | st.integers(-(10**10), 10**10).map(lambda number: number / 1_000),
        "ok": st.none() | st.booleans(),
    }
)
WRITERS: dict[str, Callable[[Any], str]] = {
    "compact": lambda rows: json.dumps(rows, separators=(",", ":"), ensure_ascii=False),
    "spaced": json.dumps,
    "indented": lambda rows: json.dumps(rows, indent=2, ensure_ascii=False),
}


def flights(count: int, *, first: int = 0) -> list[Row]:
    chance = random.Random(first)
    return [
        {
            "id": first + number,
            "count": chance.choice([None, chance.randint(-999, 99_999)]),
            "name": chance.choice(["UA", "N14228", None] if number % 20 else ["München"]),
            "at": "2013-01-01T10:00:00Z",
            "ratio": chance.choice([1.5, -0.25, 3, None]),
            "ok": chance.choice([True, False, None]),
        }
        for number in range(count)
    ]


def outcome(pages: list[bytes], columns: dict[str, str], *, fast: bool, **shape: Any) -> Any:
    try:
        decoded = decode([(page, {}) for page in pages], Shape.model_validate({"columns": columns, **shape}), fast=fast)
    except PipelineError as error:
        return error.kind
    return decoded.table.schema, decoded.table.to_pylist()


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(ROWS, max_size=4), min_size=1, max_size=3), st.sampled_from(sorted(WRITERS)))
@example([[{"id": -0, "count": 0, "name": "", "at": None, "ratio": 0, "ok": True}]], "compact")
def test_what_is_read_as_bytes_is_what_the_exact_path_gives(pages: list[list[Row]], style: str) -> None:
    written = [WRITERS[style](rows).encode() for rows in pages]

    fast = outcome(written, COLUMNS, fast=True)

    assert repr(fast) == repr(outcome(written, COLUMNS, fast=False))


@settings(max_examples=1_500, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_damage_to_a_page_is_overlooked(data: st.DataObject) -> None:
    """A few bytes changed, added or taken away: the same rows as on the exact path, or the same error."""
    style = data.draw(st.sampled_from(sorted(WRITERS)))
    page = bytearray(WRITERS[style](flights(5, first=data.draw(st.integers(0, 50)))).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(page) - 1))
        new = data.draw(st.sampled_from([b"", b"0", b"9", b".", b"e", b"-", b'"', b",", b":", b"}", b"{", b"\\", b" "]))
        page[place : place + data.draw(st.integers(0, 2))] = new

    fast = outcome([bytes(page)], COLUMNS, fast=True)

    assert repr(fast) == repr(outcome([bytes(page)], COLUMNS, fast=False))


@pytest.mark.parametrize("style", sorted(WRITERS))
def test_ordinary_pages_are_read_as_bytes_however_they_are_spaced(style: str) -> None:
    """Otherwise the tests above would prove nothing: 2,000 records on three pages, one of them empty."""
    rows = [{key: row[key] for key in ("id", "name")} for row in flights(2_000)]
    pages = [WRITERS[style](part).encode() for part in (rows[:700], [], rows[700:])]

    columns, counts, _ = read_alike(pages, {("id",): int, ("name",): str})

    assert counts == [700, 0, 1_300]
    assert columns["id",].to_pylist() == [row["id"] for row in rows]
    assert columns["name",].to_pylist() == [row["name"] for row in rows]


@pytest.mark.parametrize("digits", range(1, 19))
def test_integers_of_any_length_are_read_as_they_are(digits: int) -> None:
    """Of one to eighteen digits, shorter ones, negative ones and nulls among them; records of several lengths."""
    chance = random.Random(digits)
    for filler in range(130):  # whatever lies so many bytes before a value is not taken for it
        values = [chance.choice([None, chance.randint(-(10**digits), 10**digits), 7]) for _ in range(40)]
        rows = [{"n": value, "t": "1" * filler} for value in values]

        columns, *_ = read_alike([WRITERS["compact"](rows).encode()], WORDS)

        assert columns["n",].to_pylist() == values


def test_fractions_become_the_nearest_float() -> None:
    """20,000 of up to eight digits before the point and ten behind it, as Python reads them."""
    chance = random.Random(1)
    written = [
        f"{chance.choice(['', '-'])}{chance.randint(0, 10 ** chance.randint(1, 8) - 1)}"
        f".{str(chance.randint(0, 10**9)).zfill(9)[: chance.randint(1, 10)]}"
        for _ in range(20_000)
    ]
    for texts in (written, [text for text in written if len(text.partition(".")[2]) <= 8], ["-0.0", "0.0", "-0", "12"]):
        page = "[" + ",".join('{"x":' + text + "}" for text in texts) + "]"

        columns, *_ = read_alike([page.encode()], {("x",): float})

        assert list(map(repr, columns["x",].to_pylist())) == [
            repr(0.0 if text == "-0" else float(text)) for text in texts
        ]


def test_fields_of_fields_and_escapes_are_read_as_bytes() -> None:
    rows = [{"n": number, "in": {"t": "a\nb" if number == 7 else "x"}, "z": None} for number in range(300)]

    columns, *_ = read_alike([json.dumps(rows).encode()], {("n",): int, ("in", "t"): str, ("z",): None})

    assert columns["in", "t"].to_pylist() == [row["in"]["t"] for row in rows]  # type: ignore[index]  # an object
    assert columns["z",].null_count == 300


@pytest.mark.parametrize(
    "page",
    [
        pytest.param('[{"n":1,"t":"a"},{"t":"b","n":2}]', id="another-order"),
        pytest.param('[{"n":1,"t":"a"},{"n":2}]', id="a-field-less"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":"b","u":3}]', id="a-field-more"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"T":"b"}]', id="another-field"),
        pytest.param('[{"n":1,"t":"a"},{"n":2, "t":"b"}]', id="another-space"),
        pytest.param('[{"n":1,"t":"a"},{"n":"5","t":6}]', id="swapped-kinds"),
        pytest.param('[{"n":1,"t":"a"},{"n":2.5,"t":"b"}]', id="a-fraction"),
        pytest.param('[{"n":1,"t":"a"},{"n":1e2,"t":"b"}]', id="an-exponent"),
        pytest.param('[{"n":1,"t":"a"},{"n":007,"t":"b"}]', id="zeros-before"),
        pytest.param('[{"n":1,"t":"a"},{"n":-,"t":"b"}]', id="a-lone-minus"),
        pytest.param('[{"n":1,"t":"a"},{"n":+7,"t":"b"}]', id="a-plus"),
        pytest.param('[{"n":1,"t":"a"},{"n":true,"t":"b"}]', id="a-boolean"),
        pytest.param('[{"n":1,"t":"a"},{"n":9223372036854775808,"t":"b"}]', id="beyond-int64"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":"b"},]', id="a-comma-too-many"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":"b",}]', id="a-comma-within"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":"b"}', id="no-end"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":"b"}}]', id="two-ends"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":"b"},null]', id="a-null-between"),
        pytest.param('[{"n":1,"n":1},{"n":2,"n":2}]', id="a-field-twice"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":"b\tc"}]', id="a-control-in-text"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":"b\\ud800"}]', id="half-a-surrogate"),
        pytest.param('[{"n":1,"t":"a"},{"n":2,"t":["b"]}]', id="a-list"),
        pytest.param('[{"n":1,"t":{}},{"n":2,"t":{}}]', id="an-empty-object"),
        pytest.param("[]", id="no-record"),
        pytest.param("[1,2]", id="no-objects"),
        pytest.param('{"n":1,"t":"a"}', id="no-array"),
    ],
)
def test_what_is_not_alike_or_not_json_is_left_to_others(page: str) -> None:
    with pytest.raises(Unlike):
        read_alike([page.encode()], WORDS)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(b'[{"n":1,"t":"a"},{"n":2,]', b'["t":"b"},{"n":3,"t":"c"}]', id="within-a-record"),
        pytest.param(b'[{"n":1,"t":"a]', b'[b"},{"n":3,"t":"c"}]', id="within-a-text"),
    ],
)
def test_pages_that_only_make_sense_together_are_refused(first: bytes, second: bytes) -> None:
    with pytest.raises(Unlike):
        read_alike([first, second], WORDS)
