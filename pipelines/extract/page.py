"""What is asked and what came back: frozen values that paginators read.

A page's records are not parsed where it was fetched: `find` walks to the few
fields that paging needs and skips the rest of the body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pipelines.batch import Json, digest
from pipelines.envelope import (
    Level,
    around,
    dumps,
    holds_nothing,
    inner,
    is_empty_list,
    is_list,
    list_in,
    loads,
    mentions,
    outer,
)
from pipelines.errors import DecodeError
from pipelines.records import Format, Records, find, parse, root_names

_ABSOLUTE = ("http://", "https://")
_STEPS = re.compile(r"^(?:[A-Za-z_]\w*|\[\d+\])(?:\.[A-Za-z_]\w*|\[\d+\])*$", re.ASCII)
_STEP = re.compile(r"[A-Za-z_]\w*|\d+", re.ASCII)
_LINK = re.compile(r'<([^>]*)>((?:[^<"]|"(?:\\.|[^"\\])*"?)*)')
_ATTRIBUTE = re.compile(r""";\s*([^\s=;,"]+)\s*=\s*("(?:\\.|[^"\\])*"?|'[^']*'|[^;,"]*)""")


class Request(Struct, frozen=True):
    """One question to the API, without what the connection adds (credentials, common headers).

    `url` is absolute and in the configured origin; a followed link keeps its query there.
    """

    method: str
    url: str
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    home: str = ""
    """The origin that the file names for it, in the resource's own `path`."""

    @property
    def fingerprint(self) -> str:
        """Equal for two requests that ask the same."""
        return digest(dumps([self.method, self.url, self.params, self.headers, (self.body or b"").hex()]))

    @property
    def full_url(self) -> str:
        """The URL with its query."""
        if not self.params:
            return self.url
        return f"{self.url}{'&' if '?' in self.url else '?'}{urlencode(self.params)}"

    @property
    def safe_url(self) -> str:
        """The URL for messages: no query, no user."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def param(self, name: str) -> str | None:
        """The value of the query parameter *name*."""
        for key, value in (*self.params, *parse_qsl(urlsplit(self.url).query)):
            if key == name:
                return value
        return None

    def with_params(self, params: Mapping[str, Json]) -> Request:
        """The same request with *params* set; a None takes its parameter away."""
        kept = tuple(pair for pair in self.params if pair[0] not in params)
        return replace(
            self, params=kept + tuple((key, text(value)) for key, value in params.items() if value is not None)
        )

    def with_header(self, name: str, value: str) -> Request:
        """The same request with one header set."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=(*kept, (name, value)))

    def with_field(self, path: str, value: Json) -> Request:
        """The same request with the field at the dotted *path* of its JSON body set."""
        document = loads(self.body) if self.body else {}
        level = document
        *above, last = path.split(".")
        for name in above:
            level = level.setdefault(name, {})
        level[last] = value
        return replace(self, body=dumps(document))

    def field(self, path: str) -> Json:
        """The field at the dotted *path* of the JSON body."""
        return find(loads(self.body), path) if self.body else None

    def with_link(self, link: str) -> Request:
        """Follow *link*, which may be relative; its query replaces the parameters."""
        link = link.strip()
        url = (link if link.startswith(_ABSOLUTE) else urljoin(self.full_url, link)).partition("#")[0]
        return replace(self, url=quote(url, safe="%/:=&?~+!$,;'@()*[]"), params=())


class Page(Struct, frozen=True, dict=True):
    """One complete answer; what it holds is looked at only when asked for."""

    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes
    records: Records = field(default_factory=Records)
    format: Format = "json"
    skipped: bool = False
    """A rule took the answer for an empty page."""
    splits: bool = False
    """A rule says that the API does not answer for so long a window."""

    @cached_property
    def document(self) -> Json:
        """The whole answer, parsed."""
        return parse(self.body, self.format)

    @property
    def is_empty_body(self) -> bool:
        """No content at all: an empty page."""
        return self.skipped or self.status == 204 or not self.body or self.body.isspace()

    def find(self, path: str) -> Json:
        """The value at JMESPath *path*, or None; only the needed fields of the body are parsed."""
        if self.format != "json" or self.is_empty_body:
            return None
        names = root_names(path)
        if names is not None and self._tells(names):
            return find(self._around, path)
        if _STEPS.match(path):
            raw = self._walk(path)
            return None if raw is None else loads(memoryview(raw))
        if names is None or not isinstance(self._outer, dict):
            return find(self.document, path)
        known = {name: memoryview(self._outer[name]) for name in names if name in self._outer}
        return find({name: loads(raw) for name, raw in known.items()}, path)

    def header(self, name: str) -> str | None:
        """A response header by its name in any case."""
        return self.headers.get(name.lower())

    def link(self, relation: str) -> str | None:
        """The target of the `Link` header with *relation* in any case (RFC 8288), quoted or not."""
        for target, attributes in _LINK.findall(self.header("link") or ""):
            named = [value for name, value in _ATTRIBUTE.findall(attributes) if name.lower() == "rel"]
            relations = named[0].strip("\"'").lower().split() if named else ()  # of two `rel` the first counts
            if relation.lower() in relations:
                return str(target)
        return None

    @cached_property
    def count(self) -> int:
        """How many records the page holds.

        Raises:
            RecordsMissing: There is no list of records where `records` points.
            DecodeError: The body is not what `format` says.
        """
        if self.is_empty_body:
            return 0
        rows = self._raw_rows
        return len(self.records.select(self.document)) if rows is None else len(rows)

    @cached_property
    def records_digest(self) -> str:
        """Names the records alone: equal for pages that differ only in what is around them."""
        if self._around is not None:
            return digest(list_in(self.body, self.records.rows))
        raw = self._walk(self.records.rows) if self.format == "json" and _STEPS.match(self.records.rows) else None
        return digest(self.body if raw is None else memoryview(raw))

    @property
    def is_empty(self) -> bool:
        """Whether the page holds no record; cheaper than to count them."""
        if self._is_whole_list:
            return holds_nothing(self.body)
        return self.count == 0 if self._around is None else is_empty_list(self.body, self.records.rows)

    @property
    def edges(self) -> tuple[str, str]:
        """Digests of the first and the last record; empty where they cannot be told."""
        rows = None if self.is_empty_body else self._raw_rows
        return (digest(memoryview(rows[0])), digest(memoryview(rows[-1]))) if rows else ("", "")

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """Digests of all records, in order; none where they cannot be told."""
        rows = None if self.is_empty_body else self._raw_rows
        return tuple(digest(memoryview(row)) for row in rows or ())

    def identities(self, key: Sequence[str]) -> list[str]:
        """What tells each record from others: its values at the dotted paths *key*; its digest where one is null."""
        if not key:
            return list(self.digests)
        found = ([_field(record, path) for path in key] for record in self.rows())
        return [repr(one) if None not in one else whole for one, whole in zip(found, self.digests, strict=True)]

    @property
    def last_record(self) -> dict[str, Json] | None:
        """The page's last record, parsed alone."""
        if self.count == 0:
            return None
        rows = self._raw_rows
        record = self.records.select(self.document)[-1] if rows is None else loads(memoryview(rows[-1]))
        return record if isinstance(record, dict) else None

    def rows(self) -> list[dict[str, Json]]:
        """All records, parsed; for parents of other resources."""
        return [] if self.is_empty_body else self.records.select(self.document)

    def check(self) -> None:
        """Find the list of records without parsing it.

        Raises:
            RecordsMissing: There is no list of records where `records` points.
            DecodeError: The body is not what `format` says.
        """
        if self.is_empty_body:
            return
        if self.format != "json":
            self.records.select(self.document)
        elif not self._is_plain_list:
            _ = self.count

    @property
    def _is_plain_list(self) -> bool:
        records = self.records
        if records.columns or records.entries or records.single:
            return False
        if self._is_whole_list or self._around is not None:
            return True
        if records.rows == "@":
            return isinstance(self._outer, list)
        raw = self._walk(records.rows) if _STEPS.match(records.rows) else None
        return raw is not None and bytes(memoryview(raw)[:1]) == b"["

    @cached_property
    def _is_whole_list(self) -> bool:
        """The body is the list of records, and not scanned to see it: the worker reads every byte of it."""
        records = self.records
        if self.format != "json" or records.rows != "@" or records.columns or records.entries or records.single:
            return False
        return not self.is_empty_body and is_list(self.body)

    @cached_property
    def _raw_rows(self) -> list[Any] | None:
        if self.format != "json" or not self._is_plain_list:
            return None
        if self.records.rows == "@":
            return self._outer if isinstance(self._outer, list) else None
        raw = self._walk(self.records.rows)
        rows = None if raw is None else inner(raw)
        return rows if isinstance(rows, list) else None

    @cached_property
    def _around(self) -> dict[str, Json] | None:
        records = self.records
        if self.format != "json" or records.columns or records.entries or not records.rows.isidentifier():
            return None
        return around(self.body, records.rows)

    @cached_property
    def _outer(self) -> Level | None:
        body = self.body.removeprefix(b"\xef\xbb\xbf")
        try:
            return outer(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if isinstance(parse(self.body, self.format), dict | list):
                raise DecodeError("the answer is JSON that two parsers read differently", "look at the body") from None
            return None

    def _tells(self, names: frozenset[str]) -> bool:
        """Whether what is around the records says all there is to say about *names*."""
        known = self._around
        if known is None or self.records.rows in names:
            return False
        return all(name in known or not mentions(self.body, name) for name in names)

    def _walk(self, path: str) -> Any:
        level: Any = self._outer
        raw: Any = None
        for number, step in enumerate(_STEP.findall(path)):
            if number:
                level = inner(raw)
            try:
                raw = level[int(step)] if isinstance(level, list) and step.isdigit() else level[step]
            except (KeyError, IndexError, TypeError):
                return None
        return raw


def _field(record: Json, path: str) -> Json:
    for name in path.split("."):
        record = record.get(name) if isinstance(record, dict) else None
    return record


def text(value: Json) -> str:
    """A parameter's value as it stands in a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
