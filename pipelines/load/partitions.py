"""Which folder of the view a row belongs to.

`country` groups by value into `by_country=ES`; `year(t)`, `month(t)`, `day(t)`
by UTC time into `year=2024`, `month=2024-05`, `day=2024-05-01`; `bucket(16, id)`
by a stable hash into `bucket=07`.

The column that a folder is made from always stays in the file, so readers get
its value and type from there and never from the name: pandas, pyarrow and
Polars would read a folder `007` back as the number 7. That is also why a folder
of plain values is called `by_country` and not `country`: pandas and pyarrow
refuse a name that is a folder of one type and a column of another.

Values come from an API and may be hostile: a name is ASCII, percent-encoded, at
most 120 bytes, never empty, and always follows `name=`, so that no value leads
out of its folder. Nulls go to `__null__`, empty texts to `__empty__`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from msgspec import Struct

from pipelines.errors import PartitionError, SchemaError

NULL = "__null__"
EMPTY = "__empty__"
MAX_LABEL_BYTES = 120
MAX_PARTITIONS = 10_000
_KEPT = 100
_TIME = {"year": "%Y", "month": "%Y-%m", "day": "%Y-%m-%d"}
_PLAIN = re.compile(r"\w+")
_CALL = re.compile(r"(year|month|day)\( *(\w+) *\)")
_BUCKET = re.compile(r"bucket\( *(\d+) *, *(\w+) *\)")


class Partition(Struct, frozen=True):
    """One level of folders: a column and how its values are grouped."""

    field: str
    unit: str = "value"
    buckets: int = 0

    @property
    def name(self) -> str:
        """What stands before `=` in the folder's name."""
        return f"by_{self.field}" if self.unit == "value" else self.unit

    def labels(self, column: pa.ChunkedArray) -> pa.DictionaryArray:
        """What stands after `=`, for each row; encoded once per different value.

        Raises:
            PartitionError: The column's type cannot be grouped that way.
        """
        groups = self._groups(column).combine_chunks().dictionary_encode(null_encoding="encode")
        groups = groups.combine_chunks() if isinstance(groups, pa.ChunkedArray) else groups
        return pa.DictionaryArray.from_arrays(groups.indices, pa.array(self._texts(groups.dictionary), pa.string()))

    def keeps(self, old: pa.DataType, new: pa.DataType) -> bool:
        """Whether each value of type *old* stays in its folder when it becomes one of type *new*."""
        types = pa.types
        numbers = [types.is_signed_integer(kind) for kind in (old, new)]
        if old == new or types.is_null(old) or all(numbers):
            return True
        if self.unit in _TIME:
            return bool(types.is_temporal(old) and types.is_temporal(new))
        # all but numbers are hashed as texts
        return _same_text(old, new) and not (self.unit == "bucket" and any(numbers))

    def _groups(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        kind = column.type
        if pa.types.is_null(kind):
            return column
        if self.unit == "bucket":
            if pa.types.is_nested(kind):
                raise _cannot(self, kind, "group it by another column")
            return pa.chunked_array([_buckets(column, self.buckets)])
        if self.unit in _TIME:
            if not pa.types.is_temporal(kind) or pa.types.is_time(kind) or pa.types.is_duration(kind):
                raise _cannot(self, kind, "declare the column as a date or timestamp")
            return pc.floor_temporal(_utc(column).cast(pa.date32(), safe=False), unit=self.unit)
        if pa.types.is_nested(kind):
            raise _cannot(self, kind, "group it by another column")
        if pa.types.is_floating(kind) or pa.types.is_binary(kind):
            raise _cannot(self, kind, f"group it with `bucket(16, {self.field})`")
        if pa.types.is_timestamp(kind):
            raise _cannot(self, kind, f"group it with `day({self.field})` or `month({self.field})`")
        return column

    def _texts(self, values: pa.Array) -> list[str]:
        if pa.types.is_null(values.type):
            return [NULL] * len(values)
        if self.unit in _TIME:
            values = pc.strftime(values, format=_TIME[self.unit])
        if self.unit == "bucket":
            width = len(str(self.buckets - 1))
            return [NULL if value is None else f"{value:0{width}d}" for value in values.to_pylist()]
        return [encode(text) for text in values.cast(pa.string()).to_pylist()]


def parse(text: str) -> Partition:
    """The partition that *text* of `partition_by` describes; ValueError where it does not."""
    if match := _CALL.fullmatch(text):
        return Partition(match[2], match[1])
    if match := _BUCKET.fullmatch(text):
        if not 1 <= int(match[1]) <= MAX_PARTITIONS:
            raise ValueError(f"{text!r} needs between 1 and {MAX_PARTITIONS} buckets")
        return Partition(match[2], "bucket", int(match[1]))
    if _PLAIN.fullmatch(text):
        return Partition(text)
    raise ValueError(f"{text!r} is no partition; write field, year(field), month(field), day(field), bucket(16, field)")


def encode(value: str | None) -> str:
    """A folder name's right-hand side for *value*: safe on every file system, the same every time.

    A value whose code is longer than 120 bytes keeps its start, a `~` and its hash.
    """
    if value is None:
        return NULL
    if value == "":
        return EMPTY
    text = _quote(value)
    if text.startswith("__"):
        text = "%5F" + text[1:]
    if text.endswith("."):
        text = text[:-1] + "%2E"
    if len(text) <= MAX_LABEL_BYTES:
        return text
    # cut between characters: half of one would be no valid text for a reader
    kept = max((cut for cut in range(_KEPT) if len(_quote(value[:cut])) <= _KEPT), default=0)
    return f"{_quote(value[:kept])}~{xxhash.xxh3_64_hexdigest(value.encode())}"


def decode(text: str) -> str | None:
    """The value behind a folder name's right-hand side; of a shortened one, what is left."""
    if text == NULL:
        return None
    return "" if text == EMPTY else unquote(text.partition("~")[0])


def split(
    table: pa.Table, partition_by: tuple[str, ...], sort_by: tuple[str, ...] = ()
) -> Iterator[tuple[str, pa.Table]]:
    """Cut *table* into (folder, its rows), rows in the order of *sort_by*, else as they came.

    One sort and one take, however many partitions there are. A partition column that is missing is null.

    Raises:
        PartitionError: A partition column is of a wrong type, or has too many values.
        SchemaError: A column has the name of a partition folder.
    """
    order = [(name, "ascending") for name in sort_by]
    if not partition_by:
        yield "", (table.take(pc.sort_indices(table, sort_keys=order)) if order else table)
        return
    codes, folders = _codes(table, partition_by)
    if len(folders) == 1 and not order:
        yield folders[0], table
        return
    if order:
        keyed = table.select(list(dict.fromkeys(sort_by))).append_column("", pa.array(codes))
        table = table.take(pc.sort_indices(keyed, sort_keys=[("", "ascending"), *order]))
    else:
        # so small a type is sorted by counting, ten times as fast
        table = table.take(pa.array(np.argsort(codes.astype(np.uint16), kind="stable")))
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(folders)))])
    for folder, start, end in zip(folders, starts[:-1], starts[1:], strict=True):
        yield folder, table.slice(start, end - start)


