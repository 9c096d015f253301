"""What is wrong with a configuration, said by file, line and dotted path.

All problems of all files are collected and raised as one `ConfigError`, so that
a user repairs them in one go. The words a message suggests come from the JSON
Schema, the same that editors complete from.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from pipelines.batch import Json
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Keys = tuple[str | int, ...]
"""The way from the top of a file to one value."""

_WANTED = {
    "string_type": "needs text",
    "int_type": "needs a whole number",
    "int_parsing": "needs a whole number",
    "int_from_float": "needs a whole number",
    "float_type": "needs a number",
    "float_parsing": "needs a number",
    "bool_type": "needs true or false",
    "bool_parsing": "needs true or false",
    "list_type": "needs a list",
    "tuple_type": "needs a list",
    "set_type": "needs a list",
    "dict_type": "needs a mapping",
    "model_type": "needs a mapping",
    "model_attributes_type": "needs a mapping",
    "none_required": "needs null",
}


class Problem(Struct, frozen=True, order=True):
    """One thing to repair: `config/shop.yaml:12: resources.orders.path: is required`."""

    path: str
    line: int
    where: str
    what: str

    def __str__(self) -> str:
        return ": ".join(text for text in (f"{self.path}:{self.line}", self.where, self.what) if text)


class Document(Struct, frozen=True):
    """One file's data, and where in the file each value stands.

    `moved` tells where values come from that the file says elsewhere, such as
    `defaults` that became part of a resource.
    """

    path: Path
    data: Json
    lines: dict[Keys, int]
    moved: dict[Keys, Keys] = field(default_factory=dict)

    def written(self, keys: Keys) -> Keys:
        """The place in the file of the value at *keys*."""
        for size in range(len(keys), 0, -1):
            if keys[:size] in self.moved:
                return self.moved[keys[:size]] + keys[size:]
        return keys

    def line(self, keys: Keys) -> int:
        """The line of *keys*, or of the nearest enclosing value."""
        place = self.written(keys)
        return next((self.lines[place[:size]] for size in range(len(place), -1, -1) if place[:size] in self.lines), 1)

    def problem(self, keys: Keys, what: str) -> Problem:
        """Say *what* is wrong at *keys*."""
        return Problem(str(self.path), self.line(keys), dotted(self.written(keys)), what)


def refuse(problems: Iterable[Problem]) -> ConfigError:
    """One error that lists all *problems*, in the order of the files."""
    lines = [str(problem) for problem in sorted(set(problems))]
    repair = "correct this line" if len(lines) == 1 else f"correct these {len(lines)} lines"
    return ConfigError("\n".join(lines), f"{repair}, then run `threadmill check`")


def dotted(keys: Keys) -> str:
    """`resources.orders.key[0]` for a way of keys."""
    text = ""
    for key in keys:
        shown = key if isinstance(key, int) or _is_readable(key) else repr(key)
        text += f"[{shown}]" if isinstance(key, int) else f".{shown}" if text else str(shown)
    return text


def _is_readable(key: str) -> bool:
    return key.isprintable() and any(map(str.isalnum, key))


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean paginate?)`, or nothing when no known word is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def explain(error: ValidationError, document: Document, *, prefix: Keys, schema: Json) -> Iterator[Problem]:
    """The problems that a model found in the part of *document* at *prefix*.

    A value that fits none of several forms fails once for each; what was found
    deepest inside it is what its author meant.
    """
    found = [(_keys(prefix + item["loc"], document.data, item["type"]), item) for item in error.errors()]
    places = {keys for keys, _ in found}
    for keys, item in found:
        if item["type"] in _WANTED and any(len(keys) < len(place) and place[: len(keys)] == keys for place in places):
            continue
        yield document.problem(keys, _what(item, keys, document.data, schema))


def _keys(location: Keys, data: Json, kind: str) -> Keys:
    """The keys of *location* that the file has; pydantic puts names of types between them."""
    keys: list[str | int] = []
    for position, part in enumerate(location):
        if _has(data, part):
            data = data[part]
        elif kind != "missing" or position < len(location) - 1:
            continue
        keys.append(part)
    return tuple(keys)


def _has(data: Json, key: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(key, int) and key < len(data)
    return isinstance(data, dict) and key in data


def _what(item: ErrorDetails, keys: Keys, data: Json, schema: Json) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        known = known_keys(schema, keys[:-1])
        comma = " (a text with a comma needs quotes)" if " " in str(keys[-1]) else ""
        meant = "" if comma else nearest(str(keys[-1]), known)
        return f"unknown key{meant}" if meant else f"unknown key{comma}; known: {', '.join(known)}"
    if kind == "missing":
        return "is required"
    given = _given(keys, data)
    if kind in _WANTED:
        quotes = "; put it in quotes" if kind == "string_type" and given[1:2].isdigit() else ""
        return f"{_WANTED[kind]}{given and f', not {given.strip()}'}{quotes}"
    if kind == "literal_error":
        close = nearest(given.strip(" '"), _quoted(str(context["expected"])))
        return f"needs {str(context['expected']).replace(chr(39), '')}{given and f', not {given.strip()}'}{close}"
    told = item["msg"].partition("\n")[0].removeprefix("Value error, ").replace("Input should", "should")
    if "words" in context:
        return told + nearest(str(context.get("word", "")), context["words"])
    return told if kind == "value_error" else f"{told}{given and f', not {given.strip()}'}"


def _quoted(text: str) -> list[str]:
    return text.split("'")[1::2]


def _given(keys: Keys, data: Json) -> str:
    """The value at *keys* as the file has it, after a space; nothing where it could be a secret or is long."""
    if "auth" in keys or "headers" in keys:
        return ""
    for key in keys:
        if not _has(data, key):
            return ""
        data = data[key]
    if isinstance(data, dict | list):
        return " a mapping" if isinstance(data, dict) else " a list"
    shown = json.dumps(data, ensure_ascii=False).replace('"', "'")
    return f" {shown}" if len(shown) <= 60 else ""


def known_keys(schema: Json, keys: Keys) -> list[str]:
    """The keys that JSON Schema *schema* allows in the mapping at *keys*."""
    here = [schema]
    for key in keys:
        here = [child for node in here for form in _forms(node, schema) for child in _below(form, key)]
    return sorted({name for node in here for form in _forms(node, schema) for name in form.get("properties", {})})


def _forms(node: Json, schema: Json) -> Iterator[dict[str, Any]]:
    """The alternatives of *node*, references followed."""
    if "$ref" in node:
        yield from _forms(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    for word in ("anyOf", "oneOf", "allOf"):
        for form in node.get(word, ()):
            yield from _forms(form, schema)
    yield node


def _below(form: dict[str, Any], key: str | int) -> Iterator[Json]:
    if isinstance(key, int):
        if isinstance(form.get("items"), dict):
            yield form["items"]
    elif key in form.get("properties", {}):
        yield form["properties"][key]
    elif isinstance(form.get("additionalProperties"), dict):
        yield form["additionalProperties"]
