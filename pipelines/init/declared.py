"""Pages as an OpenAPI document declares them: by the names of parameters, of headers and of the answer's fields."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from pipelines.init.answers import bare, named
from pipelines.init.counted import OFFSET_NAMES, PAGE_NAMES
from pipelines.init.followed import leads_back
from pipelines.init.sizes import NAMES as SIZE_NAMES
from pipelines.init.totals import PAGES, TELLING, TOTAL_HEADER, TOTALS
from pipelines.init.writing import Line, Question

_TOKENS = ("cursor", "page_token", "pageToken", "next_token", "after", "starting_after", "continuation", "marker")
PAGING = frozenset({*PAGE_NAMES, *OFFSET_NAMES, *SIZE_NAMES, *_TOKENS})
"""Names of parameters that ask for pages."""
_OF_NO_PAGE = re.compile(r"(sync|access|refresh|auth|csrf|session)")
_DEFAULT_SIZE = 100
Lines = list[Line | Question]


class Listed(Struct, frozen=True):
    """One GET, or one search by POST, that answers with a list; of a search `params` are the fields of its body."""

    verb: str
    name: str
    path: str
    operation: Mapping[str, Any]
    params: Mapping[str, Mapping[str, Any]]
    records: str
    around: Mapping[str, Any]
    item: Mapping[str, Any]
    headers: frozenset[str]


def paginate(one: Listed) -> tuple[Lines, set[str]]:
    """Pagination by the names of parameters and of the answer's fields; what those parameters are called."""
    size_param = next((name for name in SIZE_NAMES if name in one.params), None)
    if "link" in one.headers:
        return [Line("paginate", "link_header", "the answer declares a Link header")], set()
    following = next(
        (path for path in one.around if re.search(r"(^|\.)next(_?(url|link|page_?url))?$", path, re.I)), None
    )
    token = next((name for name in _TOKENS if name in one.params), None)
    source = _next_token(one)
    if token and source:
        told = {"cursor": {"from": source, _key(one, "param"): token}}
        return [Line("paginate", told, f"parameter {token}, and `{source}` in the answer")], {token}
    if following:
        return [Line("paginate", {"next_url": following}, f"`{following}` is in the answer")], set()
    for kind, names, first in (("page_number", PAGE_NAMES, 1), ("offset", OFFSET_NAMES, 0)):
        if param := next((name for name in names if name in one.params), None):
            return _counted(one, kind, param, size_param, first), {param, size_param or param}
    return [Question("`paginate`: the document tells of no pages. Is it one answer? Then say `paginate: none`")], set()


def _next_token(one: Listed) -> str | None:
    """The field with the token of the next page; one that says `next` rather than another."""
    tokens = [path for path in one.around if re.search(r"(cursor|token)$", path, re.I)]
    tokens = [path for path in tokens if not leads_back(path) and not _OF_NO_PAGE.search(bare(path))]
    return min(tokens, key=lambda path: "next" not in path.lower(), default=None)


def _counted(one: Listed, kind: str, param: str, size_param: str | None, first: int) -> Lines:
    told = _schema_of(one.params[param])
    number = told.get("default", told.get("minimum"))
    first = number if isinstance(number, int) and number in (0, 1) else first
    why = "its default or minimum" if isinstance(number, int) else "not declared: the usual one"
    lines: Lines = [Line(_key(one, "param"), param, "a parameter of that name"), Line("first", first, why)]
    if size_param:
        most = _schema_of(one.params[size_param]).get("maximum")
        size = most if isinstance(most, int) and 0 < most <= 10_000 else _DEFAULT_SIZE
        lines.append(Line("size", size, "its maximum" if size == most else "not declared: a guess"))
        lines.append(Line(_key(one, "size_param"), size_param, "a parameter of that name"))
    lines += _total(one)
    pages = next((path for path in one.around if bare(path) in PAGES), None)
    if pages and kind == "page_number":
        return [Line("paginate", below=(Line("total_pages", below=(Line("from", pages, "in the answer"), *lines)),))]
    return [Line("paginate", below=(Line(kind, below=tuple(lines)),))]


def _total(one: Listed) -> Iterator[Line | Question]:
    """What counts all records, by its name; a question where it may as well be those of one page."""
    counts = [path for path, _ in named(one.around, TOTALS) if bare(path) != "value"]
    total = next((path for path in counts if bare(path) in TELLING), None)
    header = next((name for name in sorted(one.headers) if TOTAL_HEADER.fullmatch(name)), None)
    if total:
        yield Line("total", total, "a field of the answer: does it count all records?")
    elif header:
        yield Line("total_header", header, "the answer declares that header: does it count all records?")
    elif counts:
        yield Question(f"does `{counts[0]}` count all records, and not those of a page? Then say `total: {counts[0]}`")


def _key(one: Listed, name: str) -> str:
    """What a paginator calls *name*, such as `param`: it is a `field` in a body."""
    return name.replace("param", "field") if one.verb == "post" else name


def _schema_of(param: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a parameter: its own in OpenAPI 3, the parameter itself in Swagger 2."""
    schema = param.get("schema")
    return schema if isinstance(schema, dict) else param
