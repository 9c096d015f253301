"""Values as they came become those of their columns: times are read, what may have been rounded is refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.transform.column_types import ColumnType
from pipelines.transform.exact import type_of
from pipelines.transform.plan import Reading
from pipelines.transform.times import FIRST_SECOND, LAST_SECOND, PER_SECOND, instant_of

_EXACT_FLOAT = 2.0**53
_RULES_SECOND = 2_114_380_800
"""From 2037 on the offsets of a zone follow from its rule, which Arrow does not read; 9999 may stand for "never"."""


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
        Refused: A number may have been rounded, or a time lies outside the years that there are.
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
        instants = _in_zone(local, values, kind, zone)
    return _in_years(instants, instants.cast(pa.int64()), PER_SECOND[kind.unit])


def _in_zone(local: pa.Array, texts: pa.Array, kind: ColumnType, zone: str) -> pa.Array:
    """The instants of *local* times of *zone*; from 2037 on each different one of *texts* is read exactly, once."""
    by_rule = pc.greater_equal(local.cast(pa.int64()), _RULES_SECOND * PER_SECOND[kind.unit]).fill_null(False)
    listed = pc.if_else(by_rule, pa.scalar(None, local.type), local)
    instants = pc.assume_timezone(listed, zone, ambiguous="earliest", nonexistent="raise").cast(kind.arrow)
    if not by_rule.true_count:
        return instants
    named = texts.filter(by_rule).dictionary_encode()
    try:
        exact = [instant_of(text, kind.unit, zone) for text in named.dictionary.to_pylist()]
    except ValueError as error:
        raise Refused from error
    return pc.replace_with_mask(instants, by_rule, pa.array(exact, pa.int64()).take(named.indices).cast(kind.arrow))


def _in_years(array: pa.Array, counts: pa.Array, per_second: float) -> pa.Array:
    """*array*, refused where its *counts* leave the years 1 to 9999."""
    if len(counts) > counts.null_count:
        extremes = pc.min_max(counts)
        first, last = extremes["min"].as_py() / per_second, extremes["max"].as_py() / per_second
        if first < FIRST_SECOND or last >= LAST_SECOND + 1:
            raise Refused
    return array
