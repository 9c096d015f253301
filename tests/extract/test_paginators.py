"""Each kind of paginator, asked about one page at a time."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from pipelines.errors import DecodeError
from pipelines.extract.numbered import Paginator
from pipelines.extract.page import Page
from pipelines.extract.paginators import AnyPaginator
from pipelines.extract.request import Request
from pipelines.records import Records

ASKED = Request("GET", "https://api.example/orders")
ROWS = [{"id": 7}, {"id": 8}]


def paginator(written: Any) -> Paginator:
    found: Paginator = TypeAdapter(AnyPaginator).validate_python(written)
    return found


def page(document: Any, request: Request = ASKED, headers: dict[str, str] | None = None) -> Page:
    records = Records(rows="data") if isinstance(document, dict) else Records()
    return Page(request, 200, headers or {}, orjson.dumps(document), records)


@pytest.mark.parametrize(
    ("written", "first"),
    [
        pytest.param("none", {}, id="none"),
        pytest.param("page_number", {"page": "1"}, id="pages-from-1"),
        pytest.param(
            {"page_number": {"first": 0, "param": "p", "size": 50, "size_param": "per"}},
            {"per": "50", "p": "0"},
            id="pages-from-0",
        ),
        pytest.param("offset", {"offset": "0"}, id="offset-from-0"),
        pytest.param(
            {"offset": {"first": 1, "size": 5, "size_param": "limit"}},
            {"limit": "5", "offset": "1"},
            id="offset-from-1",
        ),
        pytest.param({"last_id": {"param": "after", "size": 5, "size_param": "limit"}}, {"limit": "5"}, id="last-id"),
        pytest.param("has_more", {"page": "1"}, id="has-more"),
        pytest.param("link_header", {}, id="link-header"),
    ],
)
def test_page_one_is_asked_for_as_the_api_counts(written: Any, first: dict[str, str]) -> None:
    assert dict(paginator(written).first(ASKED).params) == first


@pytest.mark.parametrize(
    ("written", "answer", "asked", "expected"),
    [
        pytest.param("none", {"data": ROWS}, {}, None, id="none"),
        pytest.param("page_number", {"data": ROWS}, {"page": 3}, {"page": "4"}, id="page-number-next"),
        pytest.param("page_number", {"data": []}, {"page": 3}, None, id="page-number-empty"),
        pytest.param(
            {"page_number": {"size": 3, "until": "short"}}, {"data": ROWS}, {"page": 3}, None, id="page-number-short"
        ),
        pytest.param(
            {"page_number": {"size": 2, "until": "short"}}, {"data": ROWS}, {"page": 3}, {"page": "4"}, id="page-full"
        ),
        pytest.param(
            "total_pages", {"data": ROWS, "total_pages": 3}, {"page": 2}, {"page": "3"}, id="total-pages-next"
        ),
        pytest.param("total_pages", {"data": ROWS, "total_pages": "3"}, {"page": 3}, None, id="total-pages-last"),
        pytest.param(
            {"total_pages": "[0].pages"}, [{"pages": 2}, ROWS], {"page": 1}, {"page": "2"}, id="envelope-in-a-list"
        ),
        pytest.param("offset", {"data": ROWS}, {"offset": 4}, {"offset": "6"}, id="offset-next"),
        pytest.param("offset", {"data": []}, {"offset": 4}, None, id="offset-empty"),
        pytest.param(
            {"offset": {"size": 100}}, {"data": ROWS}, {"offset": 0}, {"offset": "2"}, id="offset-capped-by-server"
        ),
        pytest.param(
            {"offset": {"total": "n"}}, {"data": ROWS, "n": 6}, {"offset": 4}, None, id="offset-total-reached"
        ),
        pytest.param(
            {"offset": {"first": 1, "total": "n"}},
            {"data": ROWS, "n": 3},
            {"offset": 1},
            {"offset": "3"},
            id="offset-1",
        ),
        pytest.param(
            {"cursor": {"from": "c", "param": "t"}},
            {"data": ROWS, "c": "x=/"},
            {"t": "w"},
            {"t": "x=/"},
            id="cursor-next",
        ),
        pytest.param(
            {"cursor": {"from": "c", "param": "t"}}, {"data": ROWS, "c": ""}, {"t": "w"}, None, id="cursor-last"
        ),
        pytest.param(
            {"cursor": {"from": "c", "param": "t", "more": "m"}},
            {"data": ROWS, "c": "x", "m": False},
            {},
            None,
            id="cursor-more",
        ),
        pytest.param({"last_id": {"param": "after"}}, {"data": ROWS}, {"after": 6}, {"after": "8"}, id="last-id-next"),
        pytest.param({"last_id": {"param": "after"}}, {"data": []}, {"after": 6}, None, id="last-id-empty"),
        pytest.param("has_more", {"data": ROWS, "has_more": True}, {"page": 1}, {"page": "2"}, id="has-more-next"),
        pytest.param("has_more", {"data": ROWS, "has_more": False}, {"page": 1}, None, id="has-more-last"),
        pytest.param("has_more", {"data": ROWS}, {"page": 1}, None, id="has-more-absent"),
        pytest.param("has_more", {"data": ROWS, "has_more": "False"}, {"page": 1}, None, id="has-more-text-no"),
        pytest.param(
            "has_more", {"data": ROWS, "has_more": "true"}, {"page": 1}, {"page": "2"}, id="has-more-text-yes"
        ),
        pytest.param("has_more", {"data": ROWS, "has_more": 0}, {"page": 1}, None, id="has-more-number-no"),
    ],
)
def test_a_page_names_the_next_request(
    written: Any, answer: Any, asked: dict[str, Any], expected: dict[str, str] | None
) -> None:
    following = paginator(written).next_request(page(answer, ASKED.with_params(asked)))

    assert (dict(following.params) if following else None) == expected


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        pytest.param("https://api.example/orders?page=2", "https://api.example/orders?page=2", id="absolute"),
        pytest.param("/orders?page=2&q=a%20b", "https://api.example/orders?page=2&q=a%20b", id="path"),
        pytest.param("?page=2", "https://api.example/orders?page=2", id="query"),
        pytest.param("https://api.example/ü?page=2#top", "https://api.example/%C3%BC?page=2", id="quoted"),
    ],
)
def test_a_link_replaces_url_and_parameters(link: str, expected: str) -> None:
    asked = ASKED.with_params({"per_page": 100})

    from_body = paginator("next_url").next_request(page({"data": ROWS, "next": link}, asked))
    from_header = paginator("link_header").next_request(
        page(ROWS, asked, {"link": f'<x>; rel="prev", <{link}>; rel="next"'})
    )

    assert from_body is not None
    assert from_header is not None
    assert (from_body.full_url, from_header.full_url) == (expected, expected)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        pytest.param("<u2>; rel=next, <u9>; rel=last", "u2", id="a-token-ends-at-the-comma"),
        pytest.param("<u9>; rel=last,<u2>; rel=next", "u2", id="a-token-at-the-end"),
        pytest.param("<u2>; rel=next; title=a", "u2", id="a-token-ends-at-the-semicolon"),
        pytest.param("<u2>; rel='next', <u9>; rel='last'", "u2", id="single-quotes"),
        pytest.param('<u2>; rel="Next"', "u2", id="capital-relation"),
        pytest.param('<u2>; REL = "next"', "u2", id="capital-name-and-spaces"),
        pytest.param('<u1>; rel="prev first", <u2>; rel="last next"', "u2", id="several-relations"),
        pytest.param('<u2?ids=1,2;rel=x>; rel="next"', "u2?ids=1,2;rel=x", id="commas-in-the-target"),
        pytest.param('<u2>; title="a, <b>; rel=x"; rel="next"', "u2", id="commas-in-a-title"),
        pytest.param('<u1>; title="say \\"; rel=next"; rel=prev', None, id="rel-inside-a-title"),
        pytest.param('<u1>; rel=prev; rel=next, <u2>; rel="next"', "u2", id="the-first-rel-counts"),
        pytest.param('<u1>; anchor; xrel=next, <u2>; crossorigin; rel="next"', "u2", id="other-attributes"),
        pytest.param('<u1>; rel="nextish", <u2>; rel="x-next"', None, id="only-whole-names"),
        pytest.param("<u1>, <u2>; rel=", None, id="no-relation"),
        pytest.param("nonsense", None, id="no-link"),
    ],
)
def test_a_link_header_is_read_however_it_is_written(link: str, expected: str | None) -> None:
    """Tokens and quoted values, in any case, one relation or several: RFC 8288."""
    following = paginator("link_header").next_request(page(ROWS, headers={"link": link}))

    assert (following.url.removeprefix("https://api.example/") if following else None) == expected


def test_a_cursor_goes_into_a_header_or_a_field_of_the_body() -> None:
    graph = Request("POST", ASKED.url, body=orjson.dumps({"query": "q", "variables": {"n": 5}}))
    answer = {"data": ROWS, "pageInfo": {"end": "abc"}}

    in_field = paginator({"cursor": {"from": "pageInfo.end", "field": "variables.after"}}).next_request(
        page(answer, graph)
    )
    in_header = paginator({"cursor": {"from_header": "X-Next", "header": "X-From"}}).next_request(
        page(answer, headers={"x-next": "t"})
    )

    assert in_field is not None
    assert orjson.loads(in_field.body or b"") == {"query": "q", "variables": {"n": 5, "after": "abc"}}
    assert in_header is not None
    assert in_header.headers == (("X-From", "t"),)


@pytest.mark.parametrize(
    ("written", "answer", "params"),
    [
        pytest.param({"page_number": {"total": "n"}}, {"data": ROWS, "n": 5}, ["2", "3"], id="total-over-page-size"),
        pytest.param("total_pages", {"data": ROWS, "total_pages": 3}, ["2", "3"], id="total-pages"),
        pytest.param({"offset": {"total": "n"}}, {"data": ROWS, "n": 5}, ["2", "4"], id="offsets"),
        pytest.param({"offset": {"total": "n", "first": 1}}, {"data": ROWS, "n": 5}, ["3", "5"], id="offsets-from-1"),
        pytest.param("page_number", {"data": ROWS}, None, id="no-total"),
    ],
)
def test_where_a_total_is_told_page_one_names_all_others(written: Any, answer: Any, params: list[str] | None) -> None:
    kind = paginator(written)

    rest = kind.rest(page(answer, kind.first(ASKED)))

    assert (None if rest is None else [request.params[0][1] for request in rest]) == params


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        pytest.param({"last_id": {"param": "after", "field": "key"}}, {"data": ROWS}, id="no-id"),
        pytest.param({"last_id": {"param": "after", "more": "more"}}, {"data": [], "more": True}, id="more-of-nothing"),
        pytest.param(
            {"cursor": {"from": "token", "param": "after", "more": "more"}}, {"data": ROWS, "more": 1}, id="no-token"
        ),
        pytest.param("total_pages", {"data": ROWS}, id="no-number-of-pages"),
        pytest.param("next_url", {"data": ROWS, "next": 5}, id="next-is-no-url"),
    ],
)
def test_an_answer_without_the_sign_is_an_error_not_the_end(written: Any, answer: Any) -> None:
    with pytest.raises(DecodeError):
        paginator(written).next_request(page(answer, ASKED.with_params({"page": 1})))


@pytest.mark.parametrize(
    "written",
    [
        {"cursor": {"from": "c"}},
        {"cursor": {"param": "c"}},
        {"offset": {"size_param": "limit"}},
        {"page_numbr": {}},
        {"last_id": {}},
    ],
)
def test_a_paginator_that_cannot_work_is_refused(written: Any) -> None:
    with pytest.raises(ValidationError):
        paginator(written)
