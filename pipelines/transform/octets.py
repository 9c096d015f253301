"""Columns of values, from the bytes of a JSON text to Arrow.

Eight digits become a number in three multiplications on a word of 64 bits, as
in D. Lemire, "SWAR explained: parsing eight digits" (2022), here for a whole
column at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.transform.packing import plain_array
from pipelines.transform.places import WORD, Mask, Offsets, Places, Unlike, Words

Numbers = npt.NDArray[np.int64] | npt.NDArray[np.int32]
_QUOTE, _BACKSLASH, _MINUS = b'"\\-'
_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_BEYOND_NINE = _U(0x7676767676767676)
_HIGH_BITS = _U(0x8080808080808080)
_PAIRS = _U(0x000000FF000000FF)
_HUNDREDS, _MILLIONS = _U(100 + (1_000_000 << 32)), _U(1 + (10_000 << 32))
_EIGHT_DIGITS = _U(10**8)
_SMALLEST = np.array([2**63, 0, *(10**digits for digits in range(1, 2 * WORD))], np.uint64)
"""The smallest number of so many digits: one that is less has zeros in front, or no digit at all."""
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
    columns |= zip(integers, _integers(places, integers), strict=True)
    for column, word in enumerate(words):
        if word is bool:
            columns[column] = _booleans(places, column)
        elif word is None:
            columns[column] = _nothing(places, column)
        elif word is float:
            columns[column] = _parsed(places, column, float, pa.float64())
    return [columns[column] for column in range(len(words))]


def _integers(places: Places, columns: list[int]) -> list[pa.Array]:
    """Integers of up to sixteen characters all at once; a column with longer ones value by value."""
    longest = places.sizes[columns].max(axis=1, initial=0)
    found: dict[int, pa.Array] = {}
    for least, most in ((0, WORD), (WORD, 2 * WORD)):
        of_size = [column for column, size in zip(columns, longest, strict=True) if least < size <= most]
        if of_size:
            found |= zip(of_size, _short_integers(places, of_size, most), strict=True)
    return [found[one] if one in found else _parsed(places, one, int, pa.int64()) for one in columns]


def _short_integers(places: Places, columns: list[int], most: int) -> list[pa.Array]:
    """Integers of at most *most* characters, which are eight or sixteen."""
    nulls, sizes, heads = places.nulls[columns], places.sizes[columns], places.heads[columns]
    minus = (heads & _FIRST) == _MINUS
    any_null, any_minus = nulls.any(), minus.any()
    heads ^= _ZEROS
    if any_minus:
        heads ^= minus * _U(_MINUS ^ ord("0"))
    heads[nulls] = 0
    if most == WORD:
        numbers = _number(_at_the_end(heads, sizes))
    else:
        short = sizes <= WORD
        tails = np.ndarray((len(places.text) - WORD + 1,), "<u8", places.text, strides=(1,))[
            places.ends[columns] - WORD
        ]
        numbers = _number(np.where(short, _at_the_end(heads, np.minimum(sizes, WORD)), tails ^ _ZEROS))
        numbers += _number(_at_the_end(heads, np.where(short, 0, sizes - WORD))) * _EIGHT_DIGITS
    padded = numbers < _SMALLEST[sizes - minus if any_minus else sizes]
    if (padded & ~nulls if any_null else padded).any():
        raise Unlike
    signed = numbers.view(np.int64)
    if any_minus:
        np.negative(signed, out=signed, where=minus)
    return _columns(pa.int64(), signed, nulls)


def _at_the_end(digits: Words, sizes: Offsets) -> Words:
    """The first *sizes* bytes of each word as its last ones, zeros before: of the digits `17` and more, `00000017`."""
    bits: Words = _U(64) - (sizes.view(np.uint64) << _U(3))
    return np.left_shift(digits, bits, out=bits)


def _number(digits: Words) -> Words:
    """The numbers that words of eight digits (0 to 9, not their characters) say; *digits* is used up.

    Raises:
        Unlike: A byte is no digit.
    """
    other = digits + _BEYOND_NINE
    other |= digits
    if np.bitwise_or.reduce(other, axis=None) & _HIGH_BITS:
        raise Unlike
    pairs = np.right_shift(digits, _U(8), out=other)
    digits *= _U(10)
    digits += pairs
    others = np.right_shift(digits, _U(16), out=other)
    digits &= _PAIRS
    digits *= _HUNDREDS
    others &= _PAIRS
    others *= _MILLIONS
    digits += others
    return np.right_shift(digits, _U(32), out=digits)


def _columns(kind: pa.DataType, values: Numbers, nulls: Mask) -> list[pa.Array]:
    """Rows of numbers, each as a column, without copying them."""
    data, rows = pa.py_buffer(values), values.shape[1]
    columns = []
    for place, count in enumerate(np.count_nonzero(nulls, axis=1).tolist()):
        validity = pa.py_buffer(np.packbits(~nulls[place], bitorder="little")) if count else None
        numbers = data.slice(place * rows * values.itemsize, rows * values.itemsize)
        columns.append(pa.Array.from_buffers(kind, rows, [validity, numbers], count))
    return columns


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
    """Strings of all columns at once, out of the text itself, without what only a parser reads."""
    rows, nulls = places.rows, places.nulls[columns]
    starts, ends = places.starts[columns], places.ends[columns]
    quoted = (places.heads[columns] & _FIRST) == _QUOTE
    quoted &= places.octets[ends - 1] == _QUOTE
    quoted &= places.sizes[columns] > 1
    if not (quoted | nulls).all():
        raise Unlike
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
    (places_of_all,) = _columns(pa.int32(), which.reshape(1, -1), nulls.reshape(1, -1))
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


def _parsed(places: Places, column: int, word: type, kind: pa.DataType) -> pa.Array:
    """Values that msgspec reads as *word*, from an array that has nothing else."""
    array = b"[%b]" % b",".join(places.values(column))
    try:
        values = msgspec.json.decode(array, type=list[word | None])  # type: ignore[valid-type]  # made at run time
    except msgspec.MsgspecError as error:
        raise Unlike from error
    if len(values) != places.rows:
        raise Unlike
    return plain_array(values, kind)
