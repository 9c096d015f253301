"""Pages and filters that an OpenAPI document declares: what the names do not tell for sure is a question."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.init.command import save
from pipelines.init.drafting import Draft
from pipelines.init.openapi import describe
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.init.apis import Listing, Row, ids, orders, run_draft

_ORDER = {"type": "object", "properties": {"id": {"type": "integer"}}}


def described(
    url: str, *params: str, around: Mapping[str, Any] | None = None, item: Mapping[str, Any] = _ORDER
) -> Draft:
    """The draft of one list that takes *params*, with the fields *around* before its records."""
    answer = {"properties": {**(around or {}), "data": {"type": "array", "items": item}}}
    operation = {
        "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in params],
        "responses": {"200": {"content": {"application/json": {"schema": answer}}}},
    }
    paths = {"/orders": {"get": operation}}
    document = {"openapi": "3.0.3", "info": {"title": "shop"}, "servers": [{"url": url}], "paths": paths}
    return describe(json.dumps(document), name="shop")


def resource(written: Draft) -> dict[str, Any]:
    """What the draft says of its one resource."""
    found: dict[str, Any] = yaml.safe_load(written.text)["resources"]["orders"]
    return found


def _numbers(*names: str) -> dict[str, Any]:
    return {name: {"type": "integer"} for name in names}


@pytest.mark.parametrize(
    ("names", "total"),
    [
        pytest.param(("count", "total"), "total", id="count-before-total"),
        pytest.param(("hits", "total_count", "total"), "total", id="the-likeliest-name"),
        pytest.param(("count",), None, id="count-alone"),
        pytest.param(("resultCount",), None, id="result-count-alone"),
    ],
)
def test_a_count_that_may_be_of_one_page_is_no_total(names: tuple[str, ...], total: str | None) -> None:
    written = described("https://shop.example/v1", "page", "per_page", around=_numbers(*names))

    assert resource(written)["paginate"]["page_number"].get("total") == total
    assert any(f"`{names[0]}`" in question for question in written.questions) is (total is None)


def test_a_described_count_of_the_page_loses_no_record(api: FakeApi, tmp_path: Path) -> None:
    """57 orders in pages of 25, of which each says how many it holds."""

    def page(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
        data = rows[(int(asked.params["page"]) - 1) * size :][:size]
        return say({"count": len(data), "total": len(rows), "data": data})

    api.route("/v1/orders", Listing(api, orders(57), page))

    report = run_draft(described(f"{api.url}/v1", "page", "per_page", around=_numbers("count", "total")), tmp_path)

    assert report.problems == []
    assert ids(tmp_path) == list(range(1, 58))


def _texts(*names: str) -> dict[str, Any]:
    return {name: {"type": "string"} for name in names}


@pytest.mark.parametrize(
    ("names", "source"),
    [
        pytest.param(("previous_cursor", "next_cursor"), "next_cursor", id="previous-first"),
        pytest.param(("beforeCursor", "endCursor"), "endCursor", id="before-first"),
        pytest.param(("cursor", "next_cursor"), "next_cursor", id="its-own-first"),
        pytest.param(("nextSyncToken", "nextPageToken"), "nextPageToken", id="sync-first"),
        pytest.param(("access_token", "nextPageToken"), "nextPageToken", id="access-first"),
        pytest.param(("prev_cursor",), None, id="previous-alone"),
    ],
)
def test_the_token_of_the_next_page_is_told_from_others(names: tuple[str, ...], source: str | None) -> None:
    written = described("https://shop.example/v1", "cursor", around=_texts(*names))

    paginate = resource(written).get("paginate", {})
    assert paginate == ({"cursor": {"from": source, "param": "cursor"}} if source else {})
    assert any("`paginate`" in question for question in written.questions) is (source is None)


_TIME = {"type": "string", "format": "date-time"}


@pytest.mark.parametrize(
    ("columns", "cursor"),
    [
        pytest.param({"updated_at": {"type": "integer"}}, None, id="a-number"),
        pytest.param({"modified_by": {"type": "string"}}, None, id="text"),
        pytest.param({"modified_by": {"type": "string"}, "modified_at": _TIME}, "modified_at", id="text-before-a-time"),
        pytest.param({"updated": {**_TIME, "description": "when"}}, "updated", id="a-time-with-a-description"),
    ],
)
def test_only_a_time_becomes_the_cursor(tmp_path: Path, columns: dict[str, Any], cursor: str | None) -> None:
    item = {"type": "object", "properties": {"id": {"type": "integer"}, **columns}}

    written = described("https://shop.example/v1", "updated_since", item=item)
    save(written, tmp_path / "shop.yaml", {})

    found = resource(written)
    assert found.get("incremental", {}).get("cursor") == cursor
    assert found["write"] == ("upsert" if cursor else "replace")
    assert any("`updated_since`" in question for question in written.questions) is (cursor is None)
