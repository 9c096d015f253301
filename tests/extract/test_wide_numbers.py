"""Numbers beyond 64 bits that paging and children ask with: each digit as the API sent it."""

from __future__ import annotations

import json

import pytest

from pipelines.extract.page import Page
from pipelines.extract.request import Request
from pipelines.init.answers import Answer as Probed
from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked

WIDE = (2**64 + 1, 10**40 + 3, -(2**63) - 1)


def test_children_are_asked_for_by_every_digit_of_their_parents_key(shop: Shop) -> None:
    shop.api.answer("/repos", Answer(200, b'{"data": [%b]}' % b", ".join(b'{"id": %d}' % one for one in WIDE)))
    shop.api.route_all(lambda asked: Answer(200, b'{"data": [{"n": %d}]}' % len(asked.path)))
    children = {"path": "/repos/{repos.id}/issues", "for_each": {"resource": "repos"}, "records": "data"}

    outcome = shop.extract(
        {
            "repos": {"path": "/repos", "records": "data", "paginate": "none"},
            "issues": {**children, "carry": {"repo": "id"}, "paginate": "none"},
        }
    )

    asked = [one.path for one in shop.api.asked if one.path != "/repos"]
    assert sorted(asked) == sorted(f"/repos/{one}/issues" for one in WIDE)
    assert sorted(dict(page.carry)["repo"] for page in outcome.pages["issues"]) == sorted(WIDE)


@pytest.mark.parametrize("paginate", [{"cursor": {"from": "token", "param": "after"}}, {"last_id": {"param": "after"}}])
def test_a_page_is_asked_for_by_every_digit_of_its_token(shop: Shop, paginate: object) -> None:
    def route(asked: Asked) -> Answer:
        number = len(shop.api.asked) - 1
        rows = b'{"id": %d}' % WIDE[number] if number < len(WIDE) else b""
        token = b"%d" % WIDE[number] if number < len(WIDE) else b"null"
        return Answer(200, b'{"token": %b, "data": [%b]}' % (token, rows))

    shop.api.route("/orders", route)

    shop.one(paginate=paginate)

    assert [one.params.get("after") for one in shop.api.asked] == [None, *map(str, WIDE)]


def test_a_body_holds_every_digit_of_its_token_and_of_the_parents_key(shop: Shop) -> None:
    """The body of a search names the parent, that of its second page the token as well."""
    shop.api.answer("/repos", Answer(200, b'{"data": [{"id": %d}]}' % WIDE[0]))

    def route(asked: Asked) -> Answer:
        token = b"%d" % WIDE[2] if b"after" not in asked.body else b"null"
        return Answer(200, b'{"token": %b, "data": [{"n": %d}]}' % (token, len(asked.body)))

    shop.api.route("/search", route)

    outcome = shop.extract(
        {
            "repos": {"path": "/repos", "records": "data", "paginate": "none"},
            "issues": {
                "path": "/search",
                "for_each": {"resource": "repos"},
                "records": "data",
                "body": {"query": {"repo": "{repos.id}"}},
                "paginate": {"cursor": {"from": "token", "field": "page.after"}},
            },
        }
    )

    bodies = [json.loads(asked.body) for asked in shop.api.asked if asked.path == "/search"]
    query = {"query": {"repo": WIDE[0]}}
    assert outcome.extractions["issues"].error is None
    assert bodies == [query, {**query, "page": {"after": WIDE[2]}}]


def test_records_with_wide_numbers_are_told_apart_by_every_digit() -> None:
    one, other = (
        Probed(Page(Request("GET", "http://a"), 200, {}, b""), [{"b": 1, "a": WIDE[place]}], {}) for place in (0, 1)
    )

    assert one.marks != other.marks
    assert one.marks == Probed(one.page, [{"a": WIDE[0], "b": 1}], {}).marks