def _same_text(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether a value of type *old*, written as text, is the same once it is of type *new*."""
    types = pa.types
    if types.is_decimal(new):
        scale = old.scale if types.is_decimal(old) else 0 if types.is_integer(old) else None
        return bool(scale == new.scale)
    return bool(types.is_string(new) or (types.is_integer(old) and types.is_integer(new)))


def _quote(value: str) -> str:
    return quote(value, safe="").replace("~", "%7E")


def _codes(table: pa.Table, partition_by: tuple[str, ...]) -> tuple[np.ndarray[Any, Any], list[str]]:
    """For each row the number of its folder, and the folders that occur."""
    codes = np.zeros(len(table), np.int64)
    folders = [""]
    for partition in map(parse, partition_by):
        labels = partition.labels(_column(table, partition))
        indices = labels.indices.to_numpy(zero_copy_only=False)
        codes, kept = _dense(codes * len(labels.dictionary) + indices, len(folders) * len(labels.dictionary))
        names = [f"{partition.name}={label}" for label in labels.dictionary.to_pylist()]
        folders = [f"{folders[code // len(names)]}/{names[code % len(names)]}".lstrip("/") for code in kept]
        if len(folders) > MAX_PARTITIONS:
            raise PartitionError(
                f"more than {MAX_PARTITIONS} partitions by {', '.join(partition_by)}", "group by `bucket(16, field)`"
            )
    return codes, folders


def _dense(codes: np.ndarray[Any, Any], limit: int) -> tuple[np.ndarray[Any, Any], list[int]]:
    """*codes*, all below *limit*, numbered without gaps; and those that occur."""
    if limit > 10 * MAX_PARTITIONS:
        kept, dense = np.unique(codes, return_inverse=True)
        return dense, kept.tolist()
    occurs = np.bincount(codes, minlength=limit) > 0
    return (np.cumsum(occurs) - 1)[codes], np.flatnonzero(occurs).tolist()


def _column(table: pa.Table, partition: Partition) -> pa.ChunkedArray:
    names = table.column_names
    if partition.name in names:
        raise SchemaError(
            f"the column {partition.name!r} has the name of the partition folder {partition.name}=",
            f"rename the column, or partition by `{partition.name}` itself",
        )
    # an API may leave out what is null; what no row has at all is refused once all are read
    return table[partition.field] if partition.field in names else pa.chunked_array([pa.nulls(len(table))])


def _utc(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # without its zone a timestamp is floored as UTC, which it is inside
    kind = column.type
    return column.cast(pa.timestamp(kind.unit)) if pa.types.is_timestamp(kind) and kind.tz else column


def _buckets(column: pa.ChunkedArray, buckets: int) -> pa.Array:
    nulls = column.is_null().to_numpy()
    if pa.types.is_signed_integer(column.type):
        numbers = column.fill_null(0).cast(pa.int64()).to_numpy().astype(np.uint64)
        mixed = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
        hashes = mixed ^ (mixed >> np.uint64(33))
    else:
        texts = column.cast(pa.string()).fill_null("").to_pylist()
        hashes = np.fromiter((xxhash.xxh3_64_intdigest(text.encode()) for text in texts), np.uint64, len(texts))
    return pa.array((hashes % np.uint64(buckets)).astype(np.int32), mask=nulls)


def _cannot(partition: Partition, kind: pa.DataType, hint: str) -> PartitionError:
    return PartitionError(f"cannot partition by {partition.unit} of {partition.field!r}, which is {kind}", hint)
