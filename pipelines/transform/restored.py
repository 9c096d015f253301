"""Stored values of a column whose type has been declared since: the values they would be, were they read again."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pyarrow as pa
from msgspec import Struct

from pipelines.batch import Json, Real
from pipelines.errors import TypeConflict
from pipelines.transform.column_types import ColumnType
from pipelines.transform.columns import Shape
from pipelines.transform.convert import Misfit, converter
from pipelines.transform.times import Zoneless


class Declared(Struct, frozen=True):
    """A column and its declared type, with the zone of times that name none."""

    name: str
    kind: ColumnType
    zone: str | None = None

    @property
    def arrow(self) -> pa.DataType:
        """The type that its values have now."""
        return self.kind.arrow

    def again(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """*column*, as it is stored, in the declared type; each different value is converted once.

        Raises:
            TypeConflict: A value does not fit; it is described, not told.
        """
        if not _is_json(column.type):
            return self._cast(column)
        coded = column.combine_chunks().dictionary_encode()
        convert = converter(self.kind, self.zone)
        try:
            values = [convert(_as_json(value)) for value in coded.dictionary.to_pylist()]
        except Zoneless:
            told = "a stored time names no zone"
            raise TypeConflict(f"{self.name!r} is declared {self._word}, and {told}", self._hint("zone: UTC")) from None
        except Misfit as misfit:
            raise TypeConflict(
                f"{self.name!r} is declared {self._word}, and a stored value {misfit}", self._hint()
            ) from None
        return pa.chunked_array([pa.array(values, self.arrow).take(coded.indices)], self.arrow)

    def _cast(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Times, and what holds others: as Arrow has it, if nothing is lost; by itself it drops hours and fields."""
        if _has_times(column.type) == _has_times(self.arrow):  # else Arrow takes a time for its number, and back
            with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
                cast = column.cast(self.arrow, safe=True)
                if cast.cast(column.type, safe=True).equals(column):
                    return cast
        told = f"stored values are {column.type}, which would not all survive"
        raise TypeConflict(f"{self.name!r} is declared {self._word}, and {told}", self._hint())

    @property
    def _word(self) -> str:
        return self.kind.kind

    def _hint(self, more: str = "") -> str:
        better = f"name the zone of such times (`{more}`), declare" if more else "declare"
        return f"{better} another type, or say `on_mismatch: widen`, and the column keeps the type it has"


def declared_otherwise(shape: Shape, stored: pa.Schema | None) -> tuple[Declared, ...]:
    """The columns of *shape* whose *stored* type is not the one that is declared, unless they may be wider."""
    if stored is None or shape.on_mismatch == "widen":
        return ()
    known = set(stored.names)
    return tuple(one for one in _declared(shape) if one.name in known and stored.field(one.name).type != one.arrow)


def restored(table: pa.Table, shape: Shape, read: pa.Schema) -> pa.Table:
    """Stored rows as they would be, were they read again with the columns *read*; what does not fit stays."""
    for one in _declared(shape):
        if one.name not in table.column_names or one.name not in read.names:
            continue
        # what a transform makes of a column is not what is declared; and a merge makes text of what becomes text
        if read.field(one.name).type == one.arrow != table[one.name].type and not pa.types.is_string(one.arrow):
            with suppress(TypeConflict):
                table = table.set_column(table.column_names.index(one.name), one.name, one.again(table[one.name]))
    return table


def _declared(shape: Shape) -> Iterator[Declared]:
    return (Declared(name, one.parsed, one.zone) for name, one in shape.columns.items() if one.parsed)


def _has_times(kind: pa.DataType) -> bool:
    inner = [kind.field(number).type for number in range(kind.num_fields)] if pa.types.is_nested(kind) else []
    return bool(pa.types.is_temporal(kind) or any(map(_has_times, inner)))


def _is_json(kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(number or pa.types.is_string(kind) or pa.types.is_boolean(kind))


def _as_json(value: Any) -> Json:
    """*value* of a stored column as the API may have written it."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Misfit("is no number")
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else Real(f"{value:f}")
    return Real(repr(value)) if isinstance(value, float) else value
