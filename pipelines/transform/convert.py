"""One value into its declared type, or the reason why it does not fit.

Only what loses nothing converts: `"12"` and `12.0` into int64, `12` into
string, `"1.50"` into decimal(12,2); never `"n/a"`, `1.5` into int64 or
`9007199254740993` into float64. This module defines it; the fast path may
only take what gives the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from pipelines.batch import Json, Real
from pipelines.transform.column_types import ColumnType
from pipelines.transform.exact_json import json_text, plain_text
from pipelines.transform.times import Zoneless, day_of, instant_of, instant_of_epoch

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_LONGEST_NUMBER = 400
Convert = Callable[[Json], Any]


class Misfit(ValueError):
    """A value does not fit; the text continues "the value ..."."""


class NoTime(Misfit):
    """A value is no time, or none that can be."""


def converter(kind: ColumnType, zone: str | None = None) -> Convert:
    """The function from a parsed JSON value to what pyarrow takes for *kind*; null stays None.

    The function raises `Misfit`, or `Zoneless` for a time without a zone.
    """
    convert = _converter(kind, zone)

    def fit(value: Json) -> Any:
        if value is None:
            return None
        try:
            return convert(value)
        except (Misfit, Zoneless):
            raise
        except ValueError as error:
            raise NoTime(str(error)) from None

    return fit


def _converter(kind: ColumnType, zone: str | None) -> Convert:
    if kind.is_integer:
        lowest, highest = kind.bounds
        return lambda value: _integer(value, lowest, highest)
    if kind.kind == "timestamp":
        if kind.epoch:
            return lambda value: instant_of_epoch(_number(value), kind.epoch, kind.unit)
        return lambda value: instant_of(_text(value), kind.unit, zone)
    if kind.kind in ("list", "struct"):
        return _list(kind, zone) if kind.kind == "list" else _struct(kind, zone)
    scalars: dict[str, Convert] = {
        "string": plain_text,
        "json": json_text,
        "bool": _boolean,
        "float64": _float,
        "decimal": lambda value: _decimal(value, kind),
        "date": lambda value: day_of(_text(value)),
    }
    return scalars[kind.kind]


def as_they_are(values: Sequence[Json], kind: ColumnType) -> bool:
    """Whether pyarrow takes *values* for *kind* without any conversion; saves most of the exact path's time."""
    kinds = set(map(type, values)) - {type(None)}
    if kind.is_integer and kinds == {int}:
        lowest, highest = kind.bounds
        numbers = [value for value in values if value is not None]
        return bool(lowest <= min(numbers) and max(numbers) <= highest)
    return kinds <= {{"string": str, "bool": bool}.get(kind.kind, type(None))}


def described(value: Json) -> str:
    """What kind of value it is, never its content."""
    if value is None or isinstance(value, bool):
        return json_text(value)
    if isinstance(value, str):
        return f"a string of {len(value)} characters"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return f"a number of {len(plain_text(value))} characters"


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise Misfit(f"is {described(value)} and not text")
    return value


def _number(value: Json) -> int | Real:
    """A JSON number, or a string that is written as one."""
    if isinstance(value, str) and len(value) <= _LONGEST_NUMBER and _NUMBER.fullmatch(value):
        return Real(value) if set(value) & set(".eE") else int(value)
    if isinstance(value, bool) or not isinstance(value, int | Real):
        raise Misfit(f"is {described(value)} and no number")
    return value


def _decimal_of(number: int | Real) -> Decimal:
    try:
        return Decimal(number.text if isinstance(number, Real) else number)
    except InvalidOperation:
        raise Misfit("has an exponent beyond all bounds") from None


def _integer(value: Json, lowest: int, highest: int) -> int:
    number = _number(value)
    if isinstance(number, Real):
        if number != number // 1 or abs(number) > 2.0**70:  # inf and fractions, before Decimal makes digits of 1e999
            raise Misfit("is no whole number, or too large")
        exact = _decimal_of(number)
        if exact != int(exact):
            raise Misfit("is no whole number")
        number = int(exact)
    if not lowest <= number <= highest:
        raise Misfit(f"lies outside {lowest} to {highest}")
    return int(number)


def _float(value: Json) -> float:
    number = _number(value)
    if isinstance(number, Real):
        if number in (float("inf"), float("-inf")):
            raise Misfit("is larger than float64 holds")
        return float(number)
    if abs(number) > 2**53 and (abs(number) > 2**1000 or int(float(number)) != number):
        raise Misfit("is an integer that float64 would round")
    return float(number)


def _decimal(value: Json, kind: ColumnType) -> Decimal:
    number = _decimal_of(_number(value))
    if number == 0:
        return Decimal(0).scaleb(-kind.scale)
    if number.adjusted() >= kind.precision - kind.scale:
        raise Misfit(f"has more than {kind.precision - kind.scale} digits before the point")
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101 - _NUMBER and JSON know no NaN
    shift = exponent + kind.scale
    if shift < 0 and any(digits[shift:]):
        raise Misfit(f"has more than {kind.scale} digits behind the point")
    kept = digits[:shift] if shift < 0 else digits + (0,) * shift
    return Decimal((sign, kept, -kind.scale))


def _boolean(value: Json) -> bool:
    if not isinstance(value, bool):
        raise Misfit(f"is {described(value)} and neither true nor false")
    return value


def _list(kind: ColumnType, zone: str | None) -> Convert:
    inner = converter(kind.fields[0][1], zone)

    def convert(value: Json) -> list[Any]:
        if not isinstance(value, list):
            raise Misfit(f"is {described(value)} and no list")
        return [inner(item) for item in value]

    return convert


def _struct(kind: ColumnType, zone: str | None) -> Convert:
    inner = {name: converter(field, zone) for name, field in kind.fields}

    def convert(value: Json) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Misfit(f"is {described(value)} and no object")
        if strange := value.keys() - inner.keys():
            raise Misfit(f"has the field {min(strange)[:60]!r} that the struct does not declare")
        return {name: convert_field(value.get(name)) for name, convert_field in inner.items()}

    return convert
