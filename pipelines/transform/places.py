"""Where values are in records that are all written alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
WORD = 8
"""Bytes that are compared, or read as digits, at once."""
_LONGEST_BEFORE = 96
_MOST_BYTES = 32_000_000
"""The places of all values take several times as much as the text; larger pages are for msgspec."""
_MARGIN = b"\0" * (_LONGEST_BEFORE + 2 * WORD)
_QUOTE, _COLON = b'":'
_FIRST_PRINTED = 0x20
_EVERY = (1,)
_U = np.uint64
_FOUR = _U(0xFFFFFFFF)
_NULL = _U(int.from_bytes(b"null", "little"))


class Unlike(Exception):
    """Records are not all written alike, or hold what only a parser can judge."""


class Form(Struct, frozen=True, dict=True):
    """How records are written, value by value.

    `before` is what stands between one value and the next; for the first, it begins in the
    record before. `keys` says which of a record's `count` keys each value belongs to. `after`
    stands after a record's last value, `between` between two records.
    """

    paths: tuple[tuple[str, ...], ...]
    before: tuple[bytes, ...]
    keys: tuple[int, ...]
    count: int
    after: bytes
    between: bytes

    @cached_property
    def lengths(self) -> Offsets:
        """Of `before`, in a column."""
        return np.array([len(one) for one in self.before])[:, None]

    @cached_property
    def to_value(self) -> Offsets:
        """How far each value is from the quote that ends its key, in a column."""
        return np.array([len(one) - one.rindex(b":") + 1 for one in self.before])[:, None]

    @cached_property
    def width(self) -> int:
        """The longest of `before`, in whole words."""
        return -(-max(map(len, self.before)) // WORD) * WORD

    @cached_property
    def expected(self) -> Words:
        """The words of `before`, each at the end of a row."""
        padded = b"".join(one.rjust(self.width, b"\0") for one in self.before)
        return np.frombuffer(padded, "<u8").reshape(len(self.before), -1)

    @cached_property
    def unread(self) -> Words:
        """How many bits of each of these words say something else."""
        octets = np.clip(self.width - self.lengths - np.arange(0, self.width, WORD), 0, WORD)
        unread: Words = octets.astype(np.uint64) * _U(8)
        return unread

    @cached_property
    def written(self) -> tuple[int, int]:
        """How many quotes and control characters each record has outside of its values."""
        text = b"".join(self.before)
        return text.count(b'"'), controls(text)


class Places(Struct, frozen=True, dict=True):
    """The places of all values in `octets`, the records of `text` between its margins: a row of each array is a column.

    A value goes from `starts` to `ends`, which are `sizes` apart; `heads` has its first eight bytes, the first lowest.
    `quotes` is how many of them there are in all.
    """

    text: bytes
    octets: Octets
    form: Form
    starts: Offsets
    ends: Offsets
    sizes: Offsets
    heads: Words
    quotes: int

    @classmethod
    def of(cls, pages: Sequence[memoryview], form: Form) -> Places:
        """Find the values in the records of *pages*, each without its brackets.

        Raises:
            Unlike: Something else than `form.before` stands before a value, or nothing is there.
        """
        if form.width > _LONGEST_BEFORE or sum(map(len, pages)) > _MOST_BYTES:
            raise Unlike
        # the first record, too, has one before it, as it were
        text = b"".join((_MARGIN, form.after, form.between, form.between.join(filter(None, pages)), _MARGIN))
        octets = np.frombuffer(text, np.uint8, len(text) - 2 * len(_MARGIN), len(_MARGIN))
        quotes = octets == _QUOTE
        found = np.flatnonzero(quotes[:-1] & (octets[1:] == _COLON))
        rows, rest = divmod(len(found), form.count)
        if rest or not rows or not text.endswith(form.after + _MARGIN):
            raise Unlike
        starts = found.reshape(rows, form.count).T[list(form.keys)]
        starts += form.to_value
        ends = np.empty_like(starts)
        np.subtract(starts[1:], form.lengths[1:], out=ends[:-1])
        np.subtract(starts[0, 1:], form.lengths[0], out=ends[-1, :-1])
        ends[-1, -1] = len(octets) - len(form.after)
        sizes = ends - starts
        if sizes.min() < 1:
            raise Unlike
        # for each value what stands before it, and its own first word
        width = form.width
        seen = np.ndarray(octets.shape, f"V{width + WORD}", text, len(_MARGIN) - width, _EVERY)[starts]
        words = seen.view("<u8").reshape(len(starts), rows, -1)
        _refuse_others(words, form)
        heads = np.ascontiguousarray(words[:, :, -1])
        return cls(text, octets, form, starts, ends, sizes, heads, int(np.count_nonzero(quotes)))

    @property
    def rows(self) -> int:
        """How many records there are."""
        return len(self.starts[0])

    @property
    def margin(self) -> int:
        """Where `octets` begin in `text`."""
        return len(_MARGIN)

    @property
    def words(self) -> Words:
        """Eight bytes from each place on."""
        return np.ndarray(self.octets.shape, "<u8", self.text, len(_MARGIN), _EVERY)

    def windows(self, width: int) -> npt.NDArray[np.void]:
        """*width* bytes from each place on, as far as there are so many."""
        return np.ndarray((len(self.octets) - width + 1,), f"V{width}", self.text, len(_MARGIN), _EVERY)

    @cached_property
    def nulls(self) -> Mask:
        """Which values are null."""
        nulls: Mask = (self.heads & _FOUR) == _NULL
        nulls &= self.sizes == len(b"null")
        return nulls

    def value(self, column: int, row: int) -> bytes:
        """The text of one value."""
        return bytes(self.octets[self.starts[column, row] : self.ends[column, row]])

    def values(self, column: int) -> list[bytes]:
        """The text of each value of *column*."""
        begins, ends = self.starts[column] + len(_MARGIN), self.ends[column] + len(_MARGIN)
        return [self.text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]

    def rows_of(self, pages: Sequence[memoryview]) -> list[int]:
        """How many records each of *pages* has.

        Raises:
            Unlike: One ends within a record.
        """
        form = self.form
        if len(pages) == 1:
            return [self.rows]
        borders = self.starts[0] - (len(form.before[0]) - len(form.after))
        sizes = np.array([len(page) + len(form.between) if page else 0 for page in pages])
        begins = len(form.after) + np.cumsum(sizes) - sizes
        first = np.searchsorted(borders, begins)
        filled = sizes > 0
        if (first[filled] >= len(borders)).any() or (borders[first[filled]] != begins[filled]).any():
            raise Unlike
        return [int(count) for count in np.diff(np.append(first, len(borders)))]

    def refuse_strays(self, strings: int, within: int) -> None:
        """See that all quotes belong to keys, to *strings* or lie *within* them, and that no string holds a control.

        Raises:
            Unlike: There are others.
        """
        quotes, others = self.form.written
        others = self.rows * others + controls(self.form.after)
        if self.quotes != self.rows * quotes + 2 * strings + within:
            raise Unlike
        # most have none at all, which is seen faster than counted
        found = self.octets.min() < _FIRST_PRINTED and np.count_nonzero(self.octets < _FIRST_PRINTED)
        if found != others:
            raise Unlike


def controls(text: bytes) -> int:
    """How many control characters *text* has."""
    return sum(octet < _FIRST_PRINTED for octet in text)


def _refuse_others(words: Words, form: Form) -> None:
    """See that before each value stands what *form* says; *words* has so much of the text, and a word of the value.

    Raises:
        Unlike: Something else does.
    """
    for place in range(form.width // WORD):
        read = words[:, :, place]
        # what all rows have in common, and what any of them has, are one and the same
        other = np.bitwise_and.reduce(read, axis=1) ^ form.expected[:, place]
        other |= np.bitwise_or.reduce(read, axis=1) ^ form.expected[:, place]
        if (other >> form.unread[:, place]).any():
            raise Unlike
