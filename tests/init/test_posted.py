"""Searches by POST, GraphQL, and totals in headers: `init` finds them, and the draft reads every record."""

from __future__ import annotations

import re
import textwrap
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from pipelines.errors import ConfigError, HttpError
from pipelines.init.drafting import summary
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.init.apis import Listing, Row, cursor, drafted, ids, link_header, orders, run_draft
from tests.init.posting import QUERY, Relay, Search, tokens

ALL = list(range(1, 58))


def resource_of(text: str) -> dict[str, Any]:
    (found,) = yaml.safe_load(text)["resources"].values()
    return dict(found)


@pytest.mark.parametrize(
    ("search", "body", "paginate"),
    [
        pytest.param(
            {"known": frozenset({"query", "from", "size"})},
            {"query": {}},
            {"field": "from", "first": 0, "size": 25, "size_field": "size", "total": "hits.total.value"},
            id="a-strict-search-engine",
        ),
        pytest.param(
            {"size": "page.limit", "begin": "page.offset"},
            {"query": {}, "page": {"limit": 10, "offset": 0}},
            {"field": "page.offset", "first": 0, "size": 25, "size_field": "page.limit", "total": "hits.total.value"},
            id="fields-that-the-body-names",
        ),
    ],
)
def test_a_search_by_post_is_understood_and_read_to_its_end(
    api: FakeApi, tmp_path: Path, search: dict[str, Any], body: Any, paginate: object
) -> None:
    """57 orders, 10 a page, at most 25; records lie in `_source` of each hit."""
    api.route("/orders/_search", Search(orders(57), **search))

    written = drafted(f"{api.url}/orders/_search", body=orjson.dumps(body).decode())
    asked = sum(api.calls.values())
    report = run_draft(written, tmp_path)

    found = resource_of(written.text)
    assert found["records"] == "hits.hits[]._source"
    assert found["paginate"] == {"offset": paginate}
    assert found["body"] == {"query": {}} | ({"page": {}} if "page" in body else {})
    assert found["idempotent"] is True
    assert "asked twice, it gave the same records" in written.text
    assert report.problems == []
    assert ids(tmp_path, "search") == ALL
    assert asked == len(written.asked) <= 20


def test_a_token_goes_back_in_the_body(api: FakeApi, tmp_path: Path) -> None:
    api.route("/v1/orders", tokens(orders(57)))

    written = drafted(f"{api.url}/v1/orders", body='{"status": "any"}')
    report = run_draft(written, tmp_path)

    found = resource_of(written.text)
    assert found["paginate"] == {"cursor": {"from": "next_cursor", "field": "cursor"}}
    assert found["body"] == {"status": "any", "limit": 25}
    assert report.problems == []
    assert ids(tmp_path) == ALL


def test_a_graphql_connection_is_followed_by_its_page_info(api: FakeApi, tmp_path: Path) -> None:
    """The size and its cap, the cursor's variable, the total, and that mistakes come under 200."""
    api.route("/graphql", Relay(orders(57)))

    written = drafted(f"{api.url}/graphql", graphql=QUERY)
    asked = sum(api.calls.values())
    report = run_draft(written, tmp_path)

    found = resource_of(written.text)
    assert found["graphql"] == {"query": QUERY, "variables": {"first": 25}}
    assert found["records"] == "data.orders.edges[].node"
    assert found["paginate"] == {
        "cursor": {
            "from": "data.orders.pageInfo.endCursor",
            "field": "variables.after",
            "more": "data.orders.pageInfo.hasNextPage",
            "total": "data.orders.totalCount",
        }
    }
    assert found["errors"] == [{"status": 200, "when": "errors", "do": "fail"}]
    assert "variables.first=1000 was refused with 200 and `errors`; the refusal names it" in written.text
    assert report.problems == []
    assert [one.verdict for source in report.sources for one in source.resources] == ["complete"]
    assert ids(tmp_path, "orders") == ALL
    assert asked == len(written.asked) <= 20


