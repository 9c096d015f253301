"""Which files may stay as they are when the columns of their dataset change, and how readers cast them.

The commit names one schema for all files of a dataset. A file with older columns
is cast as it is read. That is left to the readers only where pyarrow, DuckDB and
`recast` give equal values; any other file is written again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from pipelines.errors import TypeConflict
from pipelines.load.changes import Place
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.partitions import parse
from pipelines.load.schema import same_columns
from pipelines.load.stored import read_errors

_EXACT = 2**53
_UNITS = ("s", "ms", "us")
_SQL = {
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "uint64": "UBIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "binary": "BLOB",
    "date32[day]": "DATE",
    "date64[ms]": "DATE",
    "time32[s]": "TIME",
    "time32[ms]": "TIME",
    "time64[us]": "TIME",
    "time64[ns]": "TIME_NS",
    "timestamp[s]": "TIMESTAMP",
    "timestamp[ms]": "TIMESTAMP",
    "timestamp[us]": "TIMESTAMP",
    "timestamp[ns]": "TIMESTAMP_NS",
    "duration[s]": "BIGINT",
    "duration[ms]": "BIGINT",
    "duration[us]": "BIGINT",
    "duration[ns]": "BIGINT",
    "null": '"NULL"',
}


def reads_as(path: Path, schema: pa.Schema) -> bool:
    """Whether readers can cast the stored file at *path* to *schema*; only its footer is read.

    Raises:
        StoreError: The file is gone or damaged.
    """
    with read_errors():
        footer = pq.read_metadata(path)
    return all(
        field.name in schema.names
        and (_casts(field.type, kind := schema.field(field.name).type) or _fits(footer, field, kind))
        for field in footer.schema.to_arrow_schema()
    )


def outgrown(place: Place, dataset: Dataset, schema: pa.Schema) -> tuple[Dataset, frozenset[str]]:
    """*dataset* once its columns are *schema*: files that stay are `older`; and the paths of those to write again.

    Raises:
        TypeConflict: Rows of the new types would go to other folders than those that are there.
        StoreError: A file is gone or damaged.
    """
    known = dataset.schema
    if known is None or not dataset.files or same_columns(known, schema):
        return dataset, frozenset()
    refuse_regrouping(place, known, schema, known)
    if place.target.older_files == "rewrite":
        return dataset, frozenset(file.path for file in dataset.files)
    files = tuple(replace(file, older=reads_as(place.store / file.path, schema)) for file in dataset.files)
    return replace(dataset, files=files), frozenset(file.path for file in files if not file.older)


def refuse_regrouping(place: Place, old: pa.Schema, new: pa.Schema, declared: pa.Schema) -> None:
    """Raise `TypeConflict` where rows of *old* are in other folders than rows of *new*; tells the *declared* type."""
    for partition in map(parse, place.target.partition_by):
        name = partition.field
        kinds = [schema.field(name).type for schema in (old, new) if name in schema.names]
        if len(kinds) == 2 and not partition.keeps(*kinds):
            raise TypeConflict(
                f"{place.dataset}: folders are made from {name!r}, which is {kinds[0]} and now comes as {kinds[1]}",
                f"declare its type in `columns`: {{{name}: {str(declared.field(name).type).replace('128', '')}}}",
            )


def sql_type(kind: pa.DataType) -> str:
    """*kind* as DuckDB calls it."""
    if pa.types.is_struct(kind):
        fields = (f'"{field.name.replace(chr(34), chr(34) * 2)}" {sql_type(field.type)}' for field in kind)
        return f"STRUCT({', '.join(fields)})"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind) and kind.tz:
        return "TIMESTAMPTZ_NS" if kind.unit == "ns" else "TIMESTAMPTZ"
    return _SQL.get(str(kind), "VARCHAR")


def of_older(where: str, files: Iterable[LiveFile]) -> tuple[str, ...]:
    """A warning about those of *files* that have older columns."""
    older = sum(file.older for file in files)
    if not older:
        return ()
    what = "1 file has" if older == 1 else f"{older:,} files have"
    return (
        f"{where}: {what} older columns, which a plain glob may not read as one; `threadmill compact` rewrites them",
    )


def _casts(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether any value of *old* becomes the equal one of *new* in every reader."""
    types = pa.types
    if old == new or types.is_null(old):
        return True
    if types.is_struct(old) and types.is_struct(new):
        wider = {field.name: field.type for field in new}
        return all(field.name in wider and _casts(field.type, wider[field.name]) for field in old)
    if types.is_list(old) and types.is_list(new):
        return _casts(old.value_type, new.value_type)
    return _casts_time(old, new) if types.is_temporal(old) else _casts_number(old, new)


def _casts_time(old: pa.DataType, new: pa.DataType) -> bool:
    if not pa.types.is_timestamp(new) or new.unit not in _UNITS:
        return False
    if pa.types.is_timestamp(old) and old.unit in _UNITS:
        return _UNITS.index(old.unit) <= _UNITS.index(new.unit) and (old.tz is None) == (new.tz is None)
    # midnight of a date depends on the zone of whoever reads it
    return bool(pa.types.is_date32(old) and new.tz is None)


def _casts_number(old: pa.DataType, new: pa.DataType) -> bool:
    types = pa.types
    if types.is_decimal(old) or not types.is_integer(old):
        return bool(types.is_decimal(old) and types.is_decimal(new)) or (old, new) == (pa.float32(), pa.float64())
    same_sign = types.is_signed_integer(old) == types.is_signed_integer(new)
    wider = types.is_integer(new) and same_sign and new.bit_width >= old.bit_width
    return bool(wider or types.is_decimal(new) or types.is_string(new))


def _fits(footer: Any, field: pa.Field, new: pa.DataType) -> bool:
    """Whether a column of integers has none that a float would round: its least and greatest tell."""
    if not (pa.types.is_integer(field.type) and new == pa.float64()):
        return False
    for group in map(footer.row_group, range(footer.num_row_groups)):
        column = next(one for one in map(group.column, range(group.num_columns)) if one.path_in_schema == field.name)
        known = column.statistics
        if known is None or (not known.has_min_max and known.null_count != group.num_rows):
            return False
        if known.has_min_max and max(abs(known.min), abs(known.max)) > _EXACT:
            return False
    return True
