"""What an OpenAPI document declares becomes a source; what it does not is a question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.errors import ConfigError
from pipelines.init.command import draft_source, save
from pipelines.init.openapi import describe
from tests.fake_api import Answer, FakeApi
from tests.init.apis import Listing, ids, orders, page_number, run_draft
from tests.init.posting import tokens

_ORDER = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "description": "number of the order"},
        "customer": {"$ref": "#/components/schemas/Customer"},
        "weightKg": {"type": "number"},
        "paid": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "updatedAt": {"type": "string", "format": "date-time"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
    },
}
_PAGE = {"name": "page", "in": "query", "schema": {"type": "integer", "minimum": 1}}
_PER_PAGE = {"name": "per_page", "in": "query", "schema": {"type": "integer", "maximum": 25}}
_LIST = {
    "type": "object",
    "properties": {
        "meta": {"type": "object", "properties": {"total": {"type": "integer"}, "totalPages": {"type": "integer"}}},
        "data": {"type": "array", "items": {"$ref": "#/components/schemas/Order"}},
    },
}


def _answers(schema: dict[str, Any]) -> dict[str, Any]:
    return {"200": {"content": {"application/json": {"schema": schema}}}}


def _document(url: str, **more: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.3",
        "info": {"title": "The Shop API"},
        "servers": [{"url": url}],
        "paths": {
            "/orders": {
                "get": {"summary": "All orders", "parameters": [_PAGE, _PER_PAGE], "responses": _answers(_LIST)}
            },
            "/orders/{id}": {"get": {"responses": _answers(_ORDER)}},
            "/orders/{id}/lines": {"get": {"responses": _answers({"type": "array", "items": _ORDER})}},
        },
        "components": {
            "schemas": {
                "Order": _ORDER,
                "Customer": {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}}},
            },
            **more,
        },
    }


def test_a_described_list_becomes_a_resource_that_reads_every_record(api: FakeApi, tmp_path: Path) -> None:
    """57 orders behind total_pages; the document itself is the only request of `init`."""
    api.route("/v1/orders", Listing(api, orders(57), page_number(1, total=True, pages=True)))
    api.answer("/openapi.json", Answer(200, json.dumps(_document("/v1")).encode()))

    written = draft_source(f"{api.url}/openapi.json", {}, openapi=True)
    asked = dict(api.calls)
    report = run_draft(written, tmp_path)

    assert asked == {"/openapi.json": 1}
    assert report.problems == []
    assert ids(tmp_path) == list(range(1, 58))


def test_paging_columns_and_descriptions_come_from_the_document() -> None:
    written = describe(json.dumps(_document("https://shop.example/v1")))

    resource = yaml.safe_load(written.text)["resources"]["orders"]
    assert resource["records"] == "data"
    assert resource["paginate"] == {
        "total_pages": {
            "from": "meta.totalPages", "param": "page", "first": 1, "size": 25, "size_param": "per_page",
            "total": "meta.total",
        }
    }  # fmt: skip
    assert resource["columns"] == {
        "id": {"type": "int64", "description": "number of the order"},
        "customer_id": {"type": "int64", "from": "customer.id"},
        "customer_name": {"type": "string", "from": "customer.name"},
        "weight_kg": "float64",
        "paid": "bool",
        "tags": "list<string>",
        "updated_at": "timestamp",
        "lines": "json",
    }


def test_a_document_with_common_slips_is_read() -> None:
    """An emoji as JSON writes it, an empty list of parameters, `required: true` where names belong."""
    document = _document("https://shop.example/v1")
    document["info"]["description"] = "\U0001f680"
    document["paths"]["/orders"]["parameters"] = None
    body = {"content": {"application/json": {"schema": {"properties": {"q": {}, "page": {}}, "required": True}}}}
    document["paths"]["/search"] = {"post": {"requestBody": body, "responses": _answers(_LIST)}}
    text = json.dumps(document)

    resources = yaml.safe_load(describe(text).text)["resources"]

    assert "\\ud83d" in text
    assert len(resources) == 2


def test_a_list_below_a_parent_is_a_question() -> None:
    written = describe(json.dumps(_document("https://shop.example/v1")))

    assert any("for_each: {resource: orders}" in question for question in written.questions)


@pytest.mark.parametrize(
    ("scheme", "auth"),
    [
        pytest.param({"type": "http", "scheme": "bearer"}, {"bearer": "${SHOP_TOKEN}"}, id="bearer"),
        pytest.param(
            {"type": "http", "scheme": "basic"},
            {"basic": {"user": "${SHOP_USER}", "password": "${SHOP_PASSWORD}"}},
            id="basic",
        ),
        pytest.param(
            {"type": "apiKey", "in": "header", "name": "X-Key"},
            {"api_key": {"header": "X-Key", "value": "${SHOP_TOKEN}"}},
            id="key-in-header",
        ),
        pytest.param(
            {"type": "apiKey", "in": "query", "name": "key"},
            {"api_key": {"param": "key", "value": "${SHOP_TOKEN}"}},
            id="key-in-query",
        ),
    ],
)
def test_a_security_scheme_becomes_auth_by_reference(tmp_path: Path, scheme: object, auth: object) -> None:
    document = _document("https://shop.example/v1", securitySchemes={"main": scheme})

    written = describe(json.dumps(document))
    path = tmp_path / "shop.yaml"
    save(written, path, {})

    assert yaml.safe_load(path.read_text())["auth"] == auth


def test_swagger_2_in_yaml_is_read_too(tmp_path: Path) -> None:
    text = """
