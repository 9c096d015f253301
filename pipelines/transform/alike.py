"""Pages whose records are all written alike, read a column at a time, as bytes.

Programs write one record like the other: the same keys in the same order, with
the same spaces. Then only values differ, and what stands between two values is
the same in every record. `form_of` learns it from the first record, `Places`
finds the values of all the others, and `octets` reads a column of them at once:
no value becomes a Python object, which is most of what decoding costs.

Nothing is taken on trust. What stands before each value is compared with the
first record's, and each value is checked as what its column holds, so every
byte of a page is accounted for. What deviates raises `Unlike`: msgspec reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.transform.octets import columns_of
from pipelines.transform.places import Form, Places, Unlike

if TYPE_CHECKING:
    import pyarrow as pa

Path = tuple[str, ...]
Buffer = bytes | memoryview
_OPEN, _SHUT = b"[]"
_SPACES = b" \t\r\n"
_LONGEST_RECORD = 1 << 16
_WHITE = rb"[ \t\r\n]*"
_KEY = re.compile(_WHITE + rb'"([^"\\\x00-\x1f]+)":' + _WHITE)
_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null')
_NEXT = re.compile(_WHITE + b",")
_CLOSE = re.compile(_WHITE + rb"\}")
_BETWEEN = re.compile(_WHITE + b"," + _WHITE)


def read_alike(
    pages: Sequence[Buffer], words: Mapping[Path, object], form: Form | None = None
) -> tuple[dict[Path, pa.Array], list[int], Form]:
    """The values at each path of *words*, how many records each of *pages* has, and how these are written.

    A page is a JSON array of objects. *words* says what the values are: int, float, str, bool,
    or None for null alone; null may stand for any. Integers come as int64, times as text.
    The *form* of earlier pages spares a look at the first record.

    Raises:
        Unlike: The pages are for another reader: one that takes every JSON, or tells what is wrong.
    """
    inner = list(map(_inner, pages))
    form = form or _Learned(bytes(next(filter(None, inner), b"")[:_LONGEST_RECORD])).form()
    if set(form.paths) != words.keys():
        raise Unlike
    places = Places.of(inner, form)
    columns = columns_of(places, [words[path] for path in form.paths])
    return dict(zip(form.paths, columns, strict=True)), places.rows_of(inner), form


def _inner(page: Buffer) -> memoryview:
    """What is between the brackets of an array, without the white space at both ends."""
    view = memoryview(page)
    begin, end = 1, len(view) - 1
    if end < begin or view[0] != _OPEN or view[end] != _SHUT:
        raise Unlike
    while begin < end and view[begin] in _SPACES:
        begin += 1
    while begin < end and view[end - 1] in _SPACES:
        end -= 1
    return view[begin:end]


class _Learned:
    """The form of a record, as far as it was read."""

    def __init__(self, text: bytes) -> None:
        """Read the record that *text* begins with."""
        self.text = text
        self.paths: list[Path] = []
        self.before: list[bytes] = []
        self.keys: list[int] = []
        self.opened: list[Path] = []
        self.ended = self.count = 0
        self.at = self._object((), 1) if text[:1] == b"{" else 0
        known = {*self.paths, *self.opened}
        if not self.at or not self.paths or len(known) < len(self.paths) + len(self.opened):
            raise Unlike

    def form(self) -> Form:
        """What is the same in every record."""
        between = _BETWEEN.match(self.text, self.at)
        after, comma = self.text[self.ended : self.at], between[0] if between else b","
        before = (after + comma + self.before[0], *self.before[1:])
        return Form(tuple(self.paths), before, tuple(self.keys), self.count, after, comma)

    def _object(self, above: Path, at: int) -> int:
        """Read the fields of an object from *at* on; the place after it."""
        while True:
            key = _KEY.match(self.text, at)
            if key is None:
                raise Unlike
            path = (*above, key[1].decode("utf-8", "replace"))
            self.count += 1
            at = self._value(path, key.end())
            if close := _CLOSE.match(self.text, at):
                return close.end()
            following = _NEXT.match(self.text, at)
            if following is None:
                raise Unlike
            at = following.end()

    def _value(self, path: Path, at: int) -> int:
        if self.text[at : at + 1] == b"{":
            self.opened.append(path)
            return self._object(path, at + 1)
        value = _VALUE.match(self.text, at)
        if value is None:
            raise Unlike
        self.paths.append(path)
        self.before.append(self.text[self.ended : at])
        self.keys.append(self.count - 1)
        self.ended = value.end()
        return value.end()
