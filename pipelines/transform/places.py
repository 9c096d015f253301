"""Where values are in records that are all written alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from struct import unpack

import numpy as np
import numpy.typing as npt

Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
WORD = 8
"""Bytes that are compared, or read as digits, at once."""
_LONGEST_BEFORE = 96
_QUOTE, _COLON = b'":'
_FIRST_PRINTED = 0x20
_U = np.uint64
_ALL = 2**64 - 1
_COMMON, _ANY = np.bitwise_and.reduce, np.bitwise_or.reduce
_WINDOWS = {size: np.dtype(f"V{size}") for size in range(WORD, _LONGEST_BEFORE + 2 * WORD, WORD)}
_EVERY = (1,)
_FOUR = _U(0xFFFFFFFF)
_NULL = _U(int.from_bytes(b"null", "little"))


class Unlike(Exception):
    """Records are not all written alike, or hold what only a parser can judge."""


@dataclass(frozen=True)
class Form:
    """How records are written, value by value.

    `before` is what stands between one value and the next; for the first, it begins in the
    record before. `keys` says which of a record's `count` keys each value belongs to. `after`
    stands after a record's last value, `between` between two records.
    """

    before: tuple[bytes, ...]
    keys: tuple[int, ...]
    count: int
    after: bytes
    between: bytes


@dataclass(frozen=True)
class Places:
    """The places of all values in `text`, which has records from `begin` to `end`: a row of each array is a column.

    A value goes from `starts` to `ends`; `heads` has its first eight bytes, the first one lowest.
    """

    text: bytes
    form: Form
    begin: int
    end: int
    starts: Offsets
    ends: Offsets
    heads: Words

    @classmethod
    def of(cls, pages: Sequence[bytes], form: Form) -> Places:
        """Find the values in the records of *pages*, each without its brackets.

        Raises:
            Unlike: Something else than `form.before` stands before a value, or nothing is there.
        """
        if max(map(len, form.before)) > _LONGEST_BEFORE:
            raise Unlike
        margin = b"\0" * (_LONGEST_BEFORE + 2 * WORD)
        # the first record, too, has one before it, as it were
        text = b"".join((margin, form.after, form.between, form.between.join(filter(None, pages)), margin))
        begin, end = len(margin), len(text) - len(margin)
        octets = np.frombuffer(text, np.uint8)
        found = np.flatnonzero((octets[:-1] == _QUOTE) & (octets[1:] == _COLON))
        rows, rest = divmod(len(found), form.count)
        if rest or not rows or not text.endswith(form.after + margin):
            raise Unlike
        lengths = np.array([[len(before)] for before in form.before])
        to_value = np.array([[len(before) - before.rindex(b":") + 1] for before in form.before])
        starts = found.reshape(rows, form.count).T[list(form.keys)] + to_value
        ends = np.empty_like(starts)
        np.subtract(starts[1:], lengths[1:], out=ends[:-1])
        np.subtract(starts[0, 1:], lengths[0], out=ends[-1, :-1])
        ends[-1, -1] = end - len(form.after)
        if (ends <= starts).any():
            raise Unlike
        heads = np.empty(starts.shape, np.uint64)
        for column, before in enumerate(form.before):
            heads[column] = _after(before, text, starts[column])
        return cls(text, form, begin, end, starts, ends, heads)

    @property
    def rows(self) -> int:
        """How many records there are."""
        return len(self.starts[0])

    @cached_property
    def octets(self) -> Octets:
        """The text as numbers."""
        return np.frombuffer(self.text, np.uint8)

    @cached_property
    def sizes(self) -> Offsets:
        """The length of each value."""
        return self.ends - self.starts

    @cached_property
    def nulls(self) -> Mask:
        """Which values are null."""
        nulls: Mask = (self.heads & _FOUR) == _NULL
        nulls &= self.sizes == len(b"null")
        return nulls

    def rows_of(self, pages: Sequence[bytes]) -> list[int]:
        """How many records each of *pages* has.

        Raises:
            Unlike: One ends within a record.
        """
        form = self.form
        borders = self.starts[0] - (len(form.before[0]) - len(form.after))
        sizes = np.array([len(page) + len(form.between) if page else 0 for page in pages])
        begins = self.begin + len(form.after) + np.cumsum(sizes) - sizes
        first = np.searchsorted(borders, begins)
        filled = sizes > 0
        if (borders[first[filled]] != begins[filled]).any():
            raise Unlike
        return [int(count) for count in np.diff(np.append(first, len(borders)))]

    def refuse_strays(self, strings: int, within: int) -> None:
        """See that all quotes belong to keys, to *strings* or lie *within* them, and that no string holds a control.

        Raises:
            Unlike: There are others.
        """
        octets, form = self.octets[self.begin : self.end], self.form
        written = b"".join(form.before)
        quotes = self.rows * written.count(b'"') + 2 * strings + within
        controls = self.rows * _controls(written) + _controls(form.after)
        if np.count_nonzero(octets == _QUOTE) != quotes or np.count_nonzero(octets < _FIRST_PRINTED) != controls:
            raise Unlike


def _after(before: bytes, text: bytes, starts: Offsets) -> Words:
    """The first eight bytes of the values at *starts* in *text*.

    Raises:
        Unlike: Something else than *before* stands before one of them.
    """
    width = -(-len(before) // WORD) * WORD
    windows = np.ndarray((len(text) - width - WORD + 1,), _WINDOWS[width + WORD], text, strides=_EVERY)
    seen = windows[starts - width].view("<u8").reshape(len(starts), -1)
    mask = _ALL << 8 * (width - len(before)) & _ALL
    for word, expected in enumerate(unpack(f"<{width // WORD}Q", before.rjust(width, b"\0"))):
        # what all have in common, and what any of them has, are one and the same
        read = seen[:, word]
        if int(_COMMON(read)) & mask != expected or int(_ANY(read)) & mask != expected:
            raise Unlike
        mask = _ALL
    return seen[:, -1]


def _controls(text: bytes) -> int:
    return sum(octet < _FIRST_PRINTED for octet in text)
