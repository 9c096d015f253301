"""Pages become one exact table, by whichever path."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.errors import ConfigError, DecodeError, PipelineError, RecordsMissing, SchemaError, TypeConflict
from pipelines.transform.columns import Shape
from pipelines.transform.decode import Decoded, decode


def page(*records: Any) -> tuple[bytes, dict[str, Any]]:
    return json.dumps(list(records)).encode(), {}


def both(*bodies: bytes, known: pa.Schema | None = None, **shape: Any) -> Decoded:
    """Decode on both paths and hold them equal."""
    wanted = Shape.model_validate(shape)
    pages: list[tuple[bytes, dict[str, Any]]] = [(body, {}) for body in bodies]
    fast, exact = (decode(pages, wanted, known, fast=flag) for flag in (True, False))
    assert fast.table.equals(exact.table)
    assert fast.rejects == exact.rejects
    return fast


def column(decoded: Decoded, name: str) -> tuple[str, list[Any]]:
    return str(decoded.table.schema.field(name).type), decoded.table[name].to_pylist()


def fails(body: bytes, **shape: Any) -> PipelineError:
    """The error of both paths, which must be the same."""
    errors = []
    for fast in (True, False):
        with pytest.raises(PipelineError) as caught:
            decode([(body, {})], Shape.model_validate(shape), fast=fast)
        errors.append(caught.value)
    assert (errors[0].kind, errors[0].message) == (errors[1].kind, errors[1].message)
    return errors[0]


def test_integers_and_floats_of_one_field_become_one_exact_column() -> None:
    decoded = both(b'[{"mag":2},{"mag":null}]', b'[{"mag":2.5},{}]')

    assert column(decoded, "mag") == ("double", [2.0, None, 2.5, None])


def test_pages_that_fit_take_the_fast_path() -> None:
    pages = [page({"id": number, "name": "x", "at": "2024-01-01T00:00:00Z"}) for number in range(5)]

    decoded = decode(pages, Shape.model_validate({"columns": {"at": "timestamp"}}))

    assert (decoded.fast_pages, decoded.exact_pages, decoded.table.num_rows) == (5, 0, 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param("9007199254740993,null", ("int64", [2**53 + 1, None]), id="beyond-2**53"),
        pytest.param("9223372036854775808,1", ("decimal128(38, 0)", [Decimal(2**63), Decimal(1)]), id="beyond-int64"),
        pytest.param("1180591620717411303424", ("decimal128(38, 0)", [Decimal(2**70)]), id="2**70"),
        pytest.param("9007199254740993,0.5", ("string", ["9007199254740993", "0.5"]), id="no-float-holds-both"),
        pytest.param("1" * 50, ("string", ["1" * 50]), id="beyond-decimal"),
    ],
)
def test_g15_a_large_integer_is_never_rounded(values: str, expected: tuple[str, list[Any]]) -> None:
    records = "[" + ",".join(f'{{"a":{value}}}' for value in values.split(",")) + "]"

    decoded = both(records.encode())

    assert column(decoded, "a") == expected


def test_g15_a_large_integer_on_an_earlier_page_survives_a_later_float() -> None:
    decoded = both(b'[{"a":9007199254740993}]', b'[{"a":1.10}]')

    assert column(decoded, "a") == ("string", ["9007199254740993", "1.10"])


def test_a_float_that_becomes_text_on_a_later_page_keeps_its_digits() -> None:
    decoded = both(b'[{"a":1.10}]', b'[{"a":"n/a"}]', b'[{"a":true}]', b'[{"a":{"b":[1.0]}}]')

    assert column(decoded, "a") == ("string", ["1.10", "n/a", "true", '{"b":[1.0]}'])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'[{"a":NaN}]', id="g14-nan"),
        pytest.param(b'[{"a":1.5},{"a":-Infinity}]', id="g14-infinity"),
        pytest.param(b'[{"a":1e400}]', id="g14-1e400"),
        pytest.param(b'[{"a":"\xe9"}]', id="g13-latin-1"),
        pytest.param(b'[{"a":"\\ud800"}]', id="g22-lone-surrogate"),
        pytest.param(b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", id="g16-depth"),
        pytest.param(b'[{"a":' + b"[" * 900 + b"]" * 900 + b"}]", id="g16-depth-that-json-can-read"),
        pytest.param(b'[{"a":' + b"1" * 5_000 + b"}]", id="g16-digits"),
        pytest.param(b'[{"a":1,"a":2}]', id="duplicate-key"),
        pytest.param(b'[{"a":{"b":1,"b":2}}]', id="duplicate-nested-key"),
        pytest.param(b'[{"a":1,"a":2},{"a":1,"b":2},{"a":1}]', id="duplicate-key-beside-a-missing-one"),
        pytest.param(b'[{"a":1}] x', id="trailing-garbage"),
        pytest.param(b'[{"a":1}', id="cut"),
        pytest.param(b'[{"a":01}]', id="leading-zero"),
        pytest.param(b"<html>", id="g10-html"),
    ],
)
def test_broken_json_is_an_error_and_never_a_value(body: bytes) -> None:
    error = fails(body)

    assert isinstance(error, DecodeError)


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([b'[{"a":"x]', b'[y"}]'], id="a-text-over-both"),
        pytest.param([b'[{"a":"x"},{"a":"y]', b'[z"},{"a":"b"}]'], id="a-text-over-the-border"),
        pytest.param([b'[{"a":1},]', b'[{"a":2}]'], id="a-comma-too-many"),
        pytest.param([b'[{"a":1}', b'{"a":2}]'], id="cut-in-two"),
        pytest.param([b'[{"a":1}]', b'[{"a":2}] ['], id="more-after-the-end"),
    ],
)
def test_damaged_pages_are_not_healed_by_their_neighbours(pages: list[bytes]) -> None:
    """Though put one after the other, as pages are read together, they would be whole."""
    for fast in (True, False):
        with pytest.raises((DecodeError, RecordsMissing)):
            decode([(page, {}) for page in pages], Shape.model_validate({}), fast=fast)


def test_pages_that_are_read_together_keep_their_rows_and_what_they_carry() -> None:
    pages = [page({"a": 1}, {"a": 2})[0], page()[0], page({"a": 3})[0], b' [{"a":4}] ']
    carries: list[dict[str, Any]] = [{"shop": name} for name in ("x", "y", "z", "w")]

    decoded = [
        decode(list(zip(pages, carries, strict=True)), Shape.model_validate({}), fast=fast) for fast in (True, False)
    ]

    assert column(decoded[0], "a") == ("int64", [1, 2, 3, 4])
    assert column(decoded[0], "shop") == ("string", ["x", "x", "z", "w"])
    assert decoded[0].table.equals(decoded[1].table)
    assert decoded[0].fast_pages == 4


def test_a_null_on_a_page_is_no_border_between_pages() -> None:
    pages = [page({"a": 1}, None)[0], page({"a": 2})[0]]

    for fast in (True, False):
        with pytest.raises(RecordsMissing):
            decode([(one, {}) for one in pages], Shape.model_validate({}), fast=fast)


def test_g13_a_byte_order_mark_is_accepted_and_a_nul_is_kept() -> None:
    decoded = both(b'\xef\xbb\xbf[{"a":"x\\u0000y"}]')

    assert column(decoded, "a") == ("string", ["x\0y"])


@pytest.mark.parametrize("body", [b"null", b"[1]", b"[null]", b'{"a":1}', b'"x"', b'[{"a":1},[]]'])
def test_g11_what_is_no_list_of_objects_is_no_records(body: bytes) -> None:
    assert isinstance(fails(body), RecordsMissing)


@pytest.mark.parametrize("body", [b"", b"[]", b"  [ ] "])
def test_an_empty_page_has_the_declared_columns_and_no_row(body: bytes) -> None:
    decoded = both(body, columns={"a": "int64"})

    assert (decoded.table.num_rows, decoded.table.column_names) == (0, ["a"])


def test_g17_two_fields_that_would_share_a_column_are_an_error() -> None:
    error = fails(b'[{"createdAt":1,"created_at":2}]')

    assert isinstance(error, SchemaError)
    assert "created_at" in error.message


def test_g17_ten_thousand_different_keys_are_an_error() -> None:
    assert isinstance(fails(json.dumps([{f"k{number}": 1} for number in range(10_000)]).encode()), SchemaError)


def test_g19_nulls_settle_when_values_come() -> None:
    decoded = both(b'[{"a":null,"b":{},"c":[]}]', b'[{"a":"x","b":{"d":1},"c":[1]}]')

    assert column(decoded, "a") == ("string", [None, "x"])
    assert column(decoded, "b")[1][1] == {"d": 1}
    assert column(decoded, "c")[1] == [[], [1]]


def test_g19_a_column_of_nulls_takes_the_type_of_the_last_commit() -> None:
    known = pa.schema([("a", pa.float64()), ("b", pa.string())])

    decoded = both(b'[{"a":null,"b":null}]', b'[{"a":1,"b":2}]', known=known)

    assert column(decoded, "a") == ("double", [None, 1.0])
    assert column(decoded, "b") == ("string", [None, "2"])


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("int64", '1,1.0,1e3,"12",-0', [1, 1, 1000, 12, 0]),
        ("uint8", "0,255", [0, 255]),
        ("float64", '1,0.1,"2.5",1e20,9007199254740992', [1.0, 0.1, 2.5, 1e20, 2.0**53]),
        ("decimal(12,2)", '1,1.10,"1.5",1e3,0.000', [Decimal(text) for text in ("1.00", "1.10", "1.50", "1000", "0")]),
        ("string", '"a",1,1.10,true,{"x":[1.0]}', ["a", "1", "1.10", "true", '{"x":[1.0]}']),
        ("json", '"a",1,{"x": [1.50, "\\u00e9"]}', ['"a"', "1", '{"x":[1.50,"é"]}']),
        ("bool", "true,false", [True, False]),
        ("list<int64>", '[1,null,"3"]', [[1, None, 3]]),
        ("struct<id: int64, name: string>", '{"id":1}', [{"id": 1, "name": None}]),
    ],
)
def test_a_declared_type_converts_what_loses_nothing(kind: str, values: str, expected: list[Any]) -> None:
    found = json.loads(f"[{values}]", parse_float=lambda text: f"\1{text}\1")
    records = [
        json.dumps({"a": value}, ensure_ascii=False).replace('"\\u0001', "").replace('\\u0001"', "") for value in found
    ]

    decoded = both(f"[{','.join(records)},{{}}]".encode(), columns={"a": kind})

    assert decoded.table["a"].to_pylist() == [*expected, None]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int64", '"n/a"'),
        ("int64", "1.5"),
        ("int64", "true"),
        ("int64", '"007"'),
        ("int64", "9223372036854775808"),
        ("uint8", "256"),
        ("float64", "9007199254740993"),
        ("float64", "1e400"),
        ("float64", '"NaN"'),
        ("decimal(5,2)", "1.125"),
        ("decimal(5,2)", "1000"),
        ("bool", "1"),
        ("list<int64>", '"x"'),
        ("struct<id: int64>", '{"id":1,"new":2}'),
    ],
)
def test_a_value_that_would_lose_something_is_a_conflict(kind: str, value: str) -> None:
    error = fails(f'[{{"a":{value}}}]'.encode(), columns={"a": kind})

    assert isinstance(error, TypeConflict)
    assert "'a'" in error.message


@pytest.mark.parametrize(
    ("declared", "value", "instant"),
    [
        ("timestamp", '"2024-03-31T12:00:00Z"', "2024-03-31 12:00:00+00:00"),
        ("timestamp", '"2024-03-31 12:00:00.5+02:00"', "2024-03-31 10:00:00.500000+00:00"),
        ("timestamp", '"0001-01-01T00:00:00Z"', "0001-01-01 00:00:00+00:00"),
        ("timestamp", '"9999-12-31T23:59:59Z"', "9999-12-31 23:59:59+00:00"),
        ({"type": "timestamp", "zone": "Europe/Madrid"}, '"2024-07-01T12:00:00"', "2024-07-01 10:00:00+00:00"),
        ({"type": "timestamp", "zone": "Europe/Madrid"}, '"2024-07-01"', "2024-06-30 22:00:00+00:00"),
        ({"type": "timestamp", "zone": "Europe/Madrid"}, '"2024-10-27T02:30:00"', "2024-10-27 00:30:00+00:00"),
        ({"type": "timestamp", "zone": "Europe/Madrid"}, '"1850-07-01T12:00:00"', "1850-07-01 12:14:44+00:00"),
        ({"type": "timestamp", "zone": "Europe/Madrid"}, '"2036-07-01T12:00:00"', "2036-07-01 10:00:00+00:00"),
        ({"type": "timestamp", "zone": "Europe/Madrid"}, '"2037-07-01T12:00:00"', "2037-07-01 10:00:00+00:00"),
        ({"type": "timestamp", "zone": "Europe/Madrid"}, '"2050-07-01T12:00:00"', "2050-07-01 10:00:00+00:00"),
        ("timestamp(ms) from epoch_ms", "1517966773840", "2018-02-07 01:26:13.840000+00:00"),
        ("timestamp(ms) from epoch_s", "1517966773.84", "2018-02-07 01:26:13.840000+00:00"),
        ("date", '"2024-02-29"', "2024-02-29"),
    ],
)
def test_c08_times_become_the_right_instant(declared: Any, value: str, instant: str) -> None:
    decoded = both(f'[{{"a":{value}}}]'.encode(), columns={"a": declared})

    assert str(decoded.table["a"][0].as_py()) == instant


def test_a_date_that_stands_for_never_leaves_its_page_to_the_fast_path() -> None:
    """Each different time from 2037 on is read by the rule of the zone, the others by its list."""
    times = ["2024-07-01T12:00:00", "9999-12-31T00:00:00", None, "2050-07-01T12:00:00.5", "9999-12-31T00:00:00"]
    body, _ = page(*({"till": time} for time in times))

    decoded = both(body, columns={"till": {"type": "timestamp", "zone": "Europe/Madrid"}})

    assert [str(time) for time in decoded.table["till"].to_pylist()] == [
        "2024-07-01 10:00:00+00:00", "9999-12-30 23:00:00+00:00", "None", "2050-07-01 10:00:00.500000+00:00",
        "9999-12-30 23:00:00+00:00",
    ]  # fmt: skip
    assert (decoded.fast_pages, decoded.exact_pages) == (1, 0)


@pytest.mark.parametrize(
    ("declared", "value", "kind"),
    [
        ("timestamp", '"2024-07-01T12:00:00"', ConfigError),
        ("timestamp", '"2024-07-01"', ConfigError),
        ("timestamp", '"2016-12-31T23:59:60Z"', DecodeError),
        ("timestamp", '"soon"', DecodeError),
        ("timestamp", '"0000-01-01T00:00:00Z"', DecodeError),
        ("timestamp", "1517966773840", TypeConflict),
        ("timestamp(s)", '"2024-07-01T12:00:00.5Z"', DecodeError),
        ({"type": "timestamp", "zone": "Europe/Madrid"}, '"2024-03-31T02:30:00"', DecodeError),
        ("timestamp from epoch_s", "1517966773840", DecodeError),
        ("timestamp from epoch_s", "1e1000000", DecodeError),
        ("date", '"2023-02-29"', DecodeError),
        ("date", '"2023-02-28T00:00:00Z"', DecodeError),
    ],
)
def test_c08_times_are_never_guessed(declared: Any, value: str, kind: type[PipelineError]) -> None:
    error = fails(f'[{{"a":{value}}}]'.encode(), columns={"a": declared})

    assert isinstance(error, kind)


def test_text_that_looks_like_a_time_stays_text_unless_declared() -> None:
    decoded = both(b'[{"a":"2024-01-01T00:00:00Z"}]')

    assert column(decoded, "a") == ("string", ["2024-01-01T00:00:00Z"])


def test_quarantine_sets_the_record_aside_with_its_reason() -> None:
    decoded = both(b'[{"a":1,"b":1.50},{"a":"n/a","b":2},{"a":3}]', columns={"a": "int64"}, on_mismatch="quarantine")

    assert decoded.table["a"].to_pylist() == [1, 3]
    assert decoded.rejects is not None
    assert decoded.rejects.to_pylist() == [
        {"record": '{"a":"n/a","b":2}', "column": "a", "reason": "is a string of 3 characters and no number"}
    ]


def test_a_record_is_set_aside_as_it_came_though_it_holds_half_a_character() -> None:
    decoded = both(b'[{"a":"n/a","b":"x\\ud800"},{"a":3}]', columns={"a": "int64"}, on_mismatch="quarantine")

    assert decoded.table["a"].to_pylist() == [3]
    assert decoded.rejects is not None
    assert decoded.rejects["record"].to_pylist() == ['{"a":"n/a","b":"x\\ud800"}']


@pytest.mark.parametrize("policy", ["quarantine", "fail", "widen"])
def test_the_first_records_of_a_page_do_not_settle_the_types_of_the_others(policy: str) -> None:
    """A hundred integers, and a fraction behind them: no mismatch, as the column has no type before the page ends."""
    prices = [*range(1, 101), *([1.5] * 50)]

    decoded = both(page(*({"price": price} for price in prices))[0], on_mismatch=policy)

    assert column(decoded, "price") == ("double", prices)
    assert decoded.rejects is None


@pytest.mark.parametrize("policy", ["quarantine", "fail"])
@pytest.mark.parametrize(
    ("first", "then", "kind"),
    [
        pytest.param([], ["x"], "list<item: string>", id="empty-list"),
        pytest.param([None], [1], "list<item: int64>", id="list-of-nulls"),
        pytest.param({"zip": None}, {"zip": "1"}, "struct<zip: string>", id="null-inside"),
        pytest.param({"zip": "1"}, {"no": 2}, "struct<zip: string, no: int64>", id="new-field-inside"),
        pytest.param({"tags": [{}]}, {"tags": [{"n": 1}]}, "struct<tags: list<item: struct<n: int64>>>", id="deep"),
    ],
)
def test_g19_what_had_no_type_is_no_mismatch(policy: str, first: Any, then: Any, kind: str) -> None:
    """Neither on a later page, nor once it is committed; but then it has its type, and what differs is a mismatch."""
    one, other = page({"a": first})[0], page({"a": then})[0]

    together = both(one, other, other, on_mismatch=policy)
    committed = both(one, on_mismatch=policy).table.schema
    later = both(other, known=committed, on_mismatch=policy)

    assert (column(together, "a")[0], together.table.num_rows, together.rejects) == (kind, 3, None)
    assert (column(later, "a")[0], later.rejects) == (kind, None)


def test_g19_a_type_inside_that_came_late_holds_from_then_on() -> None:
    bodies = [page({"a": value})[0] for value in ([], ["x"], [1], {"b": 1})]

    decoded = both(*bodies, on_mismatch="quarantine")

    assert column(decoded, "a") == ("list<item: string>", [[], ["x"], ["1"]])
    assert decoded.rejects is not None
    assert decoded.rejects["reason"].to_pylist() == ["is an object, the column is list<item: string>"]


def test_a_record_that_fits_fills_a_type_beside_one_that_does_not() -> None:
    bodies = page({"a": {"n": 1, "zip": None}})[0], page({"a": {"n": "x", "zip": "1"}}, {"a": {"n": 2, "zip": "2"}})[0]

    decoded = both(*bodies, on_mismatch="quarantine")

    assert decoded.table["a"].to_pylist() == [{"n": 1, "zip": None}, {"n": 2, "zip": "2"}]
    assert decoded.rejects is not None
    assert decoded.rejects["record"].to_pylist() == ['{"a":{"n":"x","zip":"1"}}']


@pytest.mark.parametrize("policy", ["ignore", "fail"])
def test_an_object_gains_no_field_where_new_ones_are_not_added(policy: str) -> None:
    known = pa.schema([("a", pa.struct([("zip", pa.string())]))])

    decoded = both(page({"a": {"no": 1}})[0], known=known, on_mismatch="quarantine", on_new_column=policy)

    assert decoded.rejects is not None
    assert (decoded.table.num_rows, len(decoded.rejects)) == (0, 1)


def test_widen_makes_text_of_a_declared_column_that_does_not_fit() -> None:
    decoded = both(b'[{"a":1.50}]', b'[{"a":"n/a"}]', columns={"a": "decimal(9,2)"}, on_mismatch="widen")

    assert column(decoded, "a") == ("string", ["1.50", "n/a"])


def test_a_new_field_is_added_ignored_or_fails() -> None:
    body = b'[{"a":1},{"a":2,"b":3}]'

    added = both(body, columns={"a": "int64"})
    ignored = both(body, columns={"a": "int64"}, on_new_column="ignore")
    failed = fails(body, columns={"a": "int64"}, on_new_column="fail")

    assert (added.table.column_names, ignored.table.column_names) == (["a", "b"], ["a"])
    assert isinstance(failed, SchemaError)


def test_a_new_field_on_a_later_page_is_noticed() -> None:
    decoded = both(b'[{"a":1}]', b'[{"a":2,"b":3}]', b'[{"a":4}]')

    assert decoded.table.to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": 3}, {"a": 4, "b": None}]


def test_columns_come_from_nested_places() -> None:
    quake = {
        "type": "Feature",
        "properties": {"mag": 2, "place": "CA", "tz": -480},
        "geometry": {"type": "Point", "coordinates": [-118.5, 34, 7.5]},
        "id": "ci1",
    }
    columns = {
        "id": "string",
        "mag": {"type": "float64", "from": "properties.mag"},
        "depth": {"type": "float64", "from": "geometry.coordinates[2]"},
        "far": {"type": "float64", "from": "geometry.coordinates[7]"},
    }
    body = json.dumps({"features": [quake, {"id": "ci2"}, {"id": "ci3", "properties": None}]}).encode()

    decoded = both(body, columns=columns, records="features", on_new_column="ignore")
    added = both(body, columns=columns, records="features")

    assert decoded.table.to_pylist()[0] == {"id": "ci1", "mag": 2.0, "depth": 7.5, "far": None}
    assert decoded.table["mag"].to_pylist() == [2.0, None, None]
    assert added.table["properties"].to_pylist()[0] == {"place": "CA", "tz": -480}
    assert added.table["geometry"].to_pylist()[0] == {"type": "Point"}


def test_flatten_and_rename_name_the_columns() -> None:
    body = b'[{"depTime":1,"user":{"id":2,"geo":{"lat":0.5}}},{"user":null}]'

    decoded = both(body, flatten=1, rename={"depTime": "departure"}, columns={"user_id": "int64"})

    assert decoded.table.to_pylist()[0] == {"user_id": 2, "departure": 1, "user_geo": {"lat": 0.5}}


@pytest.mark.parametrize("policy", ["add", "ignore", "fail"])
@pytest.mark.parametrize("field", ["user.id", "user_id"])
def test_a_renamed_field_of_an_opened_object_has_its_declared_type(field: str, policy: str) -> None:
    pages = [b'[{"user":{"id":"2"}}]', b'[{"user":null},{"user":{"id":3}}]']

    decoded = both(*pages, flatten=1, rename={field: "uid"}, columns={"uid": "int64"}, on_new_column=policy)

    assert column(decoded, "uid") == ("int64", [2, None, 3])


def test_a_declared_column_finds_its_field_under_another_spelling() -> None:
    decoded = both(
        b'[{"createdAt":"2024-01-01T00:00:00Z"}]', columns={"created_at": "timestamp"}, on_new_column="ignore"
    )

    assert decoded.table["created_at"].null_count == 0


def test_carried_values_become_columns_of_their_pages() -> None:
    pages: list[tuple[bytes, dict[str, Any]]] = [
        (b'[{"a":1},{"a":2}]', {"repo": "x", "n": 1}),
        (b'[{"a":3}]', {"repo": "y", "n": None}),
    ]

    decoded = decode(pages, Shape())

    assert decoded.table["repo"].to_pylist() == ["x", "x", "y"]
    assert decoded.table["n"].to_pylist() == [1, 1, None]


@pytest.mark.parametrize("shape", ["json", "ndjson", "csv"])
def test_a_carried_value_that_does_not_fit_sets_the_records_of_its_page_aside(shape: str) -> None:
    """Those of the others keep what their own parents give."""
    parents: list[Any] = ["x", 2, None, "3", {}]
    bodies = {"json": b'[{"a":"%d"},{"a":"y"}]', "ndjson": b'{"a":"%d"}\n{"a":"y"}', "csv": b"a\n%d\ny"}
    pages: list[tuple[bytes, dict[str, Any]]] = [
        (bodies[shape] % number, {"name": f"n{number}", "repo": repo}) for number, repo in enumerate(parents)
    ]
    wanted = Shape.model_validate({"format": shape, "columns": {"repo": "int64"}, "on_mismatch": "quarantine"})

    for fast in (True, False):
        decoded = decode(pages, wanted, fast=fast)

        assert decoded.table.column_names == ["a", "name", "repo"]
        assert decoded.table.filter(pc.not_equal(decoded.table["a"], "y")).to_pylist() == [
            {"a": "1", "name": "n1", "repo": 2},
            {"a": "2", "name": "n2", "repo": None},
            {"a": "3", "name": "n3", "repo": 3},
        ]
        assert decoded.table["repo"].to_pylist() == [2, 2, None, None, 3, 3]
        assert decoded.rejects is not None
        assert decoded.rejects["record"].to_pylist() == ['{"a":"0"}', '{"a":"y"}', '{"a":"4"}', '{"a":"y"}']
        assert set(decoded.rejects["column"].to_pylist()) == {"repo"}
        assert decoded.rejects["reason"][0].as_py() == "is a string of 1 characters and no number"


def test_carried_objects_and_lists_hold_numbers_with_a_point() -> None:
    place: Any = {"lat": 40.4, "bounds": [[1, 0.5], [None, 1.10]]}

    shape = Shape.model_validate({"columns": {"text": "json"}})

    decoded = decode([(b'[{"a":1}]', {"place": place, "text": place})], shape)

    assert decoded.table["place"].to_pylist() == [place]
    assert decoded.table["text"].to_pylist() == ['{"lat":40.4,"bounds":[[1,0.5],[null,1.1]]}']


def test_a_carried_column_never_hides_a_field() -> None:
    with pytest.raises(SchemaError):
        decode([(b'[{"repo":1}]', {"repo": "x"})], Shape())


def test_lines_csv_columns_and_entries_become_rows() -> None:
    lines = both(b'{"a":1}\n\n{"a":2.5}\n', format="ndjson")
    csv = both(b"a,b\n1,x\n,y\n", format="csv", columns={"a": "int64"})
    zipped = both(b'{"daily":{"t":["x","y"],"v":[1,null]}}', records={"columns": "daily"})
    entries = both(
        b'{"rates":{"2018-01-31":{"JPY":135.6}}}',
        records={"entries": "rates", "keys": ["day", "currency"], "value": "rate"},
    )

    assert lines.table["a"].to_pylist() == [1.0, 2.5]
    assert csv.table.to_pylist() == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    assert zipped.table.to_pylist() == [{"t": "x", "v": 1}, {"t": "y", "v": None}]
    assert entries.table.to_pylist() == [{"day": "2018-01-31", "currency": "JPY", "rate": 135.6}]


@pytest.mark.parametrize(
    ("records", "rows"),
    [
        pytest.param("sort_by(data, &price)", [("b", 0.5), ("a", 1.0), ("c", 20.0)], id="sorted"),
        pytest.param("data[?abs(price) > `0.75`]", [("c", 20.0), ("a", 1.0)], id="filtered"),
        pytest.param("[max_by(data, &price)]", [("c", 20.0)], id="greatest"),
        pytest.param("[{id: 'all', price: sum(data[].price)}]", [("all", 21.5)], id="made-by-a-function"),
        pytest.param("[{id: 'all', price: `0.1`}]", [("all", 0.1)], id="made-of-a-literal"),
        pytest.param("data[].{id: id, price: to_number(text)}", [("c", 0.25), ("a", 3.0), ("b", None)], id="read"),
    ],
)
def test_a_path_with_functions_takes_numbers_with_a_point(records: str, rows: list[tuple[str, float | None]]) -> None:
    body = b'{"data":[{"id":"c","price":2e1,"text":"0.25"},{"id":"a","price":1.0,"text":"3"},{"id":"b","price":0.50}]}'

    decoded = both(body, records=records)

    assert list(zip(decoded.table["id"].to_pylist(), decoded.table["price"].to_pylist(), strict=True)) == rows


def test_what_only_passes_through_a_function_keeps_its_digits() -> None:
    body = b'{"data":[{"id":2,"price":1.10},{"id":1,"price":0.123456789012345678}]}'

    decoded = both(body, records="sort_by(data, &price)", columns={"price": "string"})

    assert decoded.table["price"].to_pylist() == ["0.123456789012345678", "1.10"]


def test_a_carried_object_keeps_the_numbers_in_it() -> None:
    decoded = decode([(b'[{"a":1}]', {"at": {"lat": 0.5, "more": [1.5, {"x": 2.5}]}})], Shape())

    assert decoded.table["at"].to_pylist() == [{"lat": 0.5, "more": ["1.5", '{"x":2.5}']}]


def test_g22_wide_long_and_foreign_text_survives() -> None:
    record = {f"c{number}": "\u05d0\U0001f600" for number in range(1_999)} | {"long": "x" * 1_000_000}

    decoded = both(json.dumps([record]).encode())

    assert decoded.table.to_pylist() == [record]
