"""Schemas as documents write them: in circles, with null, in YAML that reads `no` as false."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from pipelines.init.openapi import describe

_HEAD = {"openapi": "3.1.0", "info": {"title": "shop"}, "servers": [{"url": "https://shop.example/v1"}]}


def _resources(paths: list[str], item: dict[str, Any], schemas: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "array", "items": item}}}
    listed = {path: {"get": {"responses": {"200": {"content": content}}}} for path in paths}
    document = {**_HEAD, "paths": listed, "components": {"schemas": schemas or {}}}
    found: dict[str, Any] = yaml.safe_load(describe(json.dumps(document)).text)["resources"]
    return found


def _type(schema: dict[str, Any], schemas: dict[str, Any] | None = None) -> Any:
    item = {"type": "object", "properties": {"id": {"type": "integer"}, "x": schema}}
    return _resources(["/orders"], item, schemas)["orders"]["columns"]["x"]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        pytest.param({"$ref": "#/components/schemas/Tree"}, "json", id="lists-of-themselves"),
        pytest.param({"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, "json", id="lists"),
        pytest.param({"oneOf": [{"type": "null"}, {"type": "string"}]}, "string", id="null-or-text"),
        pytest.param({"anyOf": [{"type": "null"}, {"type": "integer"}]}, "int64", id="null-or-a-number"),
        pytest.param({"anyOf": [{"type": "number"}, {"type": "null"}]}, "float64", id="a-number-or-null"),
        pytest.param({"anyOf": [{"type": "null"}]}, "json", id="null-alone"),
    ],
)
def test_the_type_is_found_behind_circles_and_nulls(schema: dict[str, Any], kind: str) -> None:
    tree = {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}

    assert _type(schema, {"Tree": tree}) == kind


def test_a_schema_that_is_part_of_itself_many_times_over_is_read_once() -> None:
    node = {"allOf": [{"$ref": "#/components/schemas/Node"}] * 8, "properties": {"x": {"type": "integer"}}}

    columns = _resources(["/orders"], {"$ref": "#/components/schemas/Node"}, {"Node": {"type": "object", **node}})

    assert columns["orders"]["columns"] == {"x": "int64"}


def test_words_of_yaml_are_names_where_names_belong() -> None:
    text = """
openapi: 3.0.3
info: {title: shop}
servers: [{url: https://shop.example/v1}]
paths:
  /orders:
    get:
      parameters: [{name: on, in: query, required: true, schema: {type: string, enum: [yes, no]}}]
      responses:
        200: {content: {application/json: {schema: {type: array, items: {$ref: "#/components/schemas/Order"}}}}}
components:
  schemas:
    Order:
      type: object
      properties: {id: {type: integer}, no: {type: string}, true: {type: string}, 1: {type: string}}
"""

    orders = yaml.safe_load(describe(text).text)["resources"]["orders"]

    assert orders["params"] == {"on": "yes"}
    assert list(orders["columns"]) == ["id", "no", "true", "_1"]


def test_lists_with_the_same_last_steps_all_become_resources() -> None:
    paths = ["/orders", "/shop/orders", "/north/shop/orders", "/south/shop/orders"]

    found = _resources(paths, {"type": "object", "properties": {"id": {"type": "integer"}}})

    assert {name: one["path"] for name, one in found.items()} == {
        "orders": "/orders",
        "shop_orders": "/shop/orders",
        "north_shop_orders": "/north/shop/orders",
        "south_shop_orders": "/south/shop/orders",
    }


def test_a_list_for_which_no_name_is_left_is_a_question() -> None:
    item = {"type": "object", "properties": {"id": {"type": "integer"}}}
    content = {"application/json": {"schema": {"type": "array", "items": item}}}
    operation = {"responses": {"200": {"content": content}}}
    paths = {path: {"get": operation} for path in ("/a-orders", "/a_orders")}

    written = describe(json.dumps({**_HEAD, "paths": paths}))

    assert any("/a_orders" in question for question in written.questions)
