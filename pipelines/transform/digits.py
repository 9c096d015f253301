"""Columns of numbers, from the bytes of a JSON text to Arrow.

Eight digits become a number in three multiplications on a word of 64 bits, as
in D. Lemire, "SWAR explained: parsing eight digits" (2022), here for all
columns at once. A decimal fraction is two whole numbers and a division: of
numbers below 2^53 by a power of ten up to 10^22 that gives the nearest float
(W. D. Clinger, "How to read floating point numbers accurately", 1990).
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.transform.packing import plain_array
from pipelines.transform.places import WORD, Mask, Offsets, Places, Unlike, Words

Numbers = npt.NDArray[np.int64] | npt.NDArray[np.int32] | npt.NDArray[np.float64]
_MINUS, _POINT = b"-."
_U = np.uint64
_ZEROS = _U(0x3030303030303030)
_BEYOND_NINE = _U(0x7676767676767676)
_HIGH_BITS, _LOW_BITS = _U(0x8080808080808080), _U(0x0101010101010101)
_POINTS = _U(0x0101010101010101 * (_POINT ^ ord("0")))
_PAIRS = _U(0x000000FF000000FF)
_HUNDREDS, _MILLIONS = _U(100 + (1_000_000 << 32)), _U(1 + (10_000 << 32))
_EIGHT_DIGITS = _U(10**8)
_SMALLEST = np.array([2**63, 0, *(10**digits for digits in range(1, 2 * WORD))], np.uint64)
"""The smallest number of so many digits: one that is less has zeros in front, or no digit at all."""
_TENS = np.array([10**digits for digits in range(WORD + 1)], np.uint64)
_TENS_AS_FLOATS = _TENS.astype(np.float64)
_FIRST = _U(0xFF)
_EXACT = _U(2**53)


def floats_of(places: Places, columns: list[int]) -> list[pa.Array]:
    """Fractions of up to eight characters before the point and eight digits behind it all at once; others by msgspec.

    Raises:
        Unlike: A value is no number.
    """
    found: dict[int, pa.Array] = {}
    for column in columns:
        short = _short_fractions(places, column)
        found[column] = _parsed(places, column, float, pa.float64()) if short is None else short
    return [found[column] for column in columns]


def _short_fractions(places: Places, column: int) -> pa.Array | None:
    """None where some are longer, or written with an exponent; then only a parser tells what is a number."""
    nulls, sizes = places.nulls[column], places.sizes[column]
    minus = (places.heads[column] & _FIRST) == _MINUS
    heads = places.heads[column] ^ _ZEROS
    heads ^= minus * _U(_MINUS ^ ord("0"))
    point = np.minimum(_where_point(heads), sizes)
    behind = np.maximum(sizes - point - 1, 0)
    heads[nulls], point[nulls], behind[nulls] = 0, 1, 0
    has_point = (point < sizes) & ~nulls
    ends = places.starts[column] + point
    if behind.max() > WORD or (has_point & (places.octets[ends] != _POINT)).any():
        return None
    fraction = np.where(has_point, places.words[ends + has_point] ^ _ZEROS, 0)
    try:
        whole = _number(_at_the_end(heads, point))
        parts = _number(_at_the_end(fraction, behind))
    except Unlike:
        return None
    # zeros before, no digit before the point, none behind it, or more digits than a float has
    odd = (whole < _SMALLEST[point - minus]) | (has_point & (behind == 0))
    digits = whole * _TENS[behind] + parts
    if ((odd | (digits >= _EXACT)) & ~nulls).any():
        return None
    values = digits / _TENS_AS_FLOATS[behind]
    # `-0` is an integer, and no integer is less than nothing; `-0.0` is
    np.negative(values, out=values, where=minus & (has_point | (digits > 0)))
    (array,) = as_columns(pa.float64(), values.reshape(1, -1), nulls.reshape(1, -1))
    return array


def _where_point(heads: Words) -> Offsets:
    """Where the first point is in each word (digits 0 to 9, not their characters); 8 where there is none."""
    others = heads ^ _POINTS
    found = (others - _LOW_BITS) & ~others & _HIGH_BITS
    below = (found & (~found + _U(1))) - _U(1)
    return (np.bitwise_count(below) >> 3).astype(np.int64)


def integers_of(places: Places, columns: list[int]) -> list[pa.Array]:
    """Integers of up to sixteen characters all at once; a column with longer ones by msgspec.

    Raises:
        Unlike: A value is no integer.
    """
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
        tails = places.words[places.ends[columns] - WORD]
        numbers = _number(np.where(short, _at_the_end(heads, np.minimum(sizes, WORD)), tails ^ _ZEROS))
        numbers += _number(_at_the_end(heads, np.where(short, 0, sizes - WORD))) * _EIGHT_DIGITS
    padded = numbers < _SMALLEST[sizes - minus if any_minus else sizes]
    if (padded & ~nulls if any_null else padded).any():
        raise Unlike
    signed = numbers.view(np.int64)
    if any_minus:
        np.negative(signed, out=signed, where=minus)
    return as_columns(pa.int64(), signed, nulls)


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


def as_columns(kind: pa.DataType, values: Numbers, nulls: Mask) -> list[pa.Array]:
    """Rows of numbers, each as a column, without copying them."""
    data, rows = pa.py_buffer(values), values.shape[1]
    columns = []
    for place, count in enumerate(np.count_nonzero(nulls, axis=1).tolist()):
        validity = pa.py_buffer(np.packbits(~nulls[place], bitorder="little")) if count else None
        numbers = data.slice(place * rows * values.itemsize, rows * values.itemsize)
        columns.append(pa.Array.from_buffers(kind, rows, [validity, numbers], count))
    return columns


def _parsed(places: Places, column: int, word: type, kind: pa.DataType) -> pa.Array:
    """Values that msgspec reads as *word*, from an array that has nothing else."""
    array = b"[%b]" % b",".join(places.values(column))
    try:
        values = msgspec.json.decode(array, type=list[word | None])  # type: ignore[valid-type]  # made at run time
        if len(values) != places.rows:
            raise Unlike
        return plain_array(values, kind)
    except (msgspec.MsgspecError, OverflowError) as error:
        raise Unlike from error
