"""Where the records are in an answer, and what is said when they are not there."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.errors import ConfigError, DecodeError, PipelineError, RecordsMissing, SchemaError
from pipelines.records import Format, Records, parse
from pipelines.transform.mask import mask

LISTS = b'{"items":[' + b",".join([b'{"tags":["a"]}'] * 400) + b'],"errors":[]}'
"""More than 4,096 bytes, with lists in the records and behind them."""
DEEP = b'{"items":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("records", "document", "rows"),
    [
        pytest.param({}, [{"a": 1}], [{"a": 1}], id="the-body"),
        pytest.param({"rows": "data.items"}, {"data": {"items": [{"a": 1}]}}, [{"a": 1}], id="a-path"),
        pytest.param({"rows": "[1]"}, [{"page": 1}, [{"a": 1}]], [{"a": 1}], id="second-of-two"),
        pytest.param({"single": True}, {"a": 1}, [{"a": 1}], id="one-object"),
        pytest.param({"rows": "[1]", "null": "empty"}, [{"page": 1}, None], [], id="null-is-empty"),
        pytest.param(
            {"columns": "d"},
            {"d": {"t": ["x", "y"], "v": [1, None]}},
            [{"t": "x", "v": 1}, {"t": "y", "v": None}],
            id="columns",
        ),
        pytest.param(
            {"entries": "rates", "keys": ["day", "currency"], "value": "rate"},
            {"rates": {"2018-01-31": {"JPY": 135.6}}},
            [{"day": "2018-01-31", "currency": "JPY", "rate": 135.6}],
            id="entries",
        ),
    ],
)
def test_records_are_found_where_the_configuration_says(
    records: dict[str, Any], document: Any, rows: list[Any]
) -> None:
    assert Records.model_validate(records).select(document) == rows


@pytest.mark.parametrize(
    "document", [{}, {"items": None}, {"items": {"a": 1}}, {"items": "x"}, {"items": [1]}, [], "x", None]
)
def test_g11_what_is_no_list_of_objects_is_missing_records(document: Any) -> None:
    with pytest.raises(RecordsMissing):
        Records(rows="items").select(document)


@pytest.mark.parametrize(
    ("path", "error", "told"),
    [
        pytest.param("sort_by(data, &price)", RecordsMissing,
                     "`records`: 'sort_by(data, &price)' cannot be computed: sort_by() takes number, and meets null",
                     id="a-null-to-sort-by"),
        pytest.param("data[?contains(name, 'x')]", RecordsMissing, "contains() takes array or string, and meets null",
                     id="a-null-to-look-into"),
        pytest.param("[max(data[].price)]", RecordsMissing,
                     "max() takes array-number or array-string, and meets string", id="numbers-and-texts"),
        pytest.param("data[?name > price]", RecordsMissing, "'>' not supported", id="two-kinds-to-compare"),
        pytest.param("sort(data, &price)", ConfigError, "Expected 1 argument for function sort()", id="arguments"),
        pytest.param("srt_by(data, &price)", ConfigError, "Unknown function: srt_by()", id="no-such-function"),
    ],
)  # fmt: skip
def test_a_path_that_cannot_be_computed_is_an_error_that_names_it(
    path: str, error: type[PipelineError], told: str
) -> None:
    """Its message has no value of a record."""
    document = {"data": [{"price": 0.5, "name": "a7341"}, {"price": None}, {"price": "b7341"}]}

    with pytest.raises(error, match=re.escape(told)) as raised:
        Records(rows=path).select(document)

    assert "7341" not in str(raised.value)
    assert raised.value.hint


@pytest.mark.parametrize("keys", [["key"], ["day", "key"]], ids=["its-own-level", "a-level-above"])
def test_g17_a_field_hides_no_key_of_the_entries_above_it(keys: list[str]) -> None:
    """A book under its number has a field `key` of its own."""
    books = {"ISBN:1": {"key": "/books/1", "title": "a"}}
    document = {"books": books if len(keys) == 1 else {"2024-01-01": books}}

    with pytest.raises(SchemaError, match="have another 'key' than the level that `keys` calls so"):
        Records.model_validate({"entries": "books", "keys": keys}).select(document)


def test_a_field_that_repeats_the_key_of_its_entry_stays_as_it_is() -> None:
    document = {"data": {"2024": {"7": {"id": 7, "year": "2024", "name": "a"}}}}

    rows = Records.model_validate({"entries": "data", "keys": ["year", "id"]}).select(document)

    assert rows == [{"id": 7, "year": "2024", "name": "a"}]


@pytest.mark.parametrize(
    ("body", "values"), [(b"id\n1\n\n2\n\n", ["1", "", "2"]), (b"id\r\n\r\n", []), (b'id\n""\n', [""])], ids=str
)
def test_empty_lines_at_the_end_of_a_csv_of_one_column_are_no_records(body: bytes, values: list[str]) -> None:
    assert parse(body, "csv") == [{"id": value} for value in values]


@pytest.mark.parametrize("keys", [[], ["a", "a"]])
def test_each_level_of_keys_has_a_name_of_its_own(keys: list[str]) -> None:
    with pytest.raises(ValidationError, match="names each level of keys once"):
        Records.model_validate({"entries": "books", "keys": keys})


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(RecordsMissing, match="differ in length"):
        Records(columns="d").select({"d": {"t": ["x"], "v": []}})


@pytest.mark.parametrize(
    ("path", "body", "array"),
    [
        ("@", b' [{"a":1}]', b' [{"a":1}]'),
        ("items", b'{"n":1,"items":[{"a":1}]}', b'[{"a":1}]'),
        ("data.items", b'{"data":{"items":[]}}', b"[]"),
        ("items", b'{"items":{}}', None),
        ("items", b'{"other":[]}', None),
        ("items[0]", b'{"items":[[]]}', None),
        ("items", b"<html>", None),
        ("items", b'{"items":[{"a":1}],"items":[{"a":2}]}', None),
        ("data.items", b'{"data":{"items":[]},"data":{"items":[]}}', None),
        ("items", b'{"items":[{"items":[1]}]}', b'[{"items":[1]}]'),
        pytest.param("items", LISTS, LISTS[9:-13], id="lists-within-and-behind"),
    ],
)
def test_the_raw_array_is_cut_out_or_left_to_the_exact_reading(path: str, body: bytes, array: bytes | None) -> None:
    assert Records(rows=path).slice(body) == array


def test_a_path_that_is_none_is_a_mistake_of_the_configuration() -> None:
    with pytest.raises(ValidationError, match="JMESPath"):
        Records(rows="a..b")


@pytest.mark.parametrize(
    ("body", "layout", "document"),
    [
        (b"", "json", []),
        (b'\xef\xbb\xbf{"a":1}', "json", {"a": 1}),
        (b'{"a":1}\n\n{"a":2}', "ndjson", [{"a": 1}, {"a": 2}]),
        (b"a,b\n1,x\n", "csv", [{"a": "1", "b": "x"}]),
        (b"a\n1\n\n3\n", "csv", [{"a": "1"}, {"a": ""}, {"a": "3"}]),
    ],
)
def test_an_answer_is_parsed_by_its_format(body: bytes, layout: Format, document: Any) -> None:
    assert parse(body, layout) == document


def test_g22_a_long_field_of_csv_is_read_and_masked() -> None:
    """1 MB, eight times what Python's own reader takes at first."""
    text = "x" * 1_000_000

    rows = parse(f"id,note\n1,{text}\n".encode(), "csv")
    kept = mask(f"id,note\n1,{text}\n".encode(), "csv", Records(), {"id": "last4"})

    assert rows == [{"id": "1", "note": text}]
    assert parse(kept, "csv") == [{"id": "***", "note": text}]


@pytest.mark.parametrize(
    ("body", "error", "told"),
    [
        (b"a,b\n1,2\n3", RecordsMissing, "more or fewer fields than the first line"),
        (b"a,b\n1,2,3\n", RecordsMissing, "more or fewer fields than the first line"),
        (b"a,b,a\n1,2,3\n", DecodeError, "the first line names 'a' twice"),
        (b"a,b,a\n", DecodeError, "the first line names 'a' twice"),
    ],
    ids=["short", "long", "a-name-twice", "a-name-twice-and-no-row"],
)
def test_csv_that_would_lose_or_gain_a_field_is_an_error(body: bytes, error: type[PipelineError], told: str) -> None:
    with pytest.raises(error, match=told):
        parse(body, "csv")


@pytest.mark.parametrize(
    ("body", "layout"), [(b"<html>", "json"), (b"\xff", "csv"), (DEEP, "json"), (b"{}\n{", "ndjson")]
)
def test_g10_an_answer_of_another_format_is_a_decode_error(body: bytes, layout: Format) -> None:
    with pytest.raises(DecodeError, match=f"not {layout}"):
        parse(body, layout)
