"""Append without duplicates at the edge: rows that the last commit has already.

An API asked for "since X" usually gives the rows of X again. Rows before the
watermark are told by their cursor; rows at it are compared with the rows that
the dataset's own files hold there, so nothing has to be remembered elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import CursorError, StateTooLarge
from pipelines.load.schema import recast, unify
from pipelines.load.stored import file_schema, groups

MAX_ROWS = 2_000_000


def at_or_after(  # noqa: PLR0913 - which rows, and how they are told
    files: Sequence[Path],
    cursor: str,
    floor: str,
    *,
    kind: str = "instant",
    names: Sequence[str] = (),
    schema: pa.Schema | None = None,
) -> pa.Table | None:
    """The rows of *files* whose *cursor* is *floor* or later, all columns or *names*; None where there are none.

    An older file may lack the cursor where *schema*, the columns of the dataset, has it: no row of it counts.

    Raises:
        StateTooLarge: More than `MAX_ROWS`; they would not fit in memory.
        CursorError: The files have no such column.
    """
    tables: list[pa.Table] = []
    rows = 0
    for path in files:
        columns = file_schema(path).names
        wanted = [name for name in columns if name in (*names, cursor)] if names else columns
        table = pa.concat_tables(groups(path, wanted))
        if cursor not in table.column_names and schema is not None and cursor in schema.names:
            continue
        if cursor not in table.column_names:
            raise CursorError(
                f"the stored rows have no column {cursor!r}, so rows read again cannot be told from new ones",
                f"keep {cursor!r} in the transform's result, or say `write: upsert` with a key",
            )
        column = typed(table[cursor], kind)
        tables.append(table.filter(pc.greater_equal(column, as_type(floor, column.type))))
        rows += len(tables[-1])
        if rows > MAX_ROWS:
            raise StateTooLarge(
                f"{rows:,} stored rows have the cursor value {floor} or a later one",
                "say `write: upsert` with a key, use a finer cursor, or read a shorter span",
            )
    schema = unify(table.schema for table in tables)
    return pa.concat_tables([recast(table, schema) for table in tables]) if rows else None


def unseen(table: pa.Table, seen: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows of *table*, in order, that *seen* does not have.

    Rows are the same when their *key* is; without one, or where no stored row has it, when all columns are that both
    have. Types that differ are widened as a merge would.
    """
    import polars as pl

    both = [name for name in table.column_names if name in seen.column_names]
    names = list(key) if key and set(key) <= set(both) else both
    if not len(table) or not names:
        return table
    kinds = unify([table.select(names).schema, seen.select(names).schema])
    left, right = (
        pl.DataFrame({str(i): _comparable(column) for i, column in enumerate(recast(one, kinds).columns)})
        for one in (table.select(names), seen.select(names))
    )
    kept = left.with_row_index("row").join(right.unique(), on=left.columns, how="anti", nulls_equal=True)["row"]
    return table if len(kept) == len(table) else table.take(pa.array(kept.sort().to_arrow()))


def as_type(text: str, kind: pa.DataType) -> pa.Scalar:
    """The cursor value *text* as a column of type *kind* has it.

    Raises:
        CursorError: It is not of that type.
    """
    try:
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            moment = datetime.fromisoformat(text)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
            return pa.scalar(moment if pa.types.is_timestamp(kind) and kind.tz else moment.replace(tzinfo=None)).cast(
                kind, safe=False
            )
        return pa.scalar(text).cast(kind)
    except (ValueError, OverflowError, pa.ArrowNotImplementedError):
        raise CursorError(
            f"the watermark {text!r} is no {kind}",
            "the column's type has changed: `threadmill state reset`, or declare the type",
        ) from None


def typed(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """A text column as what it stands for, so that 9 comes before 10 and offsets compare as instants.

    Raises:
        CursorError: It is text that is no instant or number.
    """
    if kind == "text" or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    kinds = (pa.timestamp("us", "UTC"), pa.timestamp("us")) if kind == "instant" else (pa.decimal128(38, 9),)
    for one in kinds:
        with suppress(pa.ArrowInvalid):
            # a time without zone is UTC, as in the watermark
            return column.cast(one).cast(kinds[0])
    raise CursorError(
        "the cursor is text that cannot be compared",
        "declare its type in `columns`, such as timestamp with its format, or set `incremental: {format: text}`",
    )


def _comparable(column: pa.ChunkedArray) -> object:
    import polars as pl

    # joins compare plain values; nested ones are rare here and compared as text
    nested = pa.types.is_nested(column.type)
    return pl.Series(map(repr, column.to_pylist())) if nested else pl.from_arrow(column)
