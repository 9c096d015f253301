"""Where the records are: the largest list of objects anywhere in the answer.

Also columns instead of rows, and objects whose keys are data. A path is written
as JMESPath, as the file will hold it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct, field

from pipelines.batch import Json
from pipelines.errors import DecodeError, PipelineError, RecordsMissing
from pipelines.extract.page import Page
from pipelines.records import Format, Records, parse

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d(-\d\d)?([T ].*)?")
_CODE = re.compile(r"[A-Z0-9][A-Z0-9_.-]*")
_DEEPEST = 6
_MIXED_LIST = 12
_MUCH_LARGER = 10
_WRAPPERS = ("node", "_source")
"""What search engines and GraphQL connections wrap each record in, besides a score or a cursor."""
_ORDER = {"rows": 0, "columns": 1, "entries": 2}

Kind = Literal["rows", "columns", "entries"]


class Located(Struct, frozen=True):
    """How records are found in an answer, as the file says it, and why."""

    model: Records
    written: Json = None
    """The value of `records`; None where it is the whole body."""

    format: Format = "json"
    why: str = ""
    question: str = ""

    def rows(self, page: Page) -> list[dict[str, Json]]:
        """The records of *page*; none where it is a refusal or holds none."""
        if not 200 <= page.status < 300 or page.is_empty_body:
            return []
        try:
            return self.model.select(parse(page.body, self.format))
        except PipelineError:
            return []

    def around(self, page: Page) -> dict[str, Json]:
        """The scalars of *page* outside its records, by their JMESPath."""
        if self.format != "json":
            return {}
        try:
            return dict(_scalars(parse(page.body, "json"), "", 0))
        except DecodeError:
            return {}


class _Candidate(Struct, frozen=True):
    kind: Kind
    path: str
    rows: int
    keys: tuple[str, ...] = field(default=())


def locate(page: Page) -> Located:
    """Find the records in *page*.

    Raises:
        DecodeError: It is neither JSON nor lines of JSON nor CSV.
    """
    layout = _format(page)
    if layout != "json":
        count = len(parse(page.body, layout))
        return Located(Records(), None, layout, f"the answer is {layout}: {count:,} lines")
    document = parse(page.body, "json")
    found = list(_candidates(document, "", 0))
    if not found:
        return _single(document)
    best = max(found, key=lambda one: (one.rows, -_ORDER[one.kind]))
    lists = [one for one in found if one.kind == "rows" and one.rows]
    largest = max(lists, key=lambda one: one.rows) if lists else None
    return _located(largest if largest and largest.rows * _MUCH_LARGER >= best.rows else best, found)


def joined(path: str, name: str | int) -> str:
    """*path* and one step below it, as JMESPath."""
    if isinstance(name, int):
        return f"{path}[{name}]"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    step = name if _IDENTIFIER.fullmatch(name) else f'"{escaped}"'
    return f"{path}.{step}" if path else step


def _format(page: Page) -> Format:
    sort = (page.header("content-type") or "").lower()
    try:
        if "csv" not in sort:
            parse(page.body, "json")
            return "json"
    except DecodeError:
        pass
    for layout in _line_formats(page.body, is_csv="csv" in sort):
        try:
            if parse(page.body, layout):
                return layout
        except (DecodeError, RecordsMissing):
            continue
    kind = sort.partition(";")[0] or "something"
    raise DecodeError(f"{page.request.safe_url} answered {kind} that is no JSON", "is it the address of the API?")


def _line_formats(body: bytes, *, is_csv: bool) -> Iterator[Format]:
    first = body.lstrip()[:1]
    if first == b"{":
        yield "ndjson"
    elif first != b"<" and (is_csv or b"," in body.partition(b"\n")[0]):
        yield "csv"


def _candidates(value: Json, path: str, depth: int) -> Iterator[_Candidate]:
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        if all(isinstance(item, dict) for item in value):
            wrapper = next(
                (name for name in _WRAPPERS if value and all(isinstance(item.get(name), dict) for item in value)), ""
            )
            yield _Candidate("rows", f"{path}[].{wrapper}" if wrapper else path or "@", len(value))
        elif len(value) <= _MIXED_LIST:
            for number, item in enumerate(value):
                yield from _candidates(item, joined(path, number), depth + 1)
    elif isinstance(value, dict):
        yield from _of_object(value, path)
        for name, item in value.items():
            yield from _candidates(item, joined(path, name), depth + 1)


def _of_object(value: dict[str, Json], path: str) -> Iterator[_Candidate]:
    if len(value) >= 2 and all(isinstance(column, list) and column for column in value.values()):
        lengths = {len(column) for column in value.values()}
        if len(lengths) == 1 and not any(isinstance(item, dict) for column in value.values() for item in column):
            yield _Candidate("columns", path or "@", lengths.pop())
    if keys := _keys(value):
        inner = sum(len(item) for item in value.values()) if len(keys) > 1 else len(value)
        yield _Candidate("entries", path or "@", inner, keys)


def _keys(value: dict[str, Json]) -> tuple[str, ...]:
    """The names of the levels of keys that are data; empty where they are not."""
    outer, items = _sort_of_keys(value), list(value.values())
    if len(value) < 2:
        return (outer,) if outer == "date" and all(isinstance(item, dict) for item in items) and items else ()
    if all(isinstance(item, dict) and item for item in items):
        inner = {_sort_of_keys(item) for item in items}
        if len(inner) == 1 and inner != {""} and all(_are_numbers(item) for item in items):
            return outer or "key", inner.pop()
        alike = len(items) >= 3 and len({tuple(sorted(item)) for item in items}) == 1
        return (outer or "key",) if outer or alike else ()
    return (outer,) if outer and len(items) >= 3 and _are_numbers(value) else ()


def _sort_of_keys(value: dict[str, Json]) -> str:
    if value and all(_DATE.fullmatch(key) for key in value):
        return "date"
    if value and all(key.isdigit() for key in value):
        return "id"
    return "code" if value and all(_CODE.fullmatch(key) for key in value) else ""


def _are_numbers(value: dict[str, Json]) -> bool:
    return all(isinstance(item, int | float) and not isinstance(item, bool) for item in value.values())


def _located(best: _Candidate, found: list[_Candidate]) -> Located:
    others = len([one for one in found if one.kind == "rows" and one.path != best.path])
    if best.kind == "columns":
        why = f"an object of arrays, {best.rows:,} values each: zipped to rows"
        return Located(Records(columns=best.path), {"columns": best.path}, why=why)
    if best.kind == "entries":
        why = f"an object whose keys are data ({', '.join(best.keys)}): {best.rows:,} rows"
        written: Json = {"entries": best.path, "keys": list(best.keys)}
        question = "`records` names the levels of keys: are these the right names for those columns?"
        return Located(Records(entries=best.path, keys=best.keys), written, why=why, question=question)
    why = f"a list of {best.rows:,} objects" + (f", the largest of {others + 1} lists" if others else ", the only list")
    question = "the list is empty: are the parameters right?" if not best.rows else ""
    return Located(Records(rows=best.path), None if best.path == "@" else best.path, why=why, question=question)


def _single(document: Json) -> Located:
    if not isinstance(document, dict):
        raise DecodeError(f"the answer holds no objects but a {type(document).__name__}", "try another address")
    why = "there is no list of objects: the answer is taken as one record"
    question = "is this object one record? if the records are elsewhere, try that address"
    return Located(Records(single=True), {"rows": "@", "single": True}, why=why, question=question)


def _scalars(value: Json, path: str, depth: int) -> Iterator[tuple[str, Json]]:
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        if len(value) <= 200:
            for name, item in value.items():
                yield from _scalars(item, joined(path, name), depth + 1)
    elif isinstance(value, list):
        if len(value) <= _MIXED_LIST and not all(isinstance(item, dict) for item in value):
            for number, item in enumerate(value):
                yield from _scalars(item, joined(path, number), depth + 1)
    elif path:
        yield path, value
