"""One schema for all files of a dataset, today's and last year's.

`unify` finds the narrowest schema that holds every value exactly, `recast`
brings a table to it. A commit document keeps the schema as a JSON list of
fields that people can read and `decode_schema` turns back.

Widening goes: nothing < int < float or decimal < text; a date becomes a
timestamp, a coarse timestamp a finer one; lists and structs grow inside; what
has no common type becomes text, nested values as JSON text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal

import orjson
import pyarrow as pa

from pipelines.batch import Json
from pipelines.errors import SchemaError, StoreError, TypeConflict
from pipelines.growth import fills
from pipelines.load.target import VALIDITY

OnMismatch = Literal["widen", "quarantine", "fail"]
_UNITS = ("s", "ms", "us", "ns")
_MAX_DIGITS = 38
_DECIMAL = re.compile(r"^decimal128\((\d+), (-?\d+)\)$")
_SIMPLE = {
    str(kind): kind
    for kind in (
        *(
            pa.null(),
            pa.bool_(),
            pa.string(),
            pa.large_string(),
            pa.binary(),
            pa.large_binary(),
            pa.date32(),
            pa.date64(),
        ),
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
        *(pa.duration(unit) for unit in _UNITS),
        *(pa.timestamp(unit) for unit in _UNITS),
    )
}


def unify(schemas: Iterable[pa.Schema], on_mismatch: OnMismatch = "widen") -> pa.Schema:
    """The schema that holds the rows of all *schemas*; columns in the order they first appear.

    Raises:
        SchemaError: Two columns differ only in case, which DuckDB cannot tell apart.
        TypeConflict: Types differ and *on_mismatch* does not widen.
    """
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in map(_plain, schema):
            known = fields.get(field.name)
            fields[field.name] = field if known is None else _unified(known, field, on_mismatch)
    folded: dict[str, str] = {}
    for name in fields:
        if (other := folded.setdefault(name.casefold(), name)) != name:
            raise SchemaError(f"the columns {other!r} and {name!r} differ only in case", "rename one of them")
    return pa.schema(list(fields.values()))


def recast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """*table* with the columns, order and types of *schema*; missing columns are null.

    Raises:
        TypeConflict: A value would not survive; the message names its column.
    """
    if table.schema.equals(schema, check_metadata=True):
        return table
    names = set(table.column_names)
    columns = [_column(table[field.name], field) if field.name in names else _nulls(table, field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def encode_schema(schema: pa.Schema) -> list[Json]:
    """*schema* as JSON: one `{name, type}` for each column, with what its metadata says."""
    return [_encode_field(field) for field in schema]


def decode_schema(fields: Sequence[Json]) -> pa.Schema:
    """The inverse of `encode_schema`."""
    return pa.schema([_decode_field(field) for field in fields])


def same_columns(one: pa.Schema, other: pa.Schema) -> bool:
    """Whether files of the two schemas read as one."""
    return bool(one.equals(other, check_metadata=False))


def with_known_types(schema: pa.Schema, known: pa.Schema | None) -> pa.Schema:
    """Columns that came with nulls only keep the type they had."""
    if known is None:
        return schema
    names = set(known.names)
    return pa.schema(
        [known.field(one.name) if pa.types.is_null(one.type) and one.name in names else one for one in schema]
    )


def record_schema(schema: pa.Schema) -> pa.Schema:
    """*schema* without the columns that `write: history` adds: what records have."""
    return pa.schema([field for field in schema if field.name not in VALIDITY])


def _unified(known: pa.Field, field: pa.Field, on_mismatch: OnMismatch) -> pa.Field:
    kind = common_type(known.type, field.type)
    if on_mismatch != "widen" and not fills(known.type, kind):
        raise TypeConflict(
            f"the column {field.name!r} is {known.type} and now comes as {field.type}",
            "let it be one type, in `columns` or in the transform, or say `on_mismatch: widen`",
        )
    return pa.field(known.name, kind, metadata={**(field.metadata or {}), **(known.metadata or {})} or None)


def _plain(field: pa.Field) -> pa.Field:
    """The field as files have it and all readers know it: no dictionary, no view or large text, nulls allowed."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        kind = pa.binary()
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        # Parquet counts in milliseconds or finer
        kind = pa.timestamp("ms", kind.tz)
    return pa.field(field.name, kind, metadata=field.metadata)


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The narrowest type that holds the values of both exactly; text where there is none."""
    if one == other or pa.types.is_null(one) or pa.types.is_null(other):
        return other if pa.types.is_null(one) else one
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return pa.struct(list(_grown(one, other)))
    if _is_list(one) and _is_list(other):
        return pa.list_(common_type(one.value_type, other.value_type))
    if _is_number(one) and _is_number(other):
        return _common_number(one, other)
    return _common_time(one, other) if _is_time(one) and _is_time(other) else pa.string()


def _grown(one: pa.StructType, other: pa.StructType) -> Iterable[pa.Field]:
    left, right = ({field.name: field for field in kind} for kind in (one, other))
    for name in {**left, **right}:
        known, new = left.get(name), right.get(name)
        yield pa.field(name, common_type(known.type, new.type)) if known and new else (known or new)


def _common_number(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    floats = [pa.types.is_floating(kind) for kind in (one, other)]
    if any(floats):
        return pa.string() if any(map(pa.types.is_decimal, (one, other))) else pa.float64()
    if pa.types.is_signed_integer(one) and pa.types.is_signed_integer(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    if pa.types.is_unsigned_integer(one) and pa.types.is_unsigned_integer(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    scale = max(_digits(one)[1], _digits(other)[1])
    whole = max(_digits(one)[0], _digits(other)[0])
    return pa.decimal128(whole + scale, scale) if whole + scale <= _MAX_DIGITS else pa.string()


def _digits(kind: pa.DataType) -> tuple[int, int]:
    """Digits before and after the point."""
    if pa.types.is_decimal(kind):
        return kind.precision - kind.scale, kind.scale
    return (20 if kind == pa.uint64() else 19), 0


def _common_time(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    stamps = [kind for kind in (one, other) if pa.types.is_timestamp(kind)]
    zones = {kind.tz for kind in stamps}
    if not stamps:
        return pa.date32()
    if len(zones) > 1 and None in zones:
        return pa.string()
    unit = max((kind.unit for kind in stamps), key=_UNITS.index)
    return pa.timestamp(unit, zones.pop() if len(zones) == 1 else "UTC")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal128(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _nulls(table: pa.Table, field: pa.Field) -> pa.Array:
    return pa.nulls(len(table), field.type)


def _column(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    if column.type == field.type:
        return column
    try:
        if pa.types.is_nested(column.type):
            return _nested(column, field.type)
        return column.cast(field.type, safe=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise TypeConflict(
            f"the column {field.name!r} is {column.type} and cannot become {field.type} without loss",
            "declare its type in `columns` (decimal and string lose nothing)",
        ) from error


def _nested(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if not pa.types.is_string(kind):
        with suppress(pa.ArrowNotImplementedError, pa.ArrowTypeError):
            return column.cast(kind, safe=True)
    # rare: what Arrow cannot cast is rebuilt value by value
    values = column.to_pylist()
    if pa.types.is_string(kind):
        values = [None if value is None else orjson.dumps(value, default=str).decode() for value in values]
    return pa.chunked_array([pa.array(values, kind)])


def _encode_field(field: pa.Field) -> dict[str, Json]:
    encoded: dict[str, Json] = {"name": field.name, "type": _encode_type(field.type)}
    if not field.nullable:
        encoded["nullable"] = False
    if field.metadata:
        encoded["metadata"] = {key.decode(): value.decode() for key, value in field.metadata.items()}
    return encoded


def _decode_field(field: Json) -> pa.Field:
    return pa.field(field["name"], _decode_type(field["type"]), field.get("nullable", True), field.get("metadata"))


def _encode_type(kind: pa.DataType) -> Json:
    if pa.types.is_struct(kind):
        return {"struct": [_encode_field(field) for field in kind]}
    if _is_list(kind):
        return {"large_list" if pa.types.is_large_list(kind) else "list": _encode_field(kind.value_field)}
    if pa.types.is_timestamp(kind) and kind.tz:
        return {"timestamp": kind.unit, "zone": kind.tz}
    if str(kind) in _SIMPLE or pa.types.is_decimal128(kind):
        return str(kind)
    raise SchemaError(f"no reader knows columns of type {kind}", "declare another type in `columns`")


def _decode_type(kind: Any) -> pa.DataType:
    match kind:
        case {"struct": fields}:
            return pa.struct([_decode_field(field) for field in fields])
        case {"list": field}:
            return pa.list_(_decode_field(field))
        case {"large_list": field}:
            return pa.large_list(_decode_field(field))
        case {"timestamp": unit, "zone": zone}:
            return pa.timestamp(unit, zone)
    if digits := _DECIMAL.match(kind):
        return pa.decimal128(int(digits[1]), int(digits[2]))
    if kind not in _SIMPLE:
        raise StoreError(
            f"a commit names columns of the type {kind!r}, which this version does not know",
            "use the version of Threadmill that wrote it, or a later one",
        )
    return _SIMPLE[kind]
