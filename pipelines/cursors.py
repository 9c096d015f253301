"""What the cursors of a batch tell: the greatest of each parent, and whether pages keep the order they promise.

A cursor must be comparable and there: numbers need a declaration of what they
count, and a record without a cursor is an error unless the source says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from math import floor
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from pipelines.batch import Json, PageRef
from pipelines.errors import ConfigError, CursorError, OrderViolation
from pipelines.load.boundary import as_type, typed

Ordered = Literal["ascending", "descending"]
_TYPES = {"instant": pa.timestamp("us", "UTC"), "text": pa.string()}
_COMPARED = {"instant": pa.timestamp("us"), "number": pa.float64(), "text": pa.string()}
_TIME, _ZONED = r"^\d{4}-\d\d-\d\d[T ]", r"(Z|[+-]\d\d(:?\d\d)?)$"


class Cursor(Struct, frozen=True):
    """How a resource's cursor is read; `where` names the resource in errors."""

    name: str
    where: str
    kind: str = "instant"
    on_missing: Literal["fail", "include"] = "fail"
    ordered: Ordered | None = None

    def column(self, table: pa.Table) -> pa.ChunkedArray:
        """The cursors of *table*, as what they stand for; null where `on_missing: include` lets one be missing.

        Raises:
            CursorError: A record has none, or they cannot be compared.
            ConfigError: They are numbers, or times without zone, and nothing declares what these mean; or numbers, and
                said to be texts.
        """
        if self.name not in table.column_names:
            if self.on_missing == "include":
                return pa.chunked_array([pa.nulls(len(table))])
            raise CursorError(
                f"{self.where}: records have no field {self.name!r}",
                f"`incremental.cursor` names a column; there are {', '.join(table.column_names[:20])}",
            )
        column = table[self.name]
        if column.null_count and self.on_missing == "fail":
            raise CursorError(
                f"{self.where}: {column.null_count} records have no {self.name!r}",
                "without it the next run cannot know what is new: choose another cursor, "
                "or keep such records with `incremental: {on_missing: include}`",
            )
        if self.kind == "instant" and (pa.types.is_floating(column.type) or _is_exact_number(column.type)):
            raise ConfigError(
                f"{self.where}: the cursor {self.name!r} is a number, and nothing says what it counts",
                f"declare `columns: {{{self.name}: timestamp(ms) from epoch_ms}}` (or epoch_s), "
                "or say `incremental: {format: number}`",
            )
        if self.kind == "text" and (pa.types.is_floating(column.type) or _is_exact_number(column.type)):
            raise ConfigError(
                f"{self.where}: the cursor {self.name!r} is a number, and as texts 10 is less than 9",
                "say `incremental: {format: number}`",
            )
        if self.kind == "instant" and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            self._refuse_zoneless(column)
        return typed(column, self.kind)

    def refuse_changed(self, before: pa.Table, after: pa.Table) -> None:
        """See that *after*, which a transform made of *before*, has no cursor that this does not have.

        The type may be another; rows without the column are refused when they are compared.

        Raises:
            CursorError: It has: the row would not be found where it is stored once it is read again.
        """
        if self.name not in {*before.column_names} & {*after.column_names}:
            return
        kind = _COMPARED[self.kind]
        with suppress(CursorError, pa.ArrowException):
            known, made = (typed(table[self.name], self.kind).cast(kind, safe=False) for table in (before, after))
            if pc.all(pc.is_in(made, value_set=known), min_count=0).as_py():
                return
        raise CursorError(
            f"{self.where}: the transform changes the cursor {self.name!r}, which tells rows read again from new ones",
            "write what it makes of it to another column, or say `write: upsert` with a key",
        )

    def _refuse_zoneless(self, texts: pa.ChunkedArray) -> None:
        times = texts.filter(pc.match_substring_regex(texts, _TIME))
        if not pc.all(pc.match_substring_regex(times, _ZONED), min_count=0).as_py():
            raise ConfigError(
                f"{self.where}: a time in the cursor {self.name!r} names no zone",
                f"declare `columns: {{{self.name}: {{type: timestamp, zone: UTC}}}}`, or the API's own zone",
            )


