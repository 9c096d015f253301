"""The JSON Schema of a source file, from which editors complete and check.

Generated from the models: `threadmill schema` prints it. Where a number
or a text with a unit is wanted, a reference such as `${RATE}` will do.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from pipelines.config.source import Source

NAME = r"^[a-z][a-z0-9_]{0,62}$"
_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
_TEXT: dict[str, Any] = {"type": "string"}
_NUMBER = {"type": "integer"}
_LIST = {"type": "array"}
_SHORT: dict[str, dict[str, dict[str, Any]]] = {
    "Resource": {
        "records": _TEXT,
        "key": _TEXT,
        "partition_by": _TEXT,
        "sort_by": _TEXT,
        "for_each": _LIST,
        "columns.*": {"type": ["string", "null"]},
    },
    "Source": {"timeout": _TEXT, "allow_hosts.*": _TEXT},
    "ErrorRule": {"status": _NUMBER},
    "Expectation": {"unique": _TEXT, "not_null": _TEXT},
    "Incremental": {"start": _NUMBER, "end": _NUMBER},
}
"""The short spellings that the models accept besides their full form; `.*` is each value of a mapping or list."""


@lru_cache(maxsize=1)
def json_schema() -> dict[str, Any]:
    """The schema of one `config/<source>.yaml`."""
    schema = Source.model_json_schema(mode="validation")
    definitions = schema["$defs"]
    properties = schema["properties"]
    _accept_short_spellings({**definitions, "Source": schema})
    properties["source"] |= {"pattern": NAME}
    properties["resources"] |= {"propertyNames": {"pattern": NAME}, "minProperties": 1}
    definitions["Defaults"] = {key: value for key, value in definitions["Resource"].items() if key != "required"}
    properties["defaults"] = {"$ref": "#/$defs/Defaults", "description": properties["defaults"]["description"]}
    accepting: dict[str, Any] = _accept_references(schema)
    accepting["$defs"]["Reference"] = _REFERENCE
    title = {"$schema": GenerateJsonSchema.schema_dialect, "title": "A Threadmill source"}
    return title | {key: value for key, value in accepting.items() if key != "title"}


def schema_text() -> str:
    """The committed form: indented, ending in a newline."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _accept_short_spellings(definitions: dict[str, Any]) -> None:
    for model, spellings in _SHORT.items():
        for spelling, short in spellings.items():
            name, _, each = spelling.partition(".")
            holder, key = definitions[model]["properties"], name
            if each:
                holder = holder[name]
                key = "items" if holder["type"] == "array" else "additionalProperties"
            full = holder[key]
            notes = {word: full[word] for word in ("description", "default") if word in full}
            rest = {word: value for word, value in full.items() if word not in (*notes, "title")}
            holder[key] = {**notes, "anyOf": [short, rest]}


def _accept_references(node: Any) -> Any:
    """*node* with each number, flag and patterned text widened by a reference."""
    if isinstance(node, list):
        return [_accept_references(item) for item in node]
    if not isinstance(node, dict):
        return node
    patterned = node.get("type") == "string" and "pattern" in node
    if node.get("type") in ("integer", "number", "boolean") or patterned:
        notes = {key: node[key] for key in ("description", "default") if key in node}
        plain = {key: value for key, value in node.items() if key not in (*notes, "title")}
        return {**notes, "anyOf": [plain, {"$ref": "#/$defs/Reference"}]}
    return {key: value if key == "propertyNames" else _accept_references(value) for key, value in node.items()}


if __name__ == "__main__":
    sys.stdout.write(schema_text())
