"""What moves, shrinks, or is cut off while it is being read is noticed, never passed over in silence."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from pipelines.extract.limits import Budget, Limits
from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, say

Rows = list[dict[str, Any]]


def rows(count: int) -> Rows:
    return [{"id": number} for number in range(count)]


def serve(shop: Shop, held: Rows, changes: dict[int, Any], *, total: bool, cap: int = 10) -> None:
    """Pages of *held* by offset and limit; before the request of that number a change happens to it."""

    def page(asked: Asked) -> Answer:
        changes.pop(len(shop.api.asked), lambda: None)()
        number = int(asked.params.get("page", 1)) - 1
        size = min(int(asked.params.get("limit", cap)), cap)
        start = int(asked.params.get("offset", number * size))
        return say({"data": held[start : start + size], **({"total": len(held)} if total else {})})

    shop.api.route("/orders", page)


INSERTED = {"id": 99}
KINDS = [
    pytest.param({"offset": {"overlap": 1}}, [], id="overlap-without-key"),
    pytest.param({"offset": {}}, ["id"], id="key"),
    pytest.param({"offset": {}}, [], id="neither"),
    pytest.param("page_number", ["id"], id="page-number"),
]


@pytest.mark.parametrize("paginate", ["page_number", {"offset": {}}, {"offset": {"overlap": 0}}], ids=str)
@pytest.mark.parametrize("different", [3, 7, 35])
def test_equal_records_without_a_key_are_no_sign_that_rows_moved(shop: Shop, paginate: Any, different: int) -> None:
    """35 readings of so many values, of which nothing changes: none is left out, and nothing is said of them."""
    held = [{"v": number % different} for number in range(35)]
    serve(shop, held, {}, total=False)

    outcome = shop.one(paginate=paginate)

    assert outcome.rows("orders") == held
    assert "rows came or went" not in outcome.extractions["orders"].evidence


def gone(shop: Shop, held: Rows) -> None:
    """Let a page beyond the end of *held* be no page, as some APIs have it."""
    pages = shop.api.routed("/orders")

    def page(asked: Asked) -> Answer:
        answer = pages(asked)
        return answer if b'"data": [{' in answer.body else say({}, 404)

    shop.api.route("/orders", page)


@pytest.mark.parametrize(("paginate", "at"), [({"offset": {}}, 3), ({"page_number": {"reread": True}}, 4)], ids=str)
def test_g08_a_row_that_moved_is_found_though_the_page_behind_the_end_is_skipped(
    shop: Shop, paginate: Any, at: int
) -> None:
    """20 rows; one or two in front go while the last page is awaited, which then is a 404."""
    held = rows(20)
    serve(shop, held, {at: lambda: held.__delitem__(slice(0, 2))}, total=False)
    gone(shop, held)
    shop.keys = {"orders": ["id"]}

    outcome = shop.one(paginate=paginate, errors=[{"status": 404, "do": "skip"}])

    assert [row["id"] for row in outcome.rows("orders")] == list(range(20))


def test_g08_reread_finds_a_row_that_moved_though_the_number_of_pages_stays(shop: Shop) -> None:
    held = rows(35)
    serve(shop, held, {3: lambda: held.pop(0)}, total=False)
    pages = shop.api.routed("/orders")
    shop.api.route("/orders", lambda asked: say({**json.loads(pages(asked).body), "pages": -(-len(held) // 10)}))

    outcome = shop.one(paginate={"total_pages": {"from": "pages", "reread": True}})

    assert sorted(row["id"] for row in outcome.rows("orders")) == list(range(35))
    assert outcome.extractions["orders"].verdict != "complete"


@pytest.mark.parametrize(
    ("blank", "ids", "verdict"), [(None, 35, "complete"), ("2", 25, "incomplete"), ("4", 30, "complete")]
)
def test_reread_proves_a_number_of_pages_and_goes_on_behind_one_without_content(
    shop: Shop, blank: str | None, ids: int, verdict: str
) -> None:
    """Four pages of which nothing changes; one of them may be none, which is no sign that it is the last."""
    serve(shop, rows(35), {}, total=False)
    pages = shop.api.routed("/orders")

    def page(asked: Asked) -> Answer:
        if asked.params.get("page") == blank:
            return say({}, 404)
        answer = pages(asked)
        return replace(answer, headers={**answer.headers, "X-Pages": "4"})

    shop.api.route("/orders", page)
    paginate = {"total_pages": {"from_header": "X-Pages", "reread": True}}

    outcome = shop.one(paginate=paginate, errors=[{"status": 404, "do": "skip"}])

    assert len({row["id"] for row in outcome.rows("orders")}) == ids
    assert outcome.extractions["orders"].verdict == verdict


def test_a_walk_by_offset_ends_where_the_api_answers_no_deeper_one(shop: Shop) -> None:
    """Beyond 40 rows it says 400, which a rule skips: no row moved, and nothing says so."""
    serve(shop, rows(95), {}, total=False)
    pages = shop.api.routed("/orders")
    shop.api.route("/orders", lambda asked: pages(asked) if int(asked.params["offset"]) <= 30 else say({}, 400))
    shop.keys = {"orders": ["id"]}

    outcome = shop.one(paginate={"offset": {}}, errors=[{"status": 400, "do": "skip"}])

    assert [row["id"] for row in outcome.rows("orders")] == list(range(40))
    assert outcome.extractions["orders"].verdict == "unproved"
    assert "rows came or went" not in outcome.extractions["orders"].evidence
    assert len(shop.api.asked) < 15


@pytest.mark.parametrize(("paginate", "key"), KINDS)
@pytest.mark.parametrize("many", [1, 3], ids=["one", "three"])
def test_g07_rows_inserted_in_front_while_paging_cost_no_row_and_repeat_none(
    shop: Shop, paginate: Any, key: list[str], many: int
) -> None:
    """Pages two and three share their boundary rows: they are taken once, without a key, too."""
    held = rows(35)
    serve(shop, held, {3: lambda: held.__setitem__(slice(0, 0), [INSERTED] * many)}, total=False)
    shop.keys = {"orders": key}

    outcome = shop.one(paginate=paginate)

    assert [row["id"] for row in outcome.rows("orders")] == list(range(35))
    assert outcome.extractions["orders"].verdict == "unproved"
    assert "rows came or went while page 3 was awaited" in outcome.extractions["orders"].evidence


@pytest.mark.parametrize(
    ("change", "verdict", "evidence"),
    [
        pytest.param(lambda held: held.insert(0, {"id": 99}), "unproved", "the total grew from 35 to 36", id="g07"),
        pytest.param(lambda held: held.pop(0), "incomplete", "the total fell from 35 to 34", id="g08"),
    ],
)
def test_g07_g08_a_total_that_changes_while_paging_is_told(
    shop: Shop, change: Any, verdict: str, evidence: str
) -> None:
    held = rows(35)
    serve(shop, held, {3: lambda: change(held)}, total=True)
    shop.settings = {"limits": {"in_flight": 1}}

    extraction = shop.one(paginate={"offset": {"total": "total"}}).extractions["orders"]

    assert (extraction.verdict, extraction.error) == (verdict, None)
    assert evidence in extraction.evidence


def test_g07_a_page_that_does_not_reach_what_was_read_moves_the_place_nowhere(shop: Shop) -> None:
    """Ten rows come in before row 7: page 2 ends with row 8, page 3 begins with 8 and 9 before anything new."""
    held = rows(35)
    serve(shop, held, {2: lambda: held.__setitem__(slice(7, 7), rows(1010)[1000:])}, total=False)

    outcome = shop.one(paginate={"offset": {"overlap": 1}})

    found = [row["id"] for row in outcome.rows("orders")]
    assert [one for one in found if one < 1000] == list(range(35))
    assert len(found) == len(set(found))


@pytest.mark.parametrize(("paginate", "key"), KINDS[:2])
@pytest.mark.parametrize("many", [1, 7, 18], ids=["one", "seven", "eighteen"])
@pytest.mark.parametrize("at", [3, 4, 5], ids=["page-3", "page-4", "the-last"])
def test_g08_a_row_that_moved_into_a_page_already_read_is_found_by_going_back(
    shop: Shop, paginate: Any, key: list[str], many: int, at: int
) -> None:
    """Rows before page *at* go while it is awaited: no row that is still there is missing, none comes twice."""
    held = rows(45)
    serve(shop, held, {at: lambda: held.__delitem__(slice(0, many))}, total=False)
    shop.keys = {"orders": key}

    outcome = shop.one(paginate=paginate)

    assert [row["id"] for row in outcome.rows("orders")] == list(range(45))
    assert f"rows came or went while page {at} was awaited" in outcome.extractions["orders"].evidence
    assert len(shop.api.asked) <= 11


@pytest.mark.parametrize("many", [1, 7], ids=["one", "seven"])
@pytest.mark.parametrize("at", [3, 5, 7, 10], ids=lambda at: f"before-request-{at}")
def test_g08_a_page_that_is_read_again_holds_the_row_that_moved_into_it(shop: Shop, many: int, at: int) -> None:
    """Pages by number cannot overlap: with `reread` each is asked for again once the next has come."""
    held = rows(45)
    serve(shop, held, {at: lambda: held.__delitem__(slice(0, many))}, total=False)

    outcome = shop.one(paginate={"page_number": {"reread": True}})

    assert sorted(row["id"] for row in outcome.rows("orders")) == list(range(45))
    assert len(shop.api.asked) <= 12
    # at the end page 5 only got shorter: nothing moved out of sight
    is_told = "each page was joined to the one before it" in outcome.extractions["orders"].evidence
    assert is_told or at == 10


def test_pages_that_are_read_again_and_did_not_change_are_stored_once(shop: Shop) -> None:
    serve(shop, rows(45), {}, total=False)

    outcome = shop.one(paginate={"page_number": {"reread": True}})
    resumed = shop.one(paginate={"page_number": {"reread": True}}).extractions["orders"]

    assert [row["id"] for row in outcome.rows("orders")] == list(range(45))
    assert "rows came or went" not in outcome.extractions["orders"].evidence
    assert (len(shop.api.asked), resumed.requests) == (11, 0)


def test_g08_rows_of_a_whole_page_that_went_away_are_drift_when_it_is_read_again(shop: Shop) -> None:
    held = rows(45)
    serve(shop, held, {4: held.clear}, total=False)

    error = shop.one(paginate={"page_number": {"reread": True}}).error("orders")

    assert error.kind == "Drift"


def test_g08_the_last_row_read_may_itself_be_gone(shop: Shop) -> None:
    """Row 9, with which page 1 ended, is deleted: page 2 is joined to row 8."""
    held = rows(35)
    serve(shop, held, {2: lambda: held.pop(9)}, total=False)
    shop.keys = {"orders": ["id"]}

    outcome = shop.one(paginate="offset")

    assert [row["id"] for row in outcome.rows("orders")] == list(range(35))


def test_g08_rows_that_all_went_away_while_paging_are_drift(shop: Shop) -> None:
    held = rows(35)
    serve(shop, held, {3: held.clear}, total=False)
    shop.keys = {"orders": ["id"]}

    error = shop.one(paginate="offset").error("orders")

    assert error.kind == "Drift"
    assert "rows went away while they were read" in error.message


def test_g08_without_key_or_total_the_evidence_says_that_a_row_may_have_been_passed_by(shop: Shop) -> None:
    serve(shop, rows(35), {}, total=False)

    evidence = shop.one(paginate="offset").extractions["orders"].evidence

    assert "nothing tells whether a row moved" in evidence


def test_g08_a_run_that_resumes_finds_the_same_place_again_without_a_request(shop: Shop) -> None:
    held = rows(35)
    serve(shop, held, {3: lambda: held.pop(0)}, total=False)
    shop.keys = {"orders": ["id"]}
    shop.one(paginate="offset")
    before = len(shop.api.asked)

    again = shop.one(paginate="offset")

    assert len(shop.api.asked) == before
    assert [row["id"] for row in again.rows("orders")] == list(range(35))


def test_masked_pages_are_joined_as_they_are_kept_when_a_run_resumes(shop: Shop) -> None:
    """Page 2 comes from the spool, masked, page 3 from the API: its first record is known all the same."""
    held = [{"id": number, "email": f"{number}@b.example"} for number in range(35)]
    serve(shop, held, {}, total=False)
    whole = shop.api.routed("/orders")
    shop.api.route("/orders", lambda asked: Answer(400) if asked.params["offset"] == "18" else whole(asked))
    shop.masks = {"orders": lambda body: body.replace(b"@b.example", b"@***")}
    paginate = {"offset": {"overlap": 1}}
    assert shop.one(paginate=paginate).error("orders").kind == "HttpError"
    shop.api.route("/orders", whole)

    again = shop.one(paginate=paginate)

    assert [row["id"] for row in again.rows("orders")] == list(range(35))
    assert "rows came or went" not in again.extractions["orders"].evidence


def test_a_record_whose_other_fields_change_with_each_answer_is_known_by_its_key(shop: Shop) -> None:
    """Each answer says when it was given: nothing repeats as a whole, and no row is stored twice."""
    served = iter(range(1000))

    def page(asked: Asked) -> Answer:
        start = int(asked.params["offset"])
        return say({"data": [{"id": number, "seen": next(served)} for number in range(start, min(start + 10, 35))]})

    shop.api.route("/orders", page)
    shop.keys = {"orders": ["id"]}

    outcome = shop.one(paginate="offset")

    assert [row["id"] for row in outcome.rows("orders")] == list(range(35))


def test_pages_of_one_row_do_not_overlap(shop: Shop) -> None:
    serve(shop, rows(5), {}, total=False, cap=1)
    shop.keys = {"orders": ["id"]}

    outcome = shop.one(paginate="offset")

    assert [row["id"] for row in outcome.rows("orders")] == list(range(5))


def test_pages_that_overlap_end_and_hold_every_row(shop: Shop) -> None:
    serve(shop, rows(35), {}, total=False)

    outcome = shop.one(paginate={"offset": {"overlap": 1}})

    assert {row["id"] for row in outcome.rows("orders")} == set(range(35))
    assert [asked.params["offset"] for asked in shop.api.asked] == ["0", "9", "18", "27", "34"]


@pytest.mark.parametrize("cap", [50, 20])
def test_a_page_size_that_the_server_caps_loses_nothing_though_a_short_page_ends_paging(shop: Shop, cap: int) -> None:
    """100 are asked for, 50 or 20 come: a round number is taken for a cap, not for the end."""
    serve(shop, rows(107), {}, total=False, cap=cap)

    outcome = shop.one(paginate={"offset": {"size": 100, "size_param": "limit", "until": "short"}})

    assert len(outcome.rows("orders")) == 107


def test_after_a_429_fewer_requests_are_in_flight_until_the_host_is_at_ease() -> None:
    """Eight places become four, and one more after each round of successes."""
    now = [0.0]
    budget = Budget(Limits(in_flight=8), clock=lambda: now[0])

    budget.pause(1.0)
    throttled = budget.allowed
    now[0] = 2.0
    grown = []
    for _ in range(30):
        with budget.place(1, stop=threading.Event()):
            pass
        grown.append(budget.allowed)

    assert throttled == 4
    assert grown[:6] == [4, 4, 4, 4, 5, 5]
    assert max(grown) == 8
