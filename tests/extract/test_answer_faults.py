"""Answers that arrive whole and are still wrong: loops, errors in disguise, missing records."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from pipelines.records import Records
from pipelines.transform.mask import mask
from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, say

ROWS = [{"id": 1}, {"id": 2}]


def test_g01_a_next_link_to_itself_is_a_loop(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": ROWS, "next": f"{shop.api.url}/orders?page=2"}))
    shop.api.route("/orders", lambda asked: say({"data": [{"id": len(asked.params)}], "next": "/orders?page=2"}))

    error = shop.one(paginate="next_url").error("orders")

    assert (error.kind, shop.api.calls["/orders"]) == ("PaginationLoop", 2)


def test_g02_a_constant_token_is_a_loop(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": ROWS, "token": "same"}))

    error = shop.one(paginate={"cursor": {"from": "token", "param": "after"}}).error("orders")

    assert error.kind == "PaginationLoop"
    assert shop.api.calls["/orders"] <= 3


def test_g03_two_links_that_name_each_other_are_a_loop(shop: Shop) -> None:
    def route(asked: Asked) -> Answer:
        here = asked.params.get("page", "a")
        return say({"data": [{"id": len(shop.api.asked)}], "next": f"/orders?page={'b' if here == 'a' else 'a'}"})

    shop.api.route("/orders", route)

    error = shop.one(paginate="next_url").error("orders")

    assert error.kind == "PaginationLoop"
    assert shop.api.calls["/orders"] <= 4


def test_g04_new_tokens_over_the_same_rows_are_a_loop(shop: Shop) -> None:
    shop.api.route("/orders", lambda asked: say({"data": ROWS, "token": f"t{len(shop.api.asked)}"}))

    error = shop.one(paginate={"cursor": {"from": "token", "param": "after"}}).error("orders")

    assert (error.kind, shop.api.calls["/orders"]) == ("PaginationLoop", 2)


def test_g04_empty_pages_that_always_name_another_are_a_loop(shop: Shop) -> None:
    shop.api.route("/orders", lambda asked: say({"data": [], "token": f"t{len(shop.api.asked)}"}))

    error = shop.one(paginate={"cursor": {"from": "token", "param": "after"}}).error("orders")

    assert (error.kind, shop.api.calls["/orders"]) == ("PaginationLoop", 1_001)
    assert "1,000 pages in a row are empty" in error.message


def test_g04_an_api_that_ignores_the_page_number_is_a_loop(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": ROWS}))

    assert shop.one(paginate="page_number").error("orders").kind == "PaginationLoop"


def test_g05_an_empty_page_in_the_middle_does_not_end_paging(shop: Shop) -> None:
    parts = [ROWS, [], [{"id": 3}]]
    shop.api.route(
        "/orders",
        lambda asked: say(
            {
                "data": parts[int(asked.params.get("p", 0))],
                "next": [f"/orders?p={n}" for n in (1, 2)][int(asked.params.get("p", 0))],
            }
            if asked.params.get("p") != "2"
            else {"data": parts[2], "next": None}
        ),
    )

    outcome = shop.one(paginate="next_url")

    assert [row["id"] for row in outcome.rows("orders")] == [1, 2, 3]


@pytest.mark.parametrize(("records", "calls"), [(20, 3), (25, 4), (0, 1)], ids=["full", "short", "empty"])
def test_g06_the_last_page_may_be_full_short_or_empty(shop: Shop, records: int, calls: int) -> None:
    shop.api.pages("/orders", records=records, page_size=10, style="page_number")

    outcome = shop.one(paginate="page_number")

    assert (len(outcome.rows("orders")), shop.api.calls["/orders"]) == (records, calls)


def test_g08_a_total_that_the_pages_do_not_reach_is_incomplete(shop: Shop) -> None:
    """A row deleted while paging by offset moves another one past the reader."""
    rows = [{"id": number} for number in range(30)]

    def route(asked: Asked) -> Answer:
        start = int(asked.params["offset"])
        answer = say({"data": rows[start : start + 10], "total": 30})
        if start == 0:
            del rows[0]
        return answer

    shop.api.route("/orders", route)
    extraction = shop.one(paginate={"offset": {"total": "total"}}).extractions["orders"]

    assert extraction.verdict == "incomplete"
    assert "29 of 30 records" in extraction.evidence


@pytest.mark.parametrize(
    ("rules", "kind"),
    [([{"when": "error", "do": "fail"}], "ApiError"), ([], "RecordsMissing")],
    ids=["by-rule", "without-rule"],
)
def test_g09_an_error_body_under_200_is_an_error(shop: Shop, rules: list[Any], kind: str) -> None:
    shop.api.answer("/orders", say({"error": "quota exceeded"}))

    error = shop.one(errors=rules).error("orders")

    assert error.kind == kind
    assert "quota exceeded" in error.message


def test_a_rule_whose_function_meets_something_else_does_not_apply(shop: Shop) -> None:
    """`contains` takes text; where all is well there is no `error`."""
    shop.api.answer("/orders", say({"error": "over quota"}), say({"data": ROWS}))

    outcome = shop.one(errors=[{"when": "contains(error, 'quota')", "do": "retry"}])

    assert (outcome.rows("orders"), shop.api.calls["/orders"]) == (ROWS, 2)


def test_g09_an_error_body_may_be_worth_another_attempt(shop: Shop) -> None:
    shop.api.answer("/orders", say({"error": {"code": "QUOTA"}}), say({"data": ROWS}))

    outcome = shop.one(errors=[{"status": 200, "when": "error.code == 'QUOTA'", "do": "retry"}])

    assert len(outcome.rows("orders")) == 2


def test_g10_a_login_page_is_a_decode_error_that_names_it(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(200, b"<!doctype html><p>Log in", {"Content-Type": "text/html; charset=utf-8"}))

    error = shop.one().error("orders")

    assert (error.kind, shop.api.calls["/orders"]) == ("DecodeError", 1)
    assert "text/html" in error.message


@pytest.mark.parametrize(
    ("answer", "records", "expected"),
    [
        pytest.param({"rows": []}, "data", "RecordsMissing", id="missing"),
        pytest.param({"data": None}, "data", "RecordsMissing", id="null"),
        pytest.param({"data": None}, {"rows": "data", "null": "empty"}, 0, id="null-allowed"),
        pytest.param({"data": "none"}, "data", "RecordsMissing", id="string"),
        pytest.param({"data": {"id": 1}}, "data", "RecordsMissing", id="object"),
        pytest.param({"data": {"id": 1}}, {"rows": "data", "single": True}, 1, id="object-allowed"),
        pytest.param({"data": []}, "data", 0, id="empty"),
    ],
)
def test_g11_missing_records_are_not_no_records(shop: Shop, answer: Any, records: Any, expected: str | int) -> None:
    shop.api.answer("/orders", say(answer))

    outcome = shop.one(records=records)

    if isinstance(expected, str):
        assert outcome.error("orders").kind == expected
    else:
        assert outcome.extractions["orders"].error is None
        assert len(outcome.pages["orders"]) == expected


@pytest.mark.parametrize(("status", "kind"), [(204, None), (206, "HttpError"), (299, "HttpError"), (304, "HttpError")])
def test_g12_only_an_empty_success_is_an_empty_page(shop: Shop, status: int, kind: str | None) -> None:
    shop.api.answer("/orders", Answer(status, b"" if status in (204, 304) else b'{"data": []}'))

    error = shop.one().extractions["orders"].error

    assert (error.kind if error else None) == kind


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "plain"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"id,name\n1,x\n2", "RecordsMissing"), (b"id,name\n1,x,y\n", "RecordsMissing"), (b"id,id\n1,2\n", "DecodeError")],
    ids=["cut", "long", "a-name-twice"],
)
def test_damaged_csv_is_an_error_with_a_mask_and_without(shop: Shop, body: bytes, kind: str, *, masked: bool) -> None:
    shop.api.answer("/orders", Answer(200, body, {"Content-Type": "text/csv"}))
    shop.masks = {"orders": partial(mask, layout="csv", records=Records(), rules={"name": "drop"})} if masked else {}

    error = shop.one(format="csv", records="@", paginate="none").error("orders")

    assert error.kind == kind
    assert "/orders: " in error.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param('{"data": [{"a": "ü"}]}'.encode("latin-1"), "DecodeError", id="latin-1"),
        pytest.param(b'\xef\xbb\xbf{"data": [{"a": 1}]}', None, id="byte-order-mark"),
        pytest.param(b'{"data": [{"a": "\\u0000"}]}', None, id="nul"),
        pytest.param(b'{"data": [{"a": 1}', "DecodeError", id="cut"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, "DecodeError", id="deep"),
        pytest.param(b'{"data": [{"a": 1}]} trailing', "DecodeError", id="trailing"),
        pytest.param(b"plain text", "DecodeError", id="text"),
    ],
)
def test_g13_g16_bytes_that_are_not_json_are_a_decode_error(shop: Shop, body: bytes, kind: str | None) -> None:
    shop.api.answer("/orders", Answer(200, body))

    error = shop.one().extractions["orders"].error

    assert (error.kind if error else None) == kind


def test_more_pages_than_allowed_are_an_error(shop: Shop) -> None:
    shop.api.pages("/orders", records=50, page_size=10)

    error = shop.one(paginate="next_url", max_pages=3).error("orders")

    assert (error.kind, shop.api.calls["/orders"]) == ("PaginationLoop", 3)


@pytest.mark.parametrize(("action", "requests", "kind"), [("retry", 3, "ApiError"), ("fail", 1, "ApiError")])
def test_a_rule_may_look_at_a_header(shop: Shop, action: str, requests: int, kind: str) -> None:
    """The body looks like any other; the header says that it is stale."""
    shop.api.answer("/orders", say({"data": [{"id": 1}]}, headers={"X-Cache-State": "Stale; age=9"}))

    error = shop.one(errors=[{"header": {"x-cache-state": "stale"}, "do": action}]).error("orders")

    assert (error.kind, shop.api.calls["/orders"]) == (kind, requests)
    assert "by the rule 'header x-cache-state'" in error.message


def test_a_rule_on_a_header_leaves_other_answers_alone(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": [{"id": 1}]}, headers={"X-Cache-State": "fresh"}))

    outcome = shop.one(errors=[{"header": {"X-Cache-State": "stale"}, "do": "fail"}])

    assert outcome.rows("orders") == [{"id": 1}]
