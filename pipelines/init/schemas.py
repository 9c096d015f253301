"""JSON Schemas of an OpenAPI document: references followed, lists found, columns named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.batch import Json
from pipelines.init.located import joined
from pipelines.transform.plan import column_name

_DEEPEST = 4
_MOST_HOPS = 20
_LIKELY = ("data", "items", "results", "records", "rows", "values", "entries", "content")
_TYPES = {"integer": "int64", "number": "float64", "boolean": "bool", "string": "string"}
_FORMATS = {"date-time": "timestamp", "date": "date"}

Schema = Mapping[str, Any]
Found = tuple[str, Mapping[str, Schema], Schema]


class Schemas:
    """Follows `$ref` and merges `allOf` within one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolved(self, schema: Any, within: frozenset[str] = frozenset()) -> Schema:
        """*schema* itself, references followed; empty where one leads nowhere, or back to itself by those *within*."""
        if not isinstance(schema, dict):
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            is_endless = reference in within or len(within) == _MOST_HOPS
            return {} if is_endless else self.resolved(self._at(reference), within | {reference})
        choices = schema.get("oneOf") or schema.get("anyOf") or []
        parts = schema.get("allOf") or [one for one in choices if not _is_null(one)][:1]
        if not parts:
            return schema
        merged: dict[str, Any] = {**schema, "properties": dict(schema.get("properties") or {})}
        for part in parts:
            inner = self.resolved(part, within)
            merged["properties"].update(inner.get("properties") or {})
            merged |= {key: value for key, value in inner.items() if key not in merged}
        return {key: value for key, value in merged.items() if key not in ("allOf", "oneOf", "anyOf")}

    def params(self, written: Sequence[Any]) -> dict[str, Schema]:
        """The query parameters among *written*, by name."""
        found = [self.resolved(each) for each in written]
        return {str(each["name"]): each for each in found if each.get("in") == "query" and "name" in each}

    def example(self, param: Schema) -> Json:
        """A value for a parameter: its example, default or first choice; empty text where there is none."""
        schema = self.resolved(param.get("schema") or param)
        choices = [param.get("example"), schema.get("example"), schema.get("default"), *(schema.get("enum") or [])[:1]]
        return next((value for value in choices if isinstance(value, str | int | float)), "")

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            return {}
        value: Any = self._document
        for step in reference[2:].split("/"):
            value = value.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
        return value


def list_in(schema: Schema, schemas: Schemas) -> Found | None:
    """Path of the list of objects in *schema*, the scalars around it, and the schema of one object."""
    lists = list(_lists(schema, schemas, "", 0))
    if not lists:
        return None
    path, row = min(lists, key=lambda one: (one[0].count("."), one[0].rpartition(".")[2] not in _LIKELY))
    around = {} if path == "@" else dict(_scalars(schema, schemas, "", 0))
    return path, around, row


def columns_of(row: Schema, schemas: Schemas) -> Iterator[tuple[str, tuple[Json, str]]]:
    """Each column's name with what the file says of it, and the evidence."""
    seen = set()
    for path, told in _leaves(row, schemas, (), 0):
        name = column_name("_".join(path))
        if name in seen:
            continue
        seen.add(name)
        source = ""
        for step in path:
            source = joined(source, step)
        options: dict[str, Json] = {"type": _type(told, schemas)}
        if len(path) > 1:
            options["from"] = source
        if description := " ".join(str(told.get("description") or "").split())[:120]:
            options["description"] = description
        required = "" if told.get("type") is None else f"{told['type']}"
        why = " ".join(filter(None, [required, str(told.get("format") or "")])) or "no type is declared"
        yield name, (options if len(options) > 1 else options["type"], why)


def _lists(schema: Schema, schemas: Schemas, path: str, depth: int) -> Iterator[tuple[str, Schema]]:
    if depth > _DEEPEST:
        return
    if _kind(schema) == "array":
        item = schemas.resolved(schema.get("items"))
        if _kind(item) == "object":
            yield path or "@", item
        return
    for name, inner in (schema.get("properties") or {}).items():
        yield from _lists(schemas.resolved(inner), schemas, joined(path, name), depth + 1)


def _scalars(schema: Schema, schemas: Schemas, path: str, depth: int) -> Iterator[tuple[str, Schema]]:
    for name, inner in (schema.get("properties") or {}).items():
        told = schemas.resolved(inner)
        if _kind(told) == "object" and depth < _DEEPEST:
            yield from _scalars(told, schemas, joined(path, name), depth + 1)
        elif _kind(told) != "array":
            yield joined(path, name), told


def _leaves(
    row: Schema, schemas: Schemas, above: tuple[str, ...], depth: int
) -> Iterator[tuple[tuple[str, ...], Schema]]:
    for name, inner in (row.get("properties") or {}).items():
        told = schemas.resolved(inner)
        if told.get("properties") and depth < 1:
            yield from _leaves(told, schemas, (*above, name), depth + 1)
        else:
            yield (*above, name), told


def _kind(schema: Schema) -> str:
    """The one type of *schema*, null aside; an object is told by its properties, too."""
    kinds = schema.get("type")
    if isinstance(kinds, list):
        kinds = next((kind for kind in kinds if kind != "null"), None)
    return str(kinds) if kinds else "object" if schema.get("properties") else ""


def _is_null(schema: Any) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"


def _type(schema: Schema, schemas: Schemas) -> str:
    kind = _kind(schema)
    if kind == "string":
        return _FORMATS.get(str(schema.get("format")), "string")
    if kind == "array":
        items = schemas.resolved(schema.get("items"))
        inner = "json" if _kind(items) == "array" else _type(items, schemas)
        return f"list<{inner}>" if inner in ("string", "int64", "float64", "bool") else "json"
    return _TYPES.get(kind, "json")
