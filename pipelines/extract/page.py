"""What came back: a frozen value that paginators read.

A page's records are not parsed where it was fetched: `find` walks to the few
fields that paging needs and skips the rest of the body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
from msgspec import Struct, field

from pipelines.batch import Json, digest
from pipelines.envelope import (
    Level,
    around,
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
from pipelines.extract.request import Request
from pipelines.records import Format, Records, find, parse, root_names

_STEPS = re.compile(r"^(?:[A-Za-z_]\w*|\[\d+\])(?:\.[A-Za-z_]\w*|\[\d+\])*$", re.ASCII)
_STEP = re.compile(r"[A-Za-z_]\w*|\d+", re.ASCII)
_LINK = re.compile(r'<([^>]*)>((?:[^<"]|"(?:\\.|[^"\\])*"?)*)')
_ATTRIBUTE = re.compile(r""";\s*([^\s=;,"]+)\s*=\s*("(?:\\.|[^"\\])*"?|'[^']*'|[^;,"]*)""")


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
        plain = None if self._around is None else list_in(self.body, self.records.rows)
        if plain is not None:
            return digest(plain)
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
