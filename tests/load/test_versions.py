"""Versions that are texts win by what they mean, in upserts and in histories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.load.target import Target
from pipelines.load.versions import ordered
from tests.load.test_merge import Shop

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=6)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=ZONES)  # noqa: DTZ001
FORMS = {
    "numbers": [
        "-10",
        "-9.5",
        "-9",
        "-0.25",
        "-0",
        "0.5",
        "9",
        "9.5",
        "10",
        "1e+2",
        "1000.001",
        "10000000000000000000000",
    ],
    "fractions": ["2024-05-01T12:00:00Z", "2024-05-01T12:00:00.5Z", "2024-05-01T12:00:00.51Z", "2024-05-01T12:00:01Z"],
    "offsets": ["2024-05-01T12:30:00+02:00", "2024-05-01T10:40:00Z", "2024-05-01 10:50:00", "2024-05-01T07:00:00-0400"],
    "days": ["2023-12-31", "2024-01-01", "2024-01-01T00:00:01", "2024-01-02"],
    "letters": ["", "2024-13-01", "a", "ab", "b"],
    "kinds": ["a12", "-3", "12", "2024-01-01"],
    "none": ["", "-", "0000-00-00 00:00:00", "0", "1970-01-01T00:00:00Z"],
    "last": ["9999-12-31T23:59:58Z", "9999-12-31T23:59:59-05:00"],
    "foreign": ["2024-05-01T12:00:00+\u0660\u0662:\u0660\u0660", "2024-05-01T12:00:00+02:00"],
}


def code(text: str) -> str:
    return str(ordered(pl.Series([text]))[0])


@given(NUMBERS, NUMBERS, st.booleans())
def test_numbers_in_text_are_compared_by_their_value(one: Decimal, other: Decimal, is_short: bool) -> None:
    texts = [f"{number.normalize():f}" if is_short else f"{number:f}" for number in (one, other)]

    assert (code(texts[0]) < code(texts[1]), code(texts[0]) == code(f"{other:f}")) == (one < other, one == other)


@given(TIMES, TIMES)
def test_times_in_text_are_compared_as_instants(one: datetime, other: datetime) -> None:
    """Each in its own zone, and with as many digits behind the second as it needs."""
    there = other.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%fZ")

    assert (code(one.isoformat()) < code(there), code(other.isoformat()) == code(there)) == (one < other, True)


@pytest.mark.parametrize("texts", FORMS.values(), ids=FORMS.keys())
def test_texts_of_all_forms_are_in_the_order_that_they_mean(texts: list[str]) -> None:
    codes = ordered(pl.Series([None, *texts])).to_list()

    assert codes[0] is None
    assert all(one < other for one, other in pairwise(codes[1:]))


def test_what_is_no_text_is_compared_as_it_is() -> None:
    assert ordered(pl.Series([2, 10])).to_list() == [2, 10]


def row(version: Any, name: str) -> pa.Table:
    return pa.table({"id": [1], "version": [version], "name": [name]})


@pytest.mark.parametrize("texts", [FORMS["numbers"], FORMS["fractions"], FORMS["offsets"]], ids=str)
@pytest.mark.parametrize("partition_by", [(), ("name",)])
def test_of_two_reads_the_greater_version_wins_whichever_came_first(
    tmp_path: Path, texts: list[str], partition_by: tuple[str, ...]
) -> None:
    """In two runs, and in one."""
    target = Target(write="upsert", key=("id",), version="version", partition_by=partition_by)
    pairs = [*pairwise(texts), *((later, earlier) for earlier, later in pairwise(texts))]
    for number, (first, second) in enumerate(pairs):
        winner = max(first, second, key=texts.index)
        for runs in ([[row(first, first), row(second, second)]], [[row(first, first)], [row(second, second)]]):
            shop = Shop(tmp_path / f"{number}-{len(runs)}")
            for tables in runs:
                shop.load(target, *tables)
            assert [one["name"] for one in shop.rows] == [winner]


def test_a_version_that_became_text_goes_on_by_its_value(tmp_path: Path) -> None:
    shop, target = Shop(tmp_path), Target(write="upsert", key=("id",), version="version")

    for version in ("v2", 9, "10", 11):
        shop.load(target, row(version, str(version)))
        assert [one["name"] for one in shop.rows] == [str(version)]
    shop.load(target, row("v3", "v3"))

    assert [one["name"] for one in shop.rows] == ["11"]
    assert shop.lake.verify().defects == ()


@pytest.mark.parametrize("texts", [FORMS["numbers"][2:6], FORMS["fractions"], FORMS["offsets"]], ids=str)
def test_versions_of_a_history_follow_each_other_in_any_order_of_reading(tmp_path: Path, texts: list[str]) -> None:
    """Each holds until the next begins, as it was written; the last one is current."""
    target = Target(write="history", key=("id",), version="version")
    expected = [(text, text, until) for text, until in pairwise([*texts, None])]
    for number, reads in enumerate(permutations(texts)):
        shop = Shop(tmp_path / str(number))
        for text in reads:
            shop.load(target, row(text, text))
        shop.load(target, row(texts[0], texts[0]))

        found = {(one["name"], one["valid_from"], one["valid_to"]) for one in shop.rows}
        assert found == set(expected)
        assert [one["name"] for one in shop.rows if one["is_current"]] == [texts[-1]]
        assert shop.lake.verify().defects == ()


def test_a_version_of_a_history_begins_in_its_own_words(tmp_path: Path) -> None:
    """Though another key of the same run has that instant, or that number, in other words."""
    shop, target = Shop(tmp_path), Target(write="history", key=("id",), version="version")
    texts = ["2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00Z", "007", "7"]

    shop.load(target, pa.table({"id": [1, 2, 3, 4], "version": texts, "name": ["a", "b", "c", "d"]}))

    assert [(one["id"], one["valid_from"]) for one in shop.rows] == list(enumerate(texts, 1))


def test_one_instant_written_otherwise_is_the_same_version(tmp_path: Path) -> None:
    shop, target = Shop(tmp_path), Target(write="history", key=("id",), version="version")

    for text in ("2024-05-01T12:00:00Z", "2024-05-01T14:00:00.000+02:00"):
        shop.load(target, row(text, "same"))

    assert [(one["version"], one["is_current"]) for one in shop.rows] == [("2024-05-01T14:00:00.000+02:00", True)]
    assert shop.lake.verify().defects == ()
