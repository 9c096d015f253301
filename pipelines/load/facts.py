"""What a catalog shows of stored files: the span of each column and some rows, all as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.load.disk import store_errors
from pipelines.load.schema import recast

_SAMPLE_ROWS, _MOST_FOOTERS, _LONGEST = 3, 500, 40


@dataclass(frozen=True, slots=True)
class Facts:
    """`spans` has the least and greatest value of a column, where the footers tell; `sample` some whole rows."""

    spans: dict[str, tuple[str, str]] = field(default_factory=dict)
    sample: tuple[tuple[str, ...], ...] = ()


def facts(files: Sequence[Path], schema: pa.Schema | None = None) -> Facts:
    """The facts of one dataset's files, whose columns are *schema*; only footers and a few rows are read.

    Raises:
        StoreError: A file cannot be read.
    """
    spans: dict[str, tuple[Any, Any] | None] = {}
    for path in files if len(files) <= _MOST_FOOTERS else ():
        with store_errors("reading the store"):
            footer = pq.read_metadata(path)
        for group in map(footer.row_group, range(footer.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                _widen(spans, column.path_in_schema, column.statistics)
    known = {name: (_text(span[0]), _text(span[1])) for name, span in spans.items() if span}
    return Facts(known, _sample(files, schema))


def _widen(spans: dict[str, tuple[Any, Any] | None], name: str, statistics: Any) -> None:
    if statistics is not None and not statistics.has_min_max and not statistics.num_values:
        return  # nulls only
    new = (statistics.min, statistics.max) if statistics is not None and statistics.has_min_max else None
    known = spans.get(name, new)
    try:
        spans[name] = None if known is None or new is None else (min(known[0], new[0]), max(known[1], new[1]))
    except TypeError:  # an older file has another type
        spans[name] = None


def _sample(files: Sequence[Path], schema: pa.Schema | None) -> tuple[tuple[str, ...], ...]:
    for path in files[:1]:
        with store_errors("reading the store"), pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(batch_size=_SAMPLE_ROWS):
                rows = pa.Table.from_batches([batch])
                shown = recast(rows, schema) if schema is not None else rows
                return tuple(tuple(map(_text, row.values())) for row in shown.to_pylist())
    return ()


def _text(value: Any) -> str:
    text = "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
