"""Columns of values, from the bytes of a JSON text to Arrow."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.transform.digits import as_columns, floats_of, integers_of
from pipelines.transform.places import Places, Unlike

_U = np.uint64
_QUOTE, _BACKSLASH = b'"\\'
_MOST_ESCAPED = 0.05
_FIRST, _FOUR = _U(0xFF), _U(0xFFFFFFFF)
_TEXTS = {text: _U(int.from_bytes(text, "little")) for text in (b"true", b"fals")}


def columns_of(places: Places, words: Sequence[object]) -> list[pa.Array]:
    """The values of each column, checked as its one of *words*: int, float, str, bool, or None for null alone.

    Raises:
        Unlike: One is something else.
        UnicodeError: The text is no UTF-8.
    """
    if not places.text.isascii():
        places.text.decode()
    escaped = _Escaped(places, words)
    strings = [column for column, word in enumerate(words) if word is str]
    nulls = places.nulls
    places.refuse_strays(int(np.count_nonzero(~nulls[strings])), escaped.quotes)
    columns = dict(zip(strings, _strings(places, strings, escaped), strict=True)) if strings else {}
    integers = [column for column, word in enumerate(words) if word is int]
    columns |= zip(integers, integers_of(places, integers), strict=True)
    floats = [column for column, word in enumerate(words) if word is float]
    columns |= zip(floats, floats_of(places, floats), strict=True)
    for column, word in enumerate(words):
        if word is bool:
            columns[column] = _booleans(places, column)
        elif word is None:
            columns[column] = _nothing(places, column)
    return [columns[column] for column in range(len(words))]


class _Escaped:
    """Strings with backslashes, which only a parser reads: few, or they are for msgspec altogether."""

    def __init__(self, places: Places, words: Sequence[object]) -> None:
        self.quotes = 0
        self.values: dict[int, dict[int, str]] = {}
        if b"\\" not in places.text:
            return
        in_text = places.starts.T.ravel()
        found = np.flatnonzero(places.octets == _BACKSLASH)
        numbers = np.unique(np.searchsorted(in_text, found, "right") - 1)
        if numbers[0] < 0 or len(numbers) > _MOST_ESCAPED * in_text.size:
            raise Unlike
        for row, column in zip(*(part.tolist() for part in divmod(numbers, len(words))), strict=True):
            text = places.value(column, row)
            if words[column] is not str or text[:1] != b'"':
                raise Unlike
            try:
                value = msgspec.json.decode(text, type=str)
            except msgspec.MsgspecError as error:
                raise Unlike from error
            self.values.setdefault(column, {})[row] = value
            self.quotes += text.count(b'"') - 2


def _strings(places: Places, columns: list[int], escaped: _Escaped) -> list[pa.Array]:
    """Strings out of the text itself, without what only a parser reads."""
    nulls, sizes = places.nulls[columns], places.sizes[columns]
    quoted = (places.heads[columns] & _FIRST) == _QUOTE
    quoted &= places.octets[places.ends[columns] - 1] == _QUOTE
    quoted &= sizes > 1
    if not (quoted | nulls).all():
        raise Unlike
    longest = sizes.max(axis=1)
    even = (longest == sizes.min(axis=1)) & (longest > len(b'""')) & ~nulls.any(axis=1)
    found: dict[int, pa.Array] = {}
    for column, is_even in zip(columns, even.tolist(), strict=True):
        if is_even and column not in escaped.values:
            found[column] = _even_strings(places, column)
    others = [column for column in columns if column not in found]
    found |= zip(others, _other_strings(places, others, escaped), strict=True)
    return [found[column] for column in columns]


def _even_strings(places: Places, column: int) -> pa.Array:
    """Strings all of the same length, as codes and times are."""
    length = int(places.sizes[column, 0]) - len(b'""')
    values = places.windows(length)[places.starts[column] + 1]
    offsets = np.arange(0, (places.rows + 1) * length, length, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), places.rows, [None, pa.py_buffer(offsets), pa.py_buffer(values)], 0)


def _other_strings(places: Places, columns: list[int], escaped: _Escaped) -> list[pa.Array]:
    """Those of any length, of all columns at once."""
    if not columns:
        return []
    rows, nulls = places.rows, places.nulls[columns]
    starts, ends = places.starts[columns], places.ends[columns]
    # the text as strings one after the other: a value, what is between it and the next, a value ...
    offsets = np.empty((rows, len(columns), 2), np.int32)
    offsets[:, :, 0], offsets[:, :, 1] = (starts + 1).T, (ends - 1).T
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(places.text).slice(places.margin)]
    cut = pa.Array.from_buffers(pa.string(), offsets.size - 1, buffers)
    which = np.arange(0, offsets.size, 2, dtype=np.int32).reshape(rows, -1).T.copy()
    parsed: list[str] = []
    for place, column in enumerate(columns):
        found = escaped.values.get(column, {})
        which[place, list(found)] = len(cut) + len(parsed) + np.arange(len(found))
        parsed += found.values()
    if parsed:
        cut = pa.concat_arrays([cut, pa.array(parsed, pa.string())])
    (places_of_all,) = as_columns(pa.int32(), which.reshape(1, -1), nulls.reshape(1, -1))
    values = pc.take(cut, places_of_all, boundscheck=False)
    return [values.slice(place * rows, rows) for place in range(len(columns))]


def _booleans(places: Places, column: int) -> pa.Array:
    heads, sizes, nulls = places.heads[column] & _FOUR, places.sizes[column], places.nulls[column]
    true = (heads == _TEXTS[b"true"]) & (sizes == len(b"true"))
    false = (heads == _TEXTS[b"fals"]) & (sizes == len(b"false"))
    false &= places.octets[places.ends[column] - 1] == ord("e")
    if not (true | false | nulls).all():
        raise Unlike
    return pa.array(true, pa.bool_(), mask=nulls)


def _nothing(places: Places, column: int) -> pa.Array:
    if not places.nulls[column].all():
        raise Unlike
    return pa.nulls(places.rows)
