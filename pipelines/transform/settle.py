"""Types of columns that nobody declared: the narrowest that holds every value exactly.

Nothing < bool, or int64 < float64 where each integer survives, < text. Integers
beyond int64 become decimal(38,0), beyond that text. Objects become structs,
lists become lists; kinds that share no type become text, numbers as written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import pyarrow as pa

from pipelines.batch import Json, Real
from pipelines.errors import DecodeError, SchemaError
from pipelines.transform.exact_json import plain_text

MOST_COLUMNS = 2_000
_INFINITE = float("inf")
BIG_INTEGER = pa.decimal128(38, 0)
EMPTY_OBJECT = pa.struct([])
_KINDS: dict[type, str] = {bool: "bool", int: "int", Real: "real", str: "text", dict: "object", list: "list"}
_WORDS = {pa.bool_(): bool, pa.int64(): int, pa.string(): str}
_SCALARS = {"bool": pa.bool_(), "int": pa.int64(), "real": pa.float64(), "text": pa.string()}


def settle(settled: pa.DataType, values: Sequence[Json]) -> pa.DataType:
    """The narrowest type for *values* beside those that made *settled*."""
    kinds = {_KINDS[kind] for kind in set(map(type, values)) if kind is not type(None)}
    before = kind_of(settled)
    if before is None or not kinds:
        return settled if before is not None or not kinds else settle(pa.null(), values)
    if "real" in kinds and any(type(value) is Real and abs(value) == _INFINITE for value in values):
        raise DecodeError("a number exceeds what float64 holds", "declare its column as string or decimal")
    kinds |= {before} - {"null"}
    if kinds == {"object"}:
        return _struct(settled, [value for value in values if value])
    if kinds == {"list"}:
        items = settled.value_type if pa.types.is_list(settled) else pa.null()
        return pa.list_(settle(items, list(chain.from_iterable(value for value in values if value))))
    if kinds <= {"int", "real"}:
        return _number(settled, values, kinds)
    return _SCALARS[kinds.pop()] if len(kinds) == 1 else pa.string()


def kind_of(settled: pa.DataType) -> str | None:
    """The kind of JSON value that a settled type stands for; None for types that only a transform makes."""
    if pa.types.is_null(settled):
        return "null"
    if pa.types.is_boolean(settled):
        return "bool"
    if pa.types.is_integer(settled) or settled == BIG_INTEGER:
        return "int"
    if pa.types.is_struct(settled) or pa.types.is_list(settled):
        return "object" if pa.types.is_struct(settled) else "list"
    return {pa.float64(): "real", pa.string(): "text"}.get(settled)


def emitted(settled: pa.DataType) -> pa.DataType:
    """*settled* as files can hold it: an object that never had a field is a null."""
    if pa.types.is_struct(settled):
        return pa.struct([pa.field(item.name, emitted(item.type)) for item in settled]) if len(settled) else pa.null()
    return pa.list_(emitted(settled.value_type)) if pa.types.is_list(settled) else settled


def array_of(values: Sequence[Json], kind: pa.DataType) -> pa.Array:
    """*values* as a column of type *kind*, which `settle` found for them.

    Raises:
        DecodeError: A string holds half a surrogate pair.
    """
    try:
        if set(map(type, values)) <= {_WORDS.get(kind), type(None)}:
            return pa.array(values, kind)
        return pa.array(list(map(_nullable(_fitter(kind)), values)), kind)
    except UnicodeEncodeError:
        raise DecodeError("a string holds half of a surrogate pair", "the API sends broken text") from None


def _number(settled: pa.DataType, values: Sequence[Json], kinds: set[str]) -> pa.DataType:
    if pa.types.is_string(settled):
        return settled
    integers = [value for value in values if type(value) is int]
    if "real" in kinds:
        exact = settled != BIG_INTEGER and all(map(_survives, integers))
        return pa.float64() if exact else pa.string()
    if settled != BIG_INTEGER and all(-(2**63) <= value < 2**63 for value in integers):
        return pa.int64()
    return BIG_INTEGER if all(abs(value) < 10**38 for value in integers) else pa.string()


def _survives(value: int) -> bool:
    # some greater ones would too, but a column's type must not depend on how rows are cut into pages
    return abs(value) <= 2**53


def _struct(settled: pa.DataType, values: Sequence[dict[str, Json]]) -> pa.DataType:
    known = {item.name: item.type for item in settled} if pa.types.is_struct(settled) else {}
    names = dict.fromkeys(chain(known, *values))
    if len(names) > MOST_COLUMNS:
        raise SchemaError(
            f"an object has more than {MOST_COLUMNS} different fields", "declare the column as json, or use `entries`"
        )
    types = {name: settle(known.get(name, pa.null()), [value.get(name) for value in values]) for name in names}
    return pa.struct(list(types.items()))


def _fitter(kind: pa.DataType) -> Callable[[Json], Any]:
    """The function from a parsed value, no null, to what pyarrow takes for *kind*."""
    if pa.types.is_list(kind):
        item = _nullable(_fitter(kind.value_type))
        return lambda value: list(map(item, value))
    if pa.types.is_struct(kind):
        fields = {field.name: _nullable(_fitter(field.type)) for field in kind}
        return lambda value: {name: fit(value.get(name)) for name, fit in fields.items()}
    fitters: dict[pa.DataType, Callable[[Json], Any]] = {
        pa.null(): lambda _value: None,
        pa.string(): plain_text,
        pa.float64(): float,
        BIG_INTEGER: Decimal,
    }
    return fitters.get(kind, lambda value: value)


def _nullable(fit: Callable[[Json], Any]) -> Callable[[Json], Any]:
    return lambda value: None if value is None else fit(value)
