"""What a catalog shows of stored files: the span and the nulls of each column, rows in time, and some rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct, field

from pipelines.load.schema import recast
from pipelines.load.stored import read_errors

_SAMPLE_ROWS, _MOST_FOOTERS, _LONGEST = 5, 500, 40
_MOST_DAYS, _MOST_MONTHS = 124, 120


class Facts(Struct, frozen=True):
    """What is known of one dataset's files, small and as text.

    `spans` has the least and greatest value of a column and `nulls` how many it has, where the footers tell;
    `sample` some whole rows; `per_time` the rows of each day, or of each month or year where there are many.
    """

    spans: dict[str, tuple[str, str]] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)
    sample: tuple[tuple[str, ...], ...] = ()
    per_time: tuple[tuple[str, int], ...] = ()


def facts(
    files: Sequence[Path | str], schema: pa.Schema | None = None, time: str = "", filesystem: Any = None
) -> Facts:
    """The facts of one dataset's files, whose columns are *schema*; only footers and a few rows are read.

    With *time* that whole column is read as well, and its rows counted by day. Files
    that are not on this machine are opened in *filesystem*.

    Raises:
        StoreError: A file cannot be read.
    """
    spans: dict[str, tuple[Any, Any] | None] = {}
    nulls: dict[str, int | None] = {}
    days: Counter[str] = Counter()
    for path in files if len(files) <= _MOST_FOOTERS else ():
        with read_errors(), pq.ParquetFile(path, filesystem=filesystem) as parquet:
            _take_footer(parquet.metadata, schema, spans, nulls)
            if time and time in parquet.schema_arrow.names:
                days += _days(parquet.read([time])[time])
    return Facts(
        {name: (_text(span[0]), _text(span[1])) for name, span in spans.items() if span},
        {name: count for name, count in nulls.items() if count is not None},
        _sample(files, schema, filesystem),
        in_time(days),
    )


def in_time(days: Counter[str]) -> tuple[tuple[str, int], ...]:
    """Rows by day, in order; by month or year where days would be too many to draw."""
    counts = days
    for most, length in ((_MOST_DAYS, 7), (_MOST_MONTHS, 4)):
        if len(counts) > most:
            counts = Counter()
            for when, rows in days.items():
                counts[when[:length]] += rows
    return tuple(sorted(counts.items()))


def _take_footer(
    footer: Any, schema: pa.Schema | None, spans: dict[str, tuple[Any, Any] | None], nulls: dict[str, int | None]
) -> None:
    for group in map(footer.row_group, range(footer.num_row_groups)):
        there = set()
        for column in map(group.column, range(group.num_columns)):
            there.add(column.path_in_schema)
            _widen(spans, column.path_in_schema, column.statistics)
            _count_nulls(nulls, column.path_in_schema, column.statistics)
        for name in schema.names if schema is not None else ():
            if name not in there and not any(path.startswith(f"{name}.") for path in there):
                known = nulls.get(name, 0)  # a file from before the column was there
                nulls[name] = None if known is None else known + group.num_rows


def _widen(spans: dict[str, tuple[Any, Any] | None], name: str, statistics: Any) -> None:
    if statistics is not None and not statistics.has_min_max and not statistics.num_values:
        return  # nulls only
    new = (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else None
    known = spans.get(name, new)
    try:
        spans[name] = None if known is None or new is None else (min(known[0], new[0]), max(known[1], new[1]))
    except TypeError:  # an older file has another type
        spans[name] = None


def _count_nulls(nulls: dict[str, int | None], name: str, statistics: Any) -> None:
    known = nulls.get(name, 0)
    told = statistics is not None and statistics.has_null_count
    nulls[name] = known + statistics.null_count if told and known is not None else None


def _days(column: pa.ChunkedArray) -> Counter[str]:
    counted = column.cast(pa.date32(), safe=False).drop_null().value_counts()
    return Counter({str(one["values"]): one["counts"] for one in counted.to_pylist()})


def _sample(files: Iterable[Path | str], schema: pa.Schema | None, filesystem: Any) -> tuple[tuple[str, ...], ...]:
    for path in files:
        with read_errors(), pq.ParquetFile(path, filesystem=filesystem) as parquet:
            if parquet.metadata.num_rows:
                rows = pa.Table.from_batches(_first(parquet, _SAMPLE_ROWS))
                shown = recast(rows, schema) if schema is not None else rows
                return tuple(tuple(map(_text, row.values())) for row in shown.to_pylist())
    return ()


def _first(parquet: pq.ParquetFile, wanted: int) -> Iterator[pa.RecordBatch]:
    """The first *wanted* rows, one row group after the other: asked for all, Arrow holds memory for each of them."""
    for group in range(parquet.num_row_groups):
        there = min(parquet.metadata.row_group(group).num_rows, wanted)
        if there:
            yield next(parquet.iter_batches(there, row_groups=[group]))
            wanted -= there


def _text(value: Any) -> str:
    value = value + 0.0 if isinstance(value, float) else value  # footers may say -0.0 where 0.0 is the least
    text = "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