swagger: "2.0"
info: {title: Pets}
host: pets.example
basePath: /api
schemes: [https]
paths:
  /pets:
    get:
      parameters: [{name: limit, in: query, type: integer, maximum: 50}, {name: offset, in: query, type: integer}]
      responses: {200: {schema: {type: array, items: {$ref: "#/definitions/Pet"}}}}
definitions:
  Pet: {type: object, properties: {id: {type: integer}, born: {type: string, format: date}}}
"""

    path = tmp_path / "pets.yaml"
    save(describe(text), path, {})

    document = yaml.safe_load(path.read_text())
    assert document["base_url"] == "https://pets.example/api"
    assert document["resources"]["pets"]["paginate"] == {
        "offset": {"param": "offset", "first": 0, "size": 50, "size_param": "limit"}
    }
    assert document["resources"]["pets"]["columns"] == {"id": "int64", "born": "date"}


_SEARCH_BODY = {
    "type": "object",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "example": "any"},
        "cursor": {"type": "string"},
        "limit": {"type": "integer", "maximum": 25},
    },
}


def test_a_search_by_post_becomes_a_resource_that_reads_every_record(api: FakeApi, tmp_path: Path) -> None:
    """Its body takes a cursor; a POST whose body takes no pages creates something and is left out."""
    api.route("/v1/orders/search", tokens(orders(57)))
    answer = {
        "type": "object",
        "properties": {"results": {"type": "array", "items": _ORDER}, "next_cursor": {"type": "string"}},
    }
    document = _document(f"{api.url}/v1")
    document["paths"] = {
        "/orders/search": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": _SEARCH_BODY}}},
                "responses": _answers(answer),
            }
        },
        "/orders": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": _ORDER}}},
                "responses": _answers({"type": "array", "items": _ORDER}),
            }
        },
    }

    written = describe(json.dumps(document), name="shop")
    report = run_draft(written, tmp_path)

    (resource,) = yaml.safe_load(written.text)["resources"].values()
    assert (resource["path"], resource["body"]) == ("/orders/search", {"status": "any"})
    assert resource["paginate"] == {"cursor": {"from": "next_cursor", "field": "cursor"}}
    assert any("which values for status" in question for question in written.questions)
    assert report.problems == []
    assert ids(tmp_path) == list(range(1, 58))


def test_a_total_that_a_header_declares_is_checked_by_the_run() -> None:
    document = _document("https://shop.example/v1")
    answer = document["paths"]["/orders"]["get"]["responses"]["200"]
    answer["content"]["application/json"]["schema"] = {"type": "array", "items": _ORDER}
    answer["headers"] = {"X-Total-Count": {"schema": {"type": "integer"}}}

    written = describe(json.dumps(document))

    paginate = yaml.safe_load(written.text)["resources"]["orders"]["paginate"]
    assert paginate["page_number"]["total_header"] == "x-total-count"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("{", "neither JSON nor YAML", id="broken"),
        pytest.param("{}", "not OpenAPI", id="something-else"),
        pytest.param('{"openapi": "3.1.0", "paths": {}}', "no GET or search that answers with a list", id="no-list"),
        pytest.param("!!python/object/apply:os.system [id]", "neither JSON nor YAML", id="code"),
    ],
)
def test_another_document_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        describe(text)


def test_a_reference_that_leads_in_a_circle_ends() -> None:
    document = _document("https://shop.example/v1")
    document["components"]["schemas"]["Customer"] = {"$ref": "#/components/schemas/Customer"}

    written = describe(json.dumps(document))

    assert yaml.safe_load(written.text)["resources"]["orders"]["columns"]["customer"] == "json"
