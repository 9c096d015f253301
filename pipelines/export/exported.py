"""What is exported, as what it lands there, and how rows are cast on the way.

Both formats know fewer types than Arrow. A type that they lack becomes the next
that holds every value of it; a value that would not stay what it is stops the
export before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.types as pt
from msgspec import Struct

from pipelines.errors import SchemaError, StoreError
from pipelines.reading import Snapshot

Fit = Callable[[pa.DataType], pa.DataType]
DATASET, COMMIT, RUN = "threadmill.dataset", "threadmill.commit", "threadmill.run"


class Exported(Struct, frozen=True):
    """How an export ended: `changed` is whether anything was written, or the target held that commit already."""

    dataset: str
    commit: int
    target: str
    rows: int
    changed: bool


def marks(snapshot: Snapshot) -> dict[str, str]:
    """What a target keeps beside the rows: which commit of which dataset they are."""
    commit = snapshot.commit
    return {DATASET: f"{snapshot.source}.{snapshot.name}", COMMIT: str(commit.n), RUN: commit.run}


def fitted(schema: pa.Schema, fit: Fit) -> pa.Schema:
    """*schema* with the types of a format; order, names and nested fields stay.

    Raises:
        StoreError: There are no columns yet.
    """
    if not schema.names:
        raise StoreError("the dataset has no columns yet, as no row was ever read", "run its source first")
    return pa.schema([pa.field(one.name, _deep(one.type, fit), nullable=True) for one in schema])


def batches(snapshot: Snapshot, schema: pa.Schema) -> pa.RecordBatchReader:
    """The rows as *schema*, one batch after the other."""
    return pa.RecordBatchReader.from_batches(schema, _cast(snapshot, schema))


def common(kind: pa.DataType) -> pa.DataType:
    """What both formats want: no unsigned integers, microseconds in UTC or without zone, plain texts and lists."""
    if pt.is_unsigned_integer(kind):
        return {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}[kind.bit_width]
    if pt.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pt.is_null(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        return pa.string()
    if pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind):
        return pa.binary()
    if pt.is_date64(kind) or pt.is_duration(kind):
        return pa.date32() if pt.is_date64(kind) else pa.int64()  # as in SQL: so many of its units
    return pa.float32() if pt.is_float16(kind) else kind


def _deep(kind: pa.DataType, fit: Fit) -> pa.DataType:
    if pt.is_struct(kind):
        return pa.struct([pa.field(one.name, _deep(one.type, fit)) for one in kind])
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return pa.list_(_deep(kind.value_type, fit))
    if pt.is_map(kind):
        return pa.map_(_deep(kind.key_type, fit), _deep(kind.item_type, fit))
    if pt.is_dictionary(kind):
        return _deep(kind.value_type, fit)
    return fit(kind)


def _cast(snapshot: Snapshot, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in snapshot.rows.to_batches():
        columns = []
        for field, column in zip(schema, batch.columns, strict=True):
            try:
                columns.append(column.cast(field.type))
            except pa.ArrowInvalid as error:
                raise SchemaError(
                    f"{snapshot.source}.{snapshot.name}: {field.name!r} is {column.type}, and a value of it "
                    f"does not fit into {field.type}",
                    "declare a coarser type in `columns`, such as timestamp(us)",
                ) from error
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
