"""What the API says of how much there is: totals in bodies and headers, counts at an address of their own."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, say


@pytest.mark.parametrize(("count", "verdict"), [(20, "complete"), (25, "incomplete"), (15, "unproved")])
def test_a_count_endpoint_proves_completeness(shop: Shop, count: int, verdict: str) -> None:
    shop.api.pages("/orders", records=20, page_size=10, style="offset")
    shop.api.answer("/orders/count", say({"count": count}))

    extraction = shop.one(
        paginate={"offset": {"size": 10, "size_param": "limit", "until": "short"}},
        params={"kind": "x"},
        count={"path": "/orders/count"},
    ).extractions["orders"]

    assert extraction.verdict == verdict, extraction.evidence
    (asked,) = [asked for asked in shop.api.asked if asked.path == "/orders/count"]
    assert asked.params == {"kind": "x"}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        pytest.param(b"20", {}, id="bare"),
        pytest.param(b" 20\n", {}, id="bare-line"),
        pytest.param(b'"20"', {}, id="text"),
        pytest.param(b'{"count": "20"}', {}, id="text-in-a-field"),
        pytest.param(b'[{"count_id": "20"}]', {"value": "[0].count_id"}, id="in-a-list"),
    ],
)
def test_a_count_may_be_a_bare_number_or_a_text(shop: Shop, body: bytes, value: dict[str, str]) -> None:
    shop.api.pages("/orders", records=20, page_size=10, style="offset")
    shop.api.answer("/count", Answer(200, body, {"Content-Type": "text/plain"}))

    extraction = shop.one(paginate="offset", count={"path": "/count", **value}).extractions["orders"]

    assert (extraction.verdict, extraction.error) == ("complete", None), extraction.evidence


def test_each_parent_has_a_count_of_its_own(shop: Shop) -> None:
    """Two parents of two records each; the API counts three for the second."""
    shop.api.route_all(lambda asked: say(2 if asked.path == "/a/n" else 3 if asked.path == "/b/n" else [{"i": 1}, {}]))

    extraction = shop.extract(
        {
            "items": {
                "path": "/{shop}/items", "for_each": {"values": {"shop": ["a", "b"]}}, "paginate": "none",
                "count": {"path": "/{shop}/n"},
            }
        }
    ).extractions["items"]  # fmt: skip

    assert (extraction.verdict, extraction.error) == ("incomplete", None)
    assert "2 of 3 records at" in extraction.evidence


@pytest.mark.parametrize(
    ("paginate", "verdict"), [("none", "complete"), ({"page_number": {"until": "empty"}}, "unproved")]
)
@pytest.mark.parametrize("counted", [True, False], ids=["with-count", "without"])
def test_a_parent_that_is_gone_has_no_count_and_is_skipped(
    shop: Shop, paginate: Any, verdict: str, *, counted: bool
) -> None:
    """Of two parents the second is 404, and so is its count: the verdict is what it is without a `count`."""
    rows = [{"i": 1}, {"i": 2}]
    answers = {"/a/n": say({"count": 2}), "/a/items": say(rows)}
    gone = Answer(404, b"<p>gone</p>", {"Content-Type": "text/html"})
    shop.api.route_all(lambda asked: say([]) if asked.params.get("page", "1") > "1" else answers.get(asked.path, gone))

    outcome = shop.extract(
        {
            "items": {
                "path": "/{shop}/items", "for_each": {"values": {"shop": ["a", "b"]}}, "paginate": paginate,
                "errors": [{"status": 404, "do": "skip"}], **({"count": {"path": "/{shop}/n"}} if counted else {}),
            }
        }
    )  # fmt: skip

    extraction = outcome.extractions["items"]
    assert (extraction.verdict, extraction.error) == (verdict, None), extraction.evidence
    assert outcome.rows("items") == rows


@pytest.mark.parametrize(("told", "verdict"), [(20, "complete"), (21, "incomplete")])
def test_one_answer_that_should_hold_everything_is_compared_with_its_total(shop: Shop, told: int, verdict: str) -> None:
    """A cap of 20 that nobody spoke of."""
    shop.api.answer("/orders", say({"data": [{"id": number} for number in range(20)], "total": told}))

    extraction = shop.one(paginate={"none": {"total": "total"}}).extractions["orders"]

    assert (extraction.verdict, extraction.error) == (verdict, None), extraction.evidence


def test_a_count_that_tells_no_number_is_an_error(shop: Shop) -> None:
    shop.api.pages("/orders", records=20, page_size=10, style="offset")
    shop.api.answer("/count", say({"total": 20}))

    assert "no number at /count" in shop.one(paginate="offset", count={"path": "/count"}).error("orders").message


@pytest.mark.parametrize(
    ("paginate", "headers", "at_once"),
    [
        pytest.param({"offset": {"total_header": "X-Total-Count"}}, {"X-Total-Count": "35"}, 3, id="offset"),
        pytest.param(
            {"page_number": {"total_header": "Content-Range"}}, {"Content-Range": "items 0-9/35"}, 3,
            id="content-range",
        ),
        pytest.param(
            {"total_pages": {"from_header": "X-WP-TotalPages", "total_header": "X-WP-Total"}},
            {"X-WP-TotalPages": "4", "X-WP-Total": "35"}, 3, id="wordpress",
        ),
        pytest.param({"link_header": {"total_header": "x-total"}}, {"X-Total": "35"}, 1, id="link-header"),
    ],
)  # fmt: skip
def test_a_total_in_a_header_proves_completeness_and_names_all_pages(
    shop: Shop, paginate: dict[str, Any], headers: dict[str, str], at_once: int
) -> None:
    """Those after the first at once, where its header says how many there are; with links one after the other."""
    shop.settings = {"limits": {"in_flight": 4}}
    (kind,) = paginate
    style = "page_number" if kind == "total_pages" else kind
    shop.api.pages("/orders", records=35, page_size=10, style=style)
    whole = shop.api.routed("/orders")
    together = threading.Barrier(at_once)

    def page(asked: Asked) -> Answer:
        if shop.api.calls["/orders"] > 1:
            together.wait(10)
        answer = whole(asked)
        return Answer(200, answer.body, {**answer.headers, **headers})

    shop.api.route("/orders", page)

    outcome = shop.one(paginate=paginate)

    assert [row["id"] for row in outcome.rows("orders")] == list(range(35))
    assert outcome.extractions["orders"].verdict == "complete", outcome.extractions["orders"].evidence
    assert (shop.api.calls["/orders"], shop.api.most_running) == (4, at_once)


def serve(shop: Shop, kind: str, told: int) -> None:
    """35 records in pages of ten, of which the API tells another total."""
    shop.api.pages("/orders", records=35, page_size=10, style=kind)
    whole = shop.api.routed("/orders")
    shop.api.route("/orders", lambda asked: say({**json.loads(whole(asked).body), "total": told}))


@pytest.mark.parametrize("told", [-1, 0, 9], ids=["minus-one", "zero", "fewer-than-the-page"])
@pytest.mark.parametrize("kind", ["page_number", "offset"])
def test_a_total_that_cannot_be_ends_no_paging(shop: Shop, kind: str, told: int) -> None:
    """35 records in pages of ten, counted as -1, 0 or 9: such as Elasticsearch with `track_total_hits: false`."""
    serve(shop, kind, told)

    outcome = shop.one(paginate={kind: {"total": "total"}})

    extraction = outcome.extractions["orders"]
    assert [row["id"] for row in outcome.rows("orders")] == list(range(35))
    assert (extraction.verdict, extraction.error) == ("unproved", None)
    assert f"the API tells a total of {told}, but 10 records come" in extraction.evidence


@pytest.mark.parametrize("told", [2**31 - 1, 2**63 - 1])
@pytest.mark.parametrize("kind", ["page_number", "offset"])
def test_a_total_beyond_belief_is_no_list_of_requests(shop: Shop, kind: str, told: int) -> None:
    """As some servers say that they do not know: one page leads to the next, and 35 of so many are not all."""
    serve(shop, kind, told)

    outcome = shop.one(paginate={kind: {"total": "total"}})

    assert len(outcome.rows("orders")) == 35
    assert outcome.extractions["orders"].verdict == "incomplete"
    assert shop.api.calls["/orders"] <= 6


@pytest.mark.parametrize(("relation", "value", "verdict"), [("eq", 35, "complete"), ("gte", 20, "unproved")])
def test_a_count_that_stops_early_is_a_total_only_where_it_says_that_it_is_exact(
    shop: Shop, relation: str, value: int, verdict: str
) -> None:
    """35 records in pages of ten, as Elasticsearch counts them: see docs/how-to/post-search.md."""
    shop.api.pages("/orders", records=35, page_size=10, style="page_number")
    whole = shop.api.routed("/orders")
    told = {"total": {"value": value, "relation": relation}}
    shop.api.route("/orders", lambda asked: say({**json.loads(whole(asked).body), "hits": told}))

    outcome = shop.one(paginate={"page_number": {"total": "hits.total.relation == 'eq' && hits.total.value"}})

    assert [row["id"] for row in outcome.rows("orders")] == list(range(35))
    assert outcome.extractions["orders"].verdict == verdict


def test_one_answer_with_more_records_than_the_api_counts_is_unproved(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": [{"id": number} for number in range(20)], "total": 19}))

    extraction = shop.one(paginate={"none": {"total": "total"}}).extractions["orders"]

    assert (extraction.verdict, extraction.error) == ("unproved", None), extraction.evidence


@pytest.mark.parametrize("told", [-1, 0])
@pytest.mark.parametrize("place", ["body", "header"])
def test_a_number_of_pages_that_cannot_be_is_an_error(shop: Shop, told: int, place: str) -> None:
    """A full page 1 of no pages at all: nobody knows how many there are."""
    rows = [{"id": number} for number in range(10)]
    shop.api.answer("/orders", say({"data": rows, "pages": told}, headers={"X-Pages": str(told)}))
    paginate = {"total_pages": {"from": "pages"} if place == "body" else {"from_header": "X-Pages"}}

    error = shop.one(paginate=paginate).error("orders")

    assert error.kind == "DecodeError"
    assert "no number of pages" in error.message


def test_no_pages_of_no_records_are_complete(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": [], "pages": 0}))

    extraction = shop.one(paginate={"total_pages": "pages"}).extractions["orders"]

    assert (extraction.verdict, extraction.error) == ("complete", None), extraction.evidence


EMPTY, SKIPPED, NO_CONTENT = say({"data": [], "pages": 10}), Answer(404), Answer(204)


@pytest.mark.parametrize(
    ("empty", "nothing", "verdict", "evidence"),
    [
        pytest.param(range(5, 11), EMPTY, "incomplete", "page 5 of 10 has no records", id="from-page-5-on"),
        pytest.param([5], EMPTY, "incomplete", "page 5 of 10 has no records", id="page-5"),
        pytest.param([5], SKIPPED, "incomplete", "page 5 of 10 has no records", id="page-5-skipped"),
        pytest.param([5], NO_CONTENT, "incomplete", "page 5 of 10 has no records", id="page-5-no-content"),
        pytest.param([1], EMPTY, "incomplete", "page 1 of 10 has no records", id="page-1"),
        pytest.param([10], EMPTY, "complete", "all 10 pages", id="the-last"),
        pytest.param([10], SKIPPED, "complete", "all 10 pages", id="the-last-skipped"),
    ],
)
def test_an_empty_page_among_those_that_the_api_tells_is_incomplete(
    shop: Shop, empty: Sequence[int], nothing: Answer, verdict: str, evidence: str
) -> None:
    def page(asked: Asked) -> Answer:
        number = int(asked.params["page"])
        return nothing if number in empty else say({"data": [{"id": number}], "pages": 10})

    shop.api.route("/orders", page)

    extraction = shop.one(paginate={"total_pages": "pages"}, errors=[{"status": 404, "do": "skip"}]).extractions

    assert (extraction["orders"].verdict, extraction["orders"].error) == (verdict, None)
    assert evidence in extraction["orders"].evidence


@pytest.mark.parametrize(
    ("later", "verdict", "evidence"),
    [
        pytest.param(3, "incomplete", "the number of pages fell from 4 to 3 while it was read", id="fell"),
        pytest.param(5, "unproved", "the number of pages grew from 4 to 5 while it was read", id="grew"),
    ],
)
def test_g07_g08_a_number_of_pages_that_changes_while_paging_is_told(
    shop: Shop, later: int, verdict: str, evidence: str
) -> None:
    """Of 31 records one is gone before page 3 is asked for, or ten have come: rows may have moved between pages."""

    def page(asked: Asked) -> Answer:
        number = int(asked.params["page"])
        return say({"data": [{"id": number}], "pages": later if number > 2 else 4})

    shop.api.route("/orders", page)

    extraction = shop.one(paginate={"total_pages": "pages"}).extractions["orders"]

    assert (extraction.verdict, extraction.error) == (verdict, None)
    assert evidence in extraction.evidence


def test_a_run_that_resumes_still_knows_the_total_of_a_header(shop: Shop) -> None:
    shop.api.pages("/orders", records=35, page_size=10, style="link_header")
    whole = shop.api.routed("/orders")
    shop.api.route("/orders", lambda asked: replace(whole(asked), headers={**whole(asked).headers, "X-Total": "36"}))
    shop.one(paginate={"link_header": {"total_header": "X-Total"}})

    again = shop.one(paginate={"link_header": {"total_header": "X-Total"}}).extractions["orders"]

    assert (again.requests, again.verdict) == (0, "incomplete")
    assert "35 of 36 records" in again.evidence
