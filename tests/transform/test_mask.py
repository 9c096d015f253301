"""Personal fields leave the page before it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.errors import ConfigError, DecodeError, PipelineError, RecordsMissing
from pipelines.records import Records, parse
from pipelines.transform.mask import Sha256, mask

BODY = (
    b'{"total":1.10,"rows":[{"id":123456789012345678901,"customer":{"email":"a@b.c","phone":"12"},'
    b'"cards":[{"no":"4111111111111111"},{"no":null}]}]}'
)


def test_fields_are_dropped_hashed_and_shortened_and_numbers_stay_exact() -> None:
    rules: dict[str, Any] = {
        "customer.email": Sha256(sha256="pepper-and-salt"),
        "customer.phone": "drop",
        "cards[].no": "last4",
    }

    masked = mask(BODY, "json", Records(rows="rows"), rules)

    (row,) = json.loads(masked)["rows"]
    assert len(row["customer"].pop("email")) == 64
    assert (row["customer"], row["cards"]) == ({}, [{"no": "***1111"}, {"no": None}])
    assert masked.startswith(b'{"total":1.10,"rows":[{"id":123456789012345678901,')


def test_equal_values_have_equal_fingerprints_under_one_salt_only() -> None:
    one, two = (
        mask(b'[{"a":"x"}]', "json", Records(), {"a": Sha256(sha256=salt)})
        for salt in ("salt-number-1", "salt-number-2")
    )

    assert one == mask(b'[{"a":"x"}]', "json", Records(), {"a": Sha256(sha256="salt-number-1")})
    assert one != two


def test_lines_csv_columns_and_entries_are_masked_too() -> None:
    lines = mask(b'{"a":"secret","b":1}\n{"b":2}\n', "ndjson", Records(), {"a": "drop"})
    csv = mask(b"a,b\nsecret,1\n", "csv", Records(), {"a": "drop"})
    zipped = mask(b'{"d":{"a":["secret"],"b":[1]}}', "json", Records(columns="d"), {"a": "last4"})
    entries = mask(b'{"d":{"k":{"a":"secret"}}}', "json", Records(entries="d"), {"a": "drop"})

    assert (lines, csv) == (b'{"b":1}\n{"b":2}', b"b\r\n1\r\n")
    assert (zipped, entries) == (b'{"d":{"a":["***"],"b":[1]}}', b'{"d":{"k":{}}}')


@pytest.mark.parametrize(
    ("entries", "path", "rule", "masked"),
    [
        pytest.param({"u1": "a@b.example", "u2": None}, "email", "last4", {"u1": "***mple", "u2": None}, id="value"),
        pytest.param({"u1": "a@b.example", "u2": None}, "email", "drop", {"u1": {}, "u2": {}}, id="dropped"),
        pytest.param({"u1": ["a@b.example"]}, "email", "last4", {"u1": ["***mple"]}, id="list"),
        pytest.param({"u1": [{"at": "b"}]}, "email.at", "last4", {"u1": [{"at": "***"}]}, id="in-a-list"),
        pytest.param(
            {"u1": {"email": "a@b.example"}, "u2": "a@b.example"},
            "email",
            "last4",
            {"u1": {"email": "***mple"}, "u2": "***mple"},
            id="object-and-value",
        ),
    ],
)
@pytest.mark.parametrize("depth", [1, 2])
def test_values_of_keys_that_are_data_are_masked_by_their_column(
    entries: dict[str, Any], path: str, rule: Any, masked: dict[str, Any], depth: int
) -> None:
    """Each entry stays a record, with its keys."""
    records = Records(entries="d", keys=("team", "user")[2 - depth :], value="email")
    body, wanted = ({"d": rows if depth == 1 else {"t": rows}} for rows in (entries, masked))
    met: set[str] = set()

    found = json.loads(mask(json.dumps(body).encode(), "json", records, {path: rule}, met))

    assert (found, met) == (wanted, {path})
    assert len(records.select(found)) == len(entries)


@pytest.mark.parametrize(
    ("body", "records"),
    [
        pytest.param(b'{"d":{"t":"secret"}}', Records(entries="d", keys=("team", "user")), id="a-level-too-few"),
        pytest.param(b'{"d":[{"u":"secret"}]}', Records(entries="d"), id="a-list-of-entries"),
        pytest.param(b'{"d":["secret"]}', Records(columns="d"), id="a-list-of-values"),
        pytest.param(b'{"d":{"a":"secret"}}', Records(columns="d"), id="a-value-for-an-array"),
    ],
)
def test_a_page_of_another_layout_is_never_passed_on(body: bytes, records: Records) -> None:
    with pytest.raises(RecordsMissing):
        mask(body, "json", records, {"value": "drop", "a": "last4"})


def test_masked_csv_keeps_every_other_field_to_the_character() -> None:
    body = b'a,b,c\nsecret,"1\r2","say ""x, y"""\nmore," ",\n'

    masked = mask(body, "csv", Records(), {"a": "drop"})

    assert parse(masked, "csv") == [{"b": "1\r2", "c": 'say "x, y"'}, {"b": " ", "c": ""}]


@pytest.mark.parametrize(("rule", "masked"), [("last4", b"id,user.email\r\n1,***mple\r\n"), ("drop", b"id\r\n1\r\n")])
def test_a_csv_column_with_points_in_its_name_is_masked_by_it(rule: Any, masked: bytes) -> None:
    met: set[str] = set()

    found = mask(b"id,user.email\n1,a@b.example\n", "csv", Records(), {"user.email": rule}, met)

    assert (found, met) == (masked, {"user.email"})


@pytest.mark.parametrize(
    ("body", "layout", "path"),
    [
        pytest.param(b'[{"id": 1, "user.email": "secret"}]', "json", "user.email", id="a-field-with-points"),
        pytest.param(b'[{"user": {"home.mail": "secret"}}]', "json", "user.home.mail", id="below-another"),
        pytest.param(b'[{"user.email": "secret", "user": {"email": "secret"}}]', "json", "user.email", id="both"),
        pytest.param(b'{"user.email": "secret"}\n', "ndjson", "user.email", id="lines"),
        pytest.param(b"id,tags[]\n1,secret\n", "csv", "tags[]", id="csv-with-brackets"),
    ],
)
def test_a_name_that_a_path_takes_for_steps_is_masked_as_well(body: bytes, layout: Any, path: str) -> None:
    met: set[str] = set()

    found = mask(body, layout, Records(), {path: "drop"}, met)

    assert (b"secret" in found, met) == (False, {path})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        pytest.param(b"a,b\nsecret,1\nsecr", RecordsMissing, id="short"),
        pytest.param(b"a,b\nsecret,1,2\n", RecordsMissing, id="long"),
        pytest.param(b"a,b,b\nsecret,1,2\n", DecodeError, id="a-name-twice"),
    ],
)
def test_masking_mends_no_csv_that_is_damaged(body: bytes, error: type[PipelineError]) -> None:
    with pytest.raises(error):
        mask(body, "csv", Records(), {"a": "drop"})


def test_a_page_that_cannot_be_masked_is_never_passed_on() -> None:
    with pytest.raises(DecodeError):
        mask(b"<html>", "json", Records(), {"a": "drop"})
    with pytest.raises(ConfigError, match="copies"):
        mask(b'[{"a":"secret"}]', "json", Records(rows="[].{a: a}"), {"a": "drop"})
    with pytest.raises(ConfigError, match="salt"):
        mask(b'[{"a":"secret"}]', "json", Records(), {"a": "sha256"})
