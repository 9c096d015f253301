"""Tests of what `marts.yaml` may say and of when a mart is made again."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.marts.model import Mart, Marts, inputs_fingerprint
from pipelines.marts.units import resolve

RATES = {"rates": "frankfurter.rates"}
HEADS = {"usgs": "4 r4", "worldbank": "1 r1", "frankfurter": "9 r9", "openmeteo": "2 r2", "nager": "1 r1"}


def made_from(*names: str) -> dict[str, Any]:
    return {"inputs": {f"from_{name}": f"marts.{name}" for name in names} or RATES, "sql": "country_day.sql"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param({"inputs": RATES}, "either `function` or `sql`", id="nothing-makes-it"),
        pytest.param({"inputs": RATES, "function": "a:b", "sql": "a.sql"}, "either `function` or `sql`", id="two"),
        pytest.param({"inputs": RATES, "sql": "a.sql", "split_by": "rates"}, "sees all rows", id="split-query"),
        pytest.param({"inputs": RATES, "function": "a:b", "split_by": "rate"}, "known: rates", id="split-unknown"),
        pytest.param({"inputs": {}, "function": "a:b"}, "at least 1", id="no-inputs"),
        pytest.param({"inputs": RATES, "function": "os.path:join"}, "pattern", id="module-elsewhere"),
        pytest.param({"inputs": RATES, "sql": "../a.sql"}, "pattern", id="query-elsewhere"),
        pytest.param({"inputs": {"a b": "x.y"}, "function": "a:b"}, "pattern", id="argument-name"),
        pytest.param({"inputs": RATES, "function": "a:b", "splitby": "rates"}, "not permitted", id="unknown-key"),
    ],
)
def test_a_mart_that_cannot_be_made_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Mart.model_validate(wrong)


def test_marts_come_after_those_they_are_made_from() -> None:
    marts = Marts.model_validate({"marts": {"c": made_from("b", "a"), "b": made_from("a"), "a": made_from()}})

    assert marts.in_order() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param({"a": made_from("b"), "b": made_from("a")}, "made from each other", id="ring"),
        pytest.param({"a": made_from("a")}, "made from each other", id="itself"),
        pytest.param({"a": made_from("gone")}, "no mart gone", id="unknown-mart"),
        pytest.param({"../a": made_from()}, "needs a name", id="name"),
    ],
)
def test_marts_that_never_can_be_made_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Marts.model_validate({"marts": wrong})


def test_the_bundled_marts_name_functions_that_exist(marts: Marts) -> None:
    functions = [mart.function for mart in marts.marts.values() if mart.function]

    assert [callable(resolve(function)) for function in functions] == [True, True]


def test_a_mart_is_made_again_only_when_an_input_moves(marts: Marts) -> None:
    before = marts.fingerprints(HEADS)

    after = marts.fingerprints({**HEADS, "usgs": "5 r5"})

    assert marts.fingerprints(dict(HEADS)) == before
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"quake_exposure", "country_day"}


def test_a_commit_of_the_marts_themselves_changes_no_fingerprint(marts: Marts) -> None:
    assert marts.fingerprints({**HEADS, "marts": "1 r1"}) == marts.fingerprints({**HEADS, "marts": "2 r2"})


def test_another_way_of_making_a_mart_changes_its_fingerprint_but_a_description_does_not() -> None:
    mart = Mart(inputs=RATES, function="a:b")

    again = [mart.model_copy(update=change) for change in ({"function": "a:c"}, {"description": "Rates."})]

    same = [inputs_fingerprint(other, HEADS, "code") == inputs_fingerprint(mart, HEADS, "code") for other in again]
    assert same == [False, True]


def test_an_input_without_a_commit_differs_from_one_with_a_commit() -> None:
    mart = Mart(inputs=RATES, function="a:b")

    assert inputs_fingerprint(mart, {}, "code") != inputs_fingerprint(mart, {"frankfurter": "1 r1"}, "code")
