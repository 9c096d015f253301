"""Which part of an answer holds the records, and how they become rows.

Extraction counts records to know where paging ends; the transform stage turns
them into columns. Both read them through the one `Records` value.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection
from functools import lru_cache
from itertools import zip_longest
from typing import Annotated, Any, Literal

import jmespath
import msgspec
import orjson
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import TYPES_MAP
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipelines.batch import Json
from pipelines.envelope import around, inner, list_in, loads, outer
from pipelines.errors import ConfigError, DecodeError, RecordsMissing, SchemaError
from pipelines.values import Value

Format = Literal["json", "ndjson", "csv"]
_PLAIN_PATH = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
_LEFT_FIRST = frozenset(
    "subexpression index_expression projection filter_projection value_projection flatten pipe".split()  # noqa: SIM905
)
_STEP = re.compile(r"[A-Za-z_]\w*|\d+", re.ASCII)
# a field may be as long as `max_response` lets an answer be; Python's own limit is 131,072 characters
csv.field_size_limit(2**31 - 1)
_LIST_HINT = "point `records` at the list, or say `records: {rows: PATH, single: true}` for one object"
_COMPUTE_HINT = "leave out first what has no such value (data[?price]), or give it one (not_null(price, `0`))"


@lru_cache(maxsize=1024)
def selector(path: str) -> Any:
    """The compiled JMESPath *path*; raises ValueError where it is not one."""
    try:
        return jmespath.compile(path)
    except JMESPathError as error:
        reason = str(error).partition(", for expression")[0]
        raise ValueError(f"{path!r} is not a JMESPath expression: {reason}") from error


def _compiles(path: str) -> str:
    selector(path)
    return path


JmesPath = Annotated[str, AfterValidator(_compiles)]


def find(document: Json, path: str) -> Json:
    """The value at JMESPath *path*, or None.

    Raises:
        DecodeError: A function or comparison meets what it does not take; the message has no value.
        ConfigError: There is no such function, or it takes another number of arguments.
    """
    if path == "@":
        return document
    try:
        return selector(path).search(document)
    except JMESPathTypeError as error:
        met = TYPES_MAP.get(error.actual_type, error.actual_type)
        what = f"{error.function_name}() takes {' or '.join(error.expected_types)}, and meets {met}"
        raise DecodeError(f"{path!r} cannot be computed: {what}", _COMPUTE_HINT) from None
    except JMESPathError as error:
        hint = "JMESPath has the functions of jmespath.org"
        raise ConfigError(f"{path!r} cannot be computed: {error}", hint) from None
    except TypeError as error:  # of a comparison
        raise DecodeError(f"{path!r} cannot be computed: {error}", _COMPUTE_HINT) from None


@lru_cache(maxsize=1024)
def root_names(path: str) -> frozenset[str] | None:
    """The top-level names that *path* looks at; None where it may look at all."""
    return _names(selector(path).parsed)


def _names(node: dict[str, Any]) -> frozenset[str] | None:
    kind, children = node["type"], node["children"]
    if kind == "field":
        return frozenset({node["value"]})
    if kind in ("literal", "expref"):
        return frozenset()
    if kind in _LEFT_FIRST:
        children = children[:1]
    elif kind not in ("comparator", "or_expression", "and_expression", "not_expression", "function_expression"):
        return None
    below = [_names(child) for child in children]
    return None if None in below else frozenset().union(*(names for names in below if names))


class Records(Value):
    """`records: PATH`, `{columns: PATH}` or `{entries: PATH, keys: [...], value: ...}`.

    `rows` points at a list of objects. `columns` at an object of equally long
    arrays (or a list of such objects), zipped to rows. `entries` at an object
    whose keys are data: each level of nesting is named in `keys`, a scalar leaf
    becomes the column `value`, an object leaf is merged into the row.
    """

    rows: str = Field("@", description="JMESPath to the list of records; the whole body by default")
    columns: str | None = Field(None, description="JMESPath to an object of arrays that are zipped to rows")
    entries: str | None = Field(None, description="JMESPath to an object whose keys are data")
    keys: tuple[str, ...] = Field(("key",), description="with entries: the column for each level of keys")
    value: str = Field("value", description="with entries: the column for a scalar leaf")
    single: bool = Field(False, description="accept one object as one record")
    null: Literal["error", "empty"] = Field(
        "error", description="what a null instead of the list means: an error, or an empty list"
    )

    @model_validator(mode="after")
    def _paths_compile(self) -> Records:
        for path in (self.rows, self.columns, self.entries):
            if path is not None:
                selector(path)
        if not self.keys or len(set(self.keys)) < len(self.keys):
            raise ValueError("`keys` names each level of keys once")
        return self

    @property
    def path(self) -> str:
        """The JMESPath that must find something."""
        return self.columns or self.entries or self.rows

    @property
    def is_computed(self) -> bool:
        """Whether records may hold what the path made, by a function or of a literal, and no API sent."""
        return "(" in self.path or "`" in self.path

    def select(self, document: Json) -> list[dict[str, Json]]:
        """The records of a parsed answer, as rows.

        Raises:
            RecordsMissing: Nothing at the path, or something that is no list of objects.
        """
        try:
            found = find(document, self.path)
        except DecodeError as error:
            raise RecordsMissing(f"`records`: {error.message}", error.hint) from None
        if found is None and self.null == "empty":
            return []
        if found is None:
            raise RecordsMissing(f"no records at {self.path!r}: {_outline(document)}", _LIST_HINT)
        if self.columns is not None:
            return [row for block in (found if isinstance(found, list) else [found]) for row in self._zipped(block)]
        if self.entries is not None:
            return self._entries(found, self.keys, {})
        rows = [found] if self.single and isinstance(found, dict) else found
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise RecordsMissing(f"{self.path!r} is not a list of objects but {_outline(found)}", _LIST_HINT)
        return rows

    def slice(self, body: bytes) -> bytes | memoryview | None:
        """The raw JSON array of records inside *body*, without building an object, or a copy where none is needed.

        Where only the text around the list was looked at, damage inside it
        shows when the array is decoded. None where the path is not plain names, or the body is not shaped as it
        says: `select` then finds the records or names what is wrong.
        """
        if self.columns or self.entries or self.single or self.null == "empty":
            return None
        if self.rows == "@" or not _PLAIN_PATH.match(self.rows):
            return body if self.rows == "@" and body.lstrip()[:1] == b"[" else None
        if "." not in self.rows and around(body, self.rows) is not None and (plain := list_in(body, self.rows)):
            return plain
        try:
            raw = body
            for name in self.rows.split("."):
                inside = bytes(_envelope(name).decode(raw).wanted)
                if len(_field(name).findall(raw)) - len(_field(name).findall(inside)) > 1:
                    return None  # a name that comes twice: msgspec takes the last, and the exact reader tells
                raw = inside
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return raw if raw.lstrip()[:1] == b"[" else None

    def leave_out(self, body: bytes, places: Collection[int]) -> bytes:
        """*body* as JSON with its records alone, but for those at *places*; `rows` must be a plain path to a list."""
        steps = _STEP.findall(self.rows)
        level: Any = outer(body.removeprefix(b"\xef\xbb\xbf"))
        for step in steps:
            level = inner(level[int(step)] if isinstance(level, list) else level[step])
        found = b"[" + b",".join(bytes(row) for place, row in enumerate(level) if place not in places) + b"]"
        for step in reversed(steps):
            is_name = not step.isdigit()
            found = b'{"%b":%b}' % (step.encode(), found) if is_name else b"[" + b"null," * int(step) + found + b"]"
        return found

    def _zipped(self, block: Json) -> list[dict[str, Json]]:
        if not isinstance(block, dict) or not all(isinstance(column, list) for column in block.values()):
            raise RecordsMissing(f"{self.path!r} is not an object of arrays but {_outline(block)}", _LIST_HINT)
        if len({len(column) for column in block.values()}) > 1:
            sizes = ", ".join(f"{name}: {len(column)}" for name, column in block.items())
            raise RecordsMissing(f"the arrays at {self.path!r} differ in length ({sizes})", "the answer may be cut")
        return [dict(zip(block, row, strict=True)) for row in zip(*block.values(), strict=True)]

    def _entries(self, level: Json, keys: tuple[str, ...], above: dict[str, str]) -> list[dict[str, Json]]:
        if not isinstance(level, dict):
            raise RecordsMissing(f"{self.path!r} is not an object at the level of {keys[0]!r}", _LIST_HINT)
        rows: list[dict[str, Json]] = []
        for key, below in level.items():
            names = {**above, keys[0]: key}
            if len(keys) > 1:
                rows += self._entries(below, keys[1:], names)
                continue
            leaf = below if isinstance(below, dict) else {self.value: below}
            if hidden := [name for name, text in names.items() if name in leaf and str(leaf[name]) != text]:
                what = f"the records at {self.path!r} have another {hidden[0]!r} than the level that `keys` calls so"
                raise SchemaError(what, "name that level otherwise: `records: {entries: ..., keys: [...]}`")
            rows.append({**names, **leaf})
        return rows


def _as_records(value: object) -> object:
    return {"rows": value} if isinstance(value, str) else value


RecordsField = Annotated[Records, BeforeValidator(_as_records)]


@lru_cache(maxsize=256)
def _field(name: str) -> re.Pattern[bytes]:
    return re.compile(rb'"%b"\s*:' % re.escape(name).encode())


@lru_cache(maxsize=256)
def _envelope(name: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(msgspec.defstruct("Envelope", [("wanted", msgspec.Raw)], rename={"wanted": name}))


def parse(body: bytes, layout: Format) -> Json:
    """The whole answer as Python values; an empty body is an empty list.

    Raises:
        DecodeError: Not valid as *layout*; the message tells where.
        RecordsMissing: A CSV row has more or fewer fields than there are names.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        return []
    try:
        if layout == "csv":
            return _csv_rows(body.decode("utf-8"))
        if layout == "ndjson":
            return [loads(line) for line in body.splitlines() if line.strip()]
        return loads(body)
    except (orjson.JSONDecodeError, UnicodeDecodeError, csv.Error, RecursionError) as error:
        raise DecodeError(f"the answer is not {layout}: {error}", "look at the body, or set `format`") from None


def _csv_rows(text: str) -> list[dict[str, Json]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    names = list(reader.fieldnames or ())
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DecodeError(f"the first line names {twice[:60]!r} twice", "the API must name each column once")
    rows = list(reader) if len(names) > 1 else _one_column(text, names)
    if any(None in row or None in row.values() for row in rows):
        raise RecordsMissing("a CSV row has more or fewer fields than the first line", "the answer may be cut")
    return rows


def _one_column(text: str, names: list[str]) -> list[dict[str, Json]]:
    """The rows of a CSV of one column, in which an empty line before others is an empty value: csv leaves it out."""
    lines = list(csv.reader(io.StringIO(text), strict=True))[1:]
    while lines and not lines[-1]:
        lines.pop()
    return [dict(zip_longest(names, line or [""])) for line in lines]


def _outline(value: Json) -> str:
    """A value's shape in a few words, never its content."""
    if isinstance(value, dict):
        names = ", ".join(list(map(str, value))[:8])
        return f"an object with {names}" if names else "an empty object"
    return f"a list of {len(value)}" if isinstance(value, list) else f"a {type(value).__name__}"
