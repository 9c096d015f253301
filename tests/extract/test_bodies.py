"""Questions that are posted: paging within a JSON body, and GraphQL."""

from __future__ import annotations

import json

import pytest

from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, say


@pytest.mark.parametrize("kind", ["page_number", "offset"])
def test_numbers_and_sizes_go_into_a_post_body_as_well(shop: Shop, kind: str) -> None:
    """Seven records, three a page, `{"query": ..., "window": {"at": ..., "size": 3}}`."""
    first = {"page_number": 1, "offset": 0}[kind]

    def page(asked: Asked) -> Answer:
        window = json.loads(asked.body)["window"]
        start = (window["at"] - 1) * 3 if kind == "page_number" else window["at"]
        return say({"data": [{"id": number} for number in range(7)][start : start + 3], "total": 7})

    shop.api.route("/orders", page)

    outcome = shop.one(
        body={"query": {"kind": "all"}, "window": {"sort": "id"}},
        idempotent=True,
        paginate={kind: {"field": "window.at", "size": 3, "size_field": "window.size", "total": "total"}},
    )

    bodies = [json.loads(asked.body) for asked in shop.api.asked]
    assert [row["id"] for row in outcome.rows("orders")] == list(range(7))
    assert bodies[0] == {"query": {"kind": "all"}, "window": {"sort": "id", "at": first, "size": 3}}
    assert outcome.extractions["orders"].verdict == "complete"


def test_graphql_pages_are_followed_by_relay_page_info(shop: Shop) -> None:
    """`hasNextPage` and `endCursor` in the answer, `variables.after` in the next question."""
    query = "query($after: String) { orders(first: 2, after: $after) { nodes { id } pageInfo { endCursor } } }"

    def page(asked: Asked) -> Answer:
        variables = json.loads(asked.body)["variables"]
        start = int(variables.get("after") or 0)
        info = {"hasNextPage": start + 2 < 5, "endCursor": str(start + 2)}
        nodes = [{"id": number} for number in range(5)][start : start + 2]
        return say({"data": {"orders": {"nodes": nodes, "pageInfo": info}}})

    shop.api.route("/orders", page)
    at = "data.orders.pageInfo"

    outcome = shop.one(
        graphql={"query": query, "variables": {"after": None}},
        idempotent=True,
        records="data.orders.nodes",
        paginate={"cursor": {"from": f"{at}.endCursor", "field": "variables.after", "more": f"{at}.hasNextPage"}},
    )

    assert [json.loads(asked.body)["variables"]["after"] for asked in shop.api.asked] == [None, "2", "4"]
    assert {asked.method for asked in shop.api.asked} == {"POST"}
    assert outcome.extractions["orders"].pages == 3
