"""JSON read without losing a digit: the reading that defines what a page says.

Integers keep all their digits, other numbers keep their text. A name that
comes twice in one object, NaN, Infinity and broken UTF-8 are errors.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pipelines.batch import Json, Real
from pipelines.errors import DecodeError

_BOM = b"\xef\xbb\xbf"


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DecodeError(f"an object names {twice[:60]!r} twice", "the API must send each field once")
    return fields


def _no_constant(word: str) -> NoReturn:
    raise DecodeError(f"{word} is not JSON", "ask the API for null instead, or declare the field as a string there")


_UNIQUE = json.JSONDecoder(parse_float=Real, parse_constant=_no_constant, object_pairs_hook=_once)
_LENIENT = json.JSONDecoder(parse_float=Real, parse_constant=_no_constant)


def parse_json(body: bytes, *, unique: bool = True) -> Json:
    """The value of *body*; with *unique* a name that comes twice in an object is an error, else its last value counts.

    Raises:
        DecodeError: It is not JSON; the message says where.
    """
    try:
        return (_UNIQUE if unique else _LENIENT).decode(body.removeprefix(_BOM).decode("utf-8"))
    except RecursionError:
        raise DecodeError("the answer is nested too deeply", "point `records` at the rows") from None
    except ValueError as error:
        raise DecodeError(f"the answer is not JSON: {error}", "look at the body, or set `format`") from None


def parse_lines(body: bytes, *, unique: bool = True) -> list[Json]:
    """The values of newline-delimited JSON; empty lines count for nothing."""
    lines = body.removeprefix(_BOM).split(b"\n")
    return [parse_json(line, unique=unique) for line in lines if line.strip()]


def json_text(value: Json) -> str:
    """Compact JSON of a parsed value, numbers as they were written."""
    if isinstance(value, Real):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_text(name)}:{json_text(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def plain_text(value: Json) -> str:
    """A string as it is, anything else as compact JSON."""
    return value if isinstance(value, str) else json_text(value)


def exact(value: Any) -> Json:
    """A value parsed or computed elsewhere, with its floats, however deep, as `Real`."""
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return Real(repr(value)) if type(value) is float else value
