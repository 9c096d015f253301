"""Values as they came become those of their columns: times are read, what may have been rounded is refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.transform.column_types import ColumnType
from pipelines.transform.exact import type_of
from pipelines.transform.plan import Reading
from pipelines.transform.times import FIRST_SECOND, LAST_SECOND, PER_SECOND

_EXACT_FLOAT = 2.0**53
_RULES_SECOND = 2_114_380_800
"""From 2037 on the offsets of a zone follow from its rule, which Arrow does not read."""


class Refused(Exception):
    """The page holds something that only the exact path can judge."""


def carrier(reading: Reading) -> pa.DataType:
    """The type that values have before times are read from their text or number."""
    kind = reading.declared
    if kind is not None and kind.kind in ("date", "timestamp"):
        return pa.int64() if kind.epoch else pa.string()
    return type_of(reading)


def finished(reading: Reading, array: pa.Array) -> pa.Array:
    """The column of *reading* from its values as they came.

    Raises:
        Refused: A number may have been rounded, or a time lies outside the years that there are or that Arrow knows.
        pyarrow.ArrowException: A text is no time.
    """
    kind = reading.declared
    if kind is not None and kind.kind in ("date", "timestamp"):
        return _times(kind, reading.zone, array)
    if pa.types.is_floating(array.type) and len(array) > array.null_count:
        extremes = pc.min_max(array)
        if max(-extremes["min"].as_py(), extremes["max"].as_py()) >= _EXACT_FLOAT:
            raise Refused  # it may have been an integer that a float rounds
    return array


def _times(kind: ColumnType, zone: str | None, values: pa.Array) -> pa.Array:
    if kind.kind == "date":
        days = values.cast(pa.date32())
        return _in_years(days, days.cast(pa.int32()).cast(pa.int64()), 1 / 86_400)
    if kind.epoch:
        instants = _in_years(values, values, PER_SECOND[kind.epoch]).cast(pa.timestamp(kind.epoch, "UTC"))
        return instants.cast(kind.arrow)
    try:
        instants = values.cast(kind.arrow)
    except pa.ArrowInvalid:
        if zone is None:
            raise
        local = values.cast(pa.timestamp(kind.unit))
        _refuse_rules(local, PER_SECOND[kind.unit])
        instants = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="raise").cast(kind.arrow)
    return _in_years(instants, instants.cast(pa.int64()), PER_SECOND[kind.unit])


def _refuse_rules(local: pa.Array, per_second: int) -> None:
    last = pc.max(local.cast(pa.int64())).as_py()
    if last is not None and last >= _RULES_SECOND * per_second:
        raise Refused


def _in_years(array: pa.Array, counts: pa.Array, per_second: float) -> pa.Array:
    """*array*, refused where its *counts* leave the years 1 to 9999."""
    if len(counts) > counts.null_count:
        extremes = pc.min_max(counts)
        first, last = extremes["min"].as_py() / per_second, extremes["max"].as_py() / per_second
        if first < FIRST_SECOND or last >= LAST_SECOND + 1:
            raise Refused
    return array
