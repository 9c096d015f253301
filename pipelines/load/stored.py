"""What can be known of Parquet files and columns without reading all rows: bounds, columns, row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.batch import Json
from pipelines.load.disk import store_errors

_LONGEST_TEXT = 200


def bounds(column: pa.ChunkedArray) -> tuple[Json, Json] | None:
    """Least and greatest value as JSON, in an order that Python compares as Arrow does.

    None where there is none to be trusted: only nulls, long texts, decimals, nested values.
    """
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_floating(kind) or _is_time(kind)):
        return None
    extremes = pc.min_max(column)
    if not extremes["min"].is_valid:
        return None
    if _is_time(kind):
        # as text of a fixed width: readable in the log, and in order
        low, high = (str(extremes[name].cast(pa.string()).as_py()) for name in ("min", "max"))
        return (low, high) if len(low) == len(high) and "-" not in (low[0], high[0]) else None
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    if isinstance(low, float) and not abs(low) + abs(high) < float("inf"):
        return None
    return None if isinstance(low, str) and max(len(low), len(high)) > _LONGEST_TEXT else (low, high)


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date32(kind))


def groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a stored file, one after the other.

    Raises:
        StoreError: The file is gone or no longer what was written.
    """
    with store_errors("reading the store"), path.open("rb") as file, pq.ParquetFile(file) as parquet:
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group, columns=list(columns) if columns is not None else None)


def file_schema(path: Path) -> pa.Schema:
    """The columns of a stored file, from its footer."""
    with store_errors("reading the store"), pa.OSFile(str(path)) as file, pq.ParquetFile(file) as parquet:
        return parquet.schema_arrow
