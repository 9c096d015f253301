"""What can be known of files and columns without reading all rows: bounds, columns, row groups.

Files of the store are Parquet. Parts that are only staged are Arrow files: they
are read once or twice and gone, and Parquet takes four times as long to write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.batch import Json
from pipelines.errors import StoreError
from pipelines.load.disk import DAMAGED, store_errors

_LONGEST_TEXT = 200
_PIECES, _LEAST_PIECE = 16, 10_000
STAGED = ".arrow"
"""How the names of parts end that no commit may name."""


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


@contextmanager
def read_errors() -> Iterator[None]:
    """Tell what keeps a stored file from being read: it is gone, or no longer what was written."""
    try:
        with store_errors("reading the store"):
            yield
    except pa.ArrowException as error:
        raise StoreError(f"reading the store failed: {str(error).splitlines()[0]}", DAMAGED) from error


def groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a stored file, a piece at a time; of a staged one a row group at a time.

    Of *columns* those that the file has.

    Raises:
        StoreError: The file is gone or no longer what was written.
    """
    if path.suffix == STAGED:
        yield from _staged_groups(path, columns)
        return
    with read_errors(), path.open("rb") as file, pq.ParquetFile(file) as parquet:
        for group in range(parquet.num_row_groups):
            yield from pieces(parquet, group, columns)


def pieces(parquet: pq.ParquetFile, group: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """A row group of *parquet* in pieces, so that never all of it is decoded at once."""
    rows = max(_LEAST_PIECE, -(-parquet.metadata.row_group(group).num_rows // _PIECES))
    with read_errors():
        for batch in parquet.iter_batches(rows, [group], list(columns) if columns is not None else None):
            yield pa.Table.from_batches([batch])
    if rows > _LEAST_PIECE:
        # else freed memory is kept in portions that fit nothing, the more the larger the file
        pa.default_memory_pool().release_unused()


def file_schema(path: Path) -> pa.Schema:
    """The columns of a stored file, from its footer; those of a staged part as they will be stored."""
    if path.suffix == STAGED:
        with read_errors(), pa.OSFile(str(path)) as file, pa.ipc.open_file(file) as staged:
            return _as_stored(staged.schema)
    with read_errors(), pa.OSFile(str(path)) as file, pq.ParquetFile(file) as parquet:
        return parquet.schema_arrow


def _staged_groups(path: Path, columns: Sequence[str] | None) -> Iterator[pa.Table]:
    with read_errors(), pa.memory_map(str(path)) as file:
        with pa.ipc.open_file(file) as staged:
            schema = staged.schema
        wanted = schema.names if columns is None else [name for name in columns if name in schema.names]
        some = pa.ipc.IpcReadOptions(included_fields=sorted(map(schema.get_field_index, wanted)))
        with pa.ipc.open_file(file, options=some) as staged:
            for number in range(staged.num_record_batches):
                table = pa.Table.from_batches([staged.get_batch(number)]).select(wanted)
                yield table.cast(_as_stored(table.schema))


@lru_cache(maxsize=64)
def _as_stored(schema: pa.Schema) -> pa.Schema:
    """What Parquet makes of *schema*: it knows no seconds, for instance."""
    sink = pa.BufferOutputStream()
    pq.write_metadata(schema, sink)
    return pq.read_schema(pa.BufferReader(sink.getvalue()))