class PageEnds(Struct, frozen=True):
    """The cursors of the first and the last record of a page, and its place: the chain and its number there."""

    chain: tuple[int, ...]
    number: int
    first: Json
    last: Json


def greatest(known: str | None, values: pa.ChunkedArray) -> str | None:
    """The greater of *known* and the greatest of *values*, as text; None where there is neither."""
    top = pc.max(values)
    if not top.is_valid:
        return known
    if known is not None:
        top = pc.max(pa.array([as_type(known, values.type).as_py(), top.as_py()], values.type))
    return str(top.cast(pa.string()).as_py())


def least(table: pa.Table, name: str, kind: str) -> str:
    """The least cursor of *table* as text, a number rounded down, so that a column of whole ones can hold it.

    Empty where there is none.
    """
    low = pc.min(typed(table[name], kind)) if name in table.column_names else pa.scalar(None)
    if not low.is_valid:
        return ""
    return str(floor(low.as_py())) if kind == "number" else str(low.cast(pa.string()).as_py())


def reaches(top: str, lowest: str, kind: str) -> bool:
    """Whether the cursor *top* is *lowest* or later; an unknown one, which is empty, may be.

    Raises:
        CursorError: One of them is not of that kind.
    """
    return not top or bool(_plain(top, kind) >= _plain(lowest, kind))


def page_ends(
    column: pa.ChunkedArray, page_of_row: pa.ChunkedArray, pages: Sequence[PageRef], cursor: Cursor
) -> list[PageEnds]:
    """The ends of each of *pages*, whose rows lie one page after another in *column*.

    Raises:
        OrderViolation: The records of a page are not in the order that is declared.
    """
    ends, offset = [], 0
    for told in pc.value_counts(page_of_row):
        page, rows = pages[told["values"].as_py()], told["counts"].as_py()
        values = column.slice(offset, rows).drop_null().combine_chunks()
        offset += rows
        if not len(values):
            continue
        wrong = _is_before(values[1:], values[:-1], cursor)
        if (at := pc.index(wrong, pa.scalar(value=True)).as_py()) >= 0:
            raise _violation(cursor, values[at].as_py(), values[at + 1].as_py(), f"on page {page.order[-1] + 1}")
        ends.append(PageEnds(page.order[:-1], page.order[-1], values[0].as_py(), values[-1].as_py()))
    return ends


def refuse_disorder(found: Iterable[PageEnds], cursor: Cursor) -> None:
    """Compare each page with the one before it in its chain; the pages of two chains owe each other nothing.

    Raises:
        OrderViolation: A page begins before the end of the page before it.
    """
    for one, other in pairwise(sorted(found, key=lambda page: (page.chain, page.number))):
        low, high = (one.last, other.first) if cursor.ordered == "ascending" else (other.first, one.last)
        if one.chain == other.chain and high < low:
            raise _violation(cursor, one.last, other.first, f"from page {one.number + 1} to {other.number + 1}")


def _plain(text: str, kind: str) -> Any:
    try:
        return Decimal(text) if kind == "number" else as_type(text, _TYPES[kind]).as_py()
    except InvalidOperation:
        told = "the column's type has changed: `threadmill state reset`, or declare the type"
        raise CursorError(f"the cursor {text!r} is no number", told) from None


def _is_before(values: pa.Array, others: pa.Array, cursor: Cursor) -> pa.Array:
    return pc.less(values, others) if cursor.ordered == "ascending" else pc.greater(values, others)


def _is_exact_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _violation(cursor: Cursor, earlier: Json, later: Json, place: str) -> OrderViolation:
    return OrderViolation(
        f"{cursor.where}: {cursor.name!r} is declared `ordered: {cursor.ordered}`, "
        f"but {later} follows {earlier} {place}",
        "nothing of this read is committed: leave `ordered` out, or ask the API to sort (a parameter in `params`)",
    )
