"""The outer fields of an answer, read without reading its records.

A page of 300 KB costs 1.2 ms to parse and 0.5 ms to scan, both holding the
interpreter's lock; the few bytes around the list of records cost 0.01 ms.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from pipelines.batch import Json

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_NOTHING = re.compile(rb"\s*\]")
_SMALL = 4096
_WIDE = re.compile(rb"\d{19}")
Level = dict[str, Any] | list[Any]


def loads(text: bytes | memoryview) -> Json:
    """The JSON *text* as Python values, integers exact; orjson makes floats of those beyond 64 bits.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
    """
    value = orjson.loads(text)
    return json.loads(bytes(text)) if _WIDE.search(text) else value


def dumps(value: Json, *, sort_keys: bool = False) -> bytes:
    """*value* as compact JSON that `loads` reads as the same; orjson refuses integers beyond 64 bits."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), sort_keys=sort_keys).encode()


def around(body: bytes, name: str) -> dict[str, Json] | None:
    """The fields of the object *body* with the list *name* taken as empty; None where that is unsure.

    Everything from the list's start to the last `]` of the body is left out, so
    a field between two lists may be missing; what is there is right. The text
    before and after must be one JSON object: a nested or misplaced list is not.
    """
    start = _list_start(name).search(body)
    end = body.rfind(b"]")
    if start is None or end < start.end() or len(body) < _SMALL:
        return None
    try:
        document = loads(body[: start.end()] + body[end:])
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) and document.get(name) == [] else None


def is_list(body: bytes) -> bool:
    """Whether *body* is one list, as far as its first and its last byte tell; never where it is small."""
    return len(body) >= _SMALL and body[:64].lstrip()[:1] == b"[" and body[-64:].rstrip()[-1:] == b"]"


def holds_nothing(body: bytes) -> bool:
    """Whether the list *body*, of which `is_list` holds, has nothing in it."""
    return _NOTHING.match(body, body.index(b"[") + 1) is not None


def is_empty_list(body: bytes, name: str) -> bool:
    """Whether the list *name* holds nothing, in a body that `around` could read."""
    start = _list_start(name).search(body)
    return start is not None and _NOTHING.match(body, start.end()) is not None


def list_in(body: bytes, name: str) -> memoryview | None:
    """The list *name* with its brackets, in a body that `around` could read; None where the last `]` may not end it."""
    start, end = _list_start(name).search(body), body.rfind(b"]")
    if start is None or body.find(b"]", start.end(), end) >= 0:
        return None
    return memoryview(body)[start.end() - 1 : end + 1]


def mentions(body: bytes, name: str) -> bool:
    """Whether *name* may be a field anywhere in *body*."""
    return f'"{name}"'.encode() in body or b"\\u" in body


def outer(body: bytes) -> Level:
    """The outermost level of *body*, its values unparsed.

    Raises:
        msgspec.MsgspecError: Not JSON, or neither object nor list.
    """
    return (_ARRAY if body[:64].lstrip()[:1] == b"[" else _OBJECT).decode(body)


def inner(raw: Any) -> Level | None:
    """One level of an unparsed value; None for a scalar."""
    first = bytes(memoryview(raw)[:1])
    if first == b"{":
        return _OBJECT.decode(raw)
    return _ARRAY.decode(raw) if first == b"[" else None


@lru_cache(maxsize=256)
def _list_start(name: str) -> re.Pattern[bytes]:
    return re.compile(rb'"%b"\s*:\s*\[' % re.escape(name).encode())