def test_a_query_that_takes_no_cursor_is_a_question(api: FakeApi) -> None:
    api.route("/graphql", Relay(orders(57)))

    written = drafted(f"{api.url}/graphql", graphql="{ orders(first: 5) { edges { node { id } } } }")

    assert "paginate" not in resource_of(written.text)
    assert any("declare `$after: String` in the query" in question for question in written.questions)


def test_a_mistaken_query_is_told_with_what_the_api_says(api: FakeApi) -> None:
    api.route("/graphql", Relay(orders(57)))

    with pytest.raises(HttpError, match="Syntax Error"):
        drafted(f"{api.url}/graphql", graphql="{ oders { id } }")


@pytest.mark.parametrize(
    ("body", "graphql", "told"),
    [
        pytest.param("{", None, "--body is no JSON", id="broken"),
        pytest.param("[1]", None, "--body is no JSON object", id="a-list"),
        pytest.param("{}", "{ a }", "exclude each other", id="both"),
        pytest.param('{"key": "${NOWHERE}"}', None, "NOWHERE", id="unset-variable"),
    ],
)
def test_a_body_that_cannot_be_posted_is_refused_before_any_request(
    api: FakeApi, body: str, graphql: str | None, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        drafted(f"{api.url}/v1/orders", body=body, graphql=graphql)

    assert api.asked == []


def test_a_secret_in_the_body_is_written_by_its_name_only(api: FakeApi, tmp_path: Path) -> None:
    api.route("/v1/orders", tokens(orders(12)))

    written = drafted(
        f"{api.url}/v1/orders", body='{"api_key": "${T}", "status": "open"}', env={"T": "sesame-open-7341"}
    )

    assert {orjson.loads(asked.body)["api_key"] for asked in api.asked} == {"sesame-open-7341"}
    assert resource_of(written.text)["body"]["api_key"] == "${T}"
    assert "sesame" not in written.text + summary(written, 20)
    assert run_draft(written, tmp_path, T="sesame-open-7341").problems == []


def test_a_secret_given_literally_in_the_body_becomes_a_reference_to_set(api: FakeApi, tmp_path: Path) -> None:
    """One is a default; what `sort` calls a key is none."""
    api.route("/v1/orders", tokens(orders(12)))
    by = [{"token": "sesame-1"}, {"token": "sesame-2"}, {"token": "${T:-sesame-3}"}]
    body = {"apiKey": "sesame-0", "by": by, "sort": {"key": "id"}}
    values = {"SHOP_APIKEY": "sesame-0", "SHOP_TOKEN": "sesame-1", "SHOP_TOKEN_2": "sesame-2", "T": "sesame-3"}

    written = drafted(f"{api.url}/v1/orders", body=orjson.dumps(body).decode())

    sent, drawn = [orjson.loads(asked.body) for asked in api.asked], resource_of(written.text)["body"]
    assert {(one["apiKey"], *(each["token"] for each in one["by"])) for one in sent} == {tuple(values.values())}
    assert written.to_set == tuple(values)
    assert [drawn["apiKey"], *(each["token"] for each in drawn["by"])] == [f"${{{name}}}" for name in values]
    assert drawn["sort"] == {"key": "id"}
    assert "sesame" not in written.text + summary(written, 20)
    assert run_draft(written, tmp_path, **values).problems == []


def test_a_search_that_answers_otherwise_when_asked_twice_is_a_question(api: FakeApi) -> None:
    rows = orders(5)
    api.route("/v1/orders", lambda asked: say({"data": [{**row, "at": len(api.asked)} for row in rows], "total": 5}))

    written = drafted(f"{api.url}/v1/orders", body="{}")

    assert "idempotent" not in resource_of(written.text)
    assert any("`idempotent: true`" in question for question in written.questions)


def _with_headers(page: Any, **headers: Any) -> Any:
    """The same pages, with totals in headers."""

    def told(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
        answer: Answer = page(listing, asked, rows, size)
        return Answer(
            answer.status,
            answer.body,
            {**answer.headers, **{name.replace("_", "-"): make(rows, size) for name, make in headers.items()}},
        )

    return told


def _numbered(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    number = int(asked.params.get("page", 1))
    return say(rows[(number - 1) * size : number * size])


@pytest.mark.parametrize(
    ("page", "paginate"),
    [
        pytest.param(
            _with_headers(_numbered, X_Total_Count=lambda rows, size: str(len(rows))),
            {"page_number": {"param": "page", "first": 1, "size": 25, "size_param": "per_page",
                             "total_header": "x-total-count"}},
            id="x-total-count",
        ),
        pytest.param(
            _with_headers(_numbered, Content_Range=lambda rows, size: f"items 0-{size - 1}/{len(rows)}"),
            {"page_number": {"param": "page", "first": 1, "size": 25, "size_param": "per_page",
                             "total_header": "content-range"}},
            id="content-range",
        ),
        pytest.param(
            _with_headers(_numbered, X_WP_TotalPages=lambda rows, size: str(-(-len(rows) // size)),
                          X_WP_Total=lambda rows, size: str(len(rows))),
            {"total_pages": {"from_header": "x-wp-totalpages", "param": "page", "first": 1, "size": 25,
                             "size_param": "per_page", "total_header": "x-wp-total"}},
            id="pages-in-a-header",
        ),
        pytest.param(
            _with_headers(link_header, X_Total=lambda rows, size: str(len(rows))),
            {"link_header": {"total_header": "x-total"}},
            id="link-header-with-total",
        ),
        pytest.param(
            _with_headers(cursor, X_Total_Count=lambda rows, size: str(len(rows))),
            {"cursor": {"from": "nextPageToken", "param": "page_token", "total_header": "x-total-count"}},
            id="cursor-in-the-body-total-in-a-header",
        ),
    ],
)  # fmt: skip
def test_totals_in_headers_are_found_and_make_the_run_complete(
    api: FakeApi, tmp_path: Path, page: Any, paginate: object
) -> None:
    api.route("/v1/orders", Listing(api, orders(57), page))

    written = drafted(f"{api.url}/v1/orders")
    report = run_draft(written, tmp_path)

    assert resource_of(written.text)["paginate"] == paginate
    assert report.problems == []
    assert [one.verdict for source in report.sources for one in source.resources] == ["complete"]
    assert ids(tmp_path) == ALL
    assert len(written.asked) <= 20


@pytest.mark.parametrize("kind", ["a-listing", "a-search", "graphql"])
def test_every_line_carries_its_evidence(api: FakeApi, kind: str) -> None:
    """In a comment on the line or above it; only keys that hold others have none, and the text of a query."""
    rows = orders(57)
    api.route("/v1/orders", Listing(api, rows, link_header, since_param="updated_since"))
    api.route("/v1/_search", Search(rows))
    api.route("/v1/graphql", Relay(rows))
    given: dict[str, Any] = {
        "a-listing": {"url": f"{api.url}/v1/orders?sort=id"},
        "a-search": {"url": f"{api.url}/v1/_search", "body": '{"query": {"paid": true}}'},
        "graphql": {"url": f"{api.url}/v1/graphql", "graphql": QUERY},
    }[kind]
    lines = drafted(**given).text.replace(textwrap.indent(QUERY, " " * 8), "").splitlines()

    bare = [
        line
        for above, line in pairwise(lines)
        if re.search(r": [^#|]", line) and "# " not in line and not above.strip().startswith("# ")
    ]

    assert len(lines) > 15
    assert bare == []


def test_a_count_that_stops_early_is_no_total(api: FakeApi, tmp_path: Path) -> None:
    """Elasticsearch counts to 10,000, here to 40, and says that there are so many at least."""
    api.route("/orders/_search", Search(orders(57), counts=40))

    written = drafted(f"{api.url}/orders/_search", body='{"query": {}}')
    report = run_draft(written, tmp_path)

    assert "hits.total" not in written.text
    assert report.problems == []
    assert ids(tmp_path, "search") == ALL
