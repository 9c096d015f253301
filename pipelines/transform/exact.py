"""Pages read value by value: slow, and the truth.

What a page means is defined here; `fast.py` may only give the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from msgspec import Struct
from msgspec.structs import replace

from pipelines.batch import Json
from pipelines.errors import ConfigError, DecodeError, TypeConflict
from pipelines.growth import fills
from pipelines.records import parse
from pipelines.transform.columns import OnMismatch, Path, Shape
from pipelines.transform.convert import Misfit, NoTime, as_they_are, converter, described
from pipelines.transform.exact_json import exact, json_text, parse_json, parse_lines
from pipelines.transform.plan import Plan, Reading, fields_of, keys_of
from pipelines.transform.settle import array_of, emitted, kind_of, settle
from pipelines.transform.times import Zoneless

_NO_ZONE = "say `zone: UTC`, or the API's own zone, beside the column's type"
_DECLARE = "correct the type in `columns`, or say `on_mismatch: quarantine` or `widen`"


class Reject(Struct, frozen=True):
    """A record that was set aside: what it was, and the column and reason that refused it."""

    record: str
    column: str
    reason: str


class ExactPage(Struct, frozen=True):
    """A page's columns by name, what it taught, and what it could not take, by the number of the record."""

    plan: Plan
    columns: dict[str, pa.Array]
    rows: int
    rejects: dict[int, Reject]


def read_exactly(body: bytes, shape: Shape, plan: Plan) -> ExactPage:
    """The columns of one page, with a plan that knows all its fields and types."""
    return columns_of(records_of(body, shape, unique=plan.unique), shape.on_mismatch, plan)


def columns_of(records: list[dict[str, Json]], on_mismatch: OnMismatch | None, plan: Plan) -> ExactPage:
    """The columns of parsed records.

    Raises:
        TypeConflict: A value does not fit, and the policy says fail.
        DecodeError: The same, where the value should be a time.
    """
    plan = plan.learn(fields_in(records, plan))
    refusals = _Refusals(records, on_mismatch)
    columns: dict[str, list[Any]] = {}
    for reading in plan.readings:
        values = values_of(records, reading, plan)
        settled = reading.settled
        try:
            if reading.declared is not None:
                values = _converted(values, reading, refusals)
            else:
                settled = _settled(values, reading, refusals, adds=plan.on_new == "add")
        except Misfit:
            values = values_of(records, replace(reading, declared=None), plan)
            settled = settle(pa.null(), values)
        if settled != reading.settled:
            plan = plan.widen(reading.name, settled)
        columns[reading.name] = values
    return _page(plan, columns, refusals)


def records_of(body: bytes, shape: Shape, *, unique: bool) -> list[dict[str, Json]]:
    """The records of a page, numbers exact; with *unique* a field that comes twice is an error.

    An empty field of CSV is a null.
    """
    if not body.strip():
        return []
    if shape.format == "csv":
        return [{name: value or None for name, value in row.items()} for row in parse(body, "csv")]
    read = parse_lines if shape.format == "ndjson" else parse_json
    records = shape.records.select(read(body, unique=unique))
    return [exact(record) for record in records] if shape.records.is_computed else records


def array_for(reading: Reading, values: Sequence[Any]) -> pa.Array:
    """Converted or settled values as the column that *reading* says."""
    if reading.declared is None:
        return array_of(values, reading.settled)
    try:
        return pa.array(values, reading.declared.arrow)
    except UnicodeEncodeError:
        raise DecodeError("a string holds half of a surrogate pair", "the API sends broken text") from None


def type_of(reading: Reading) -> pa.DataType:
    """The Arrow type of the column."""
    return emitted(reading.settled) if reading.declared is None else reading.declared.arrow


def values_of(records: Sequence[Json], reading: Reading, plan: Plan) -> list[Json]:
    """The values of one column, before they are converted."""
    if len(reading.path) == 1:
        values = [record.get(reading.path[0]) for record in records]
    else:
        values = [walk(record, reading.path) for record in records]
    if reading.declared is not None:
        return values
    if len(reading.path) <= plan.flatten:
        values = [None if isinstance(value, dict) else value for value in values]
    keys = tuple(map(str, reading.path))
    return [without(value, keys, plan.claimed) for value in values] if plan.claimed else values


def walk(value: Json, path: Path) -> Json:
    """The value at *path*, or None where a step is missing."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            inside = isinstance(value, list) and -len(value) <= step < len(value)
            value = value[step] if inside else None
    return value


def without(value: Json, path: tuple[str, ...], claimed: frozenset[tuple[str, ...]]) -> Json:
    """An object without the fields that other columns take; None if nothing is left."""
    if not isinstance(value, dict) or not any(claim[: len(path)] == path for claim in claimed):
        return value
    rest = {name: (*path, name) for name in value if (*path, name) not in claimed}
    return {name: without(value[name], below, claimed) for name, below in rest.items()} or None


def fields_in(records: list[dict[str, Json]], plan: Plan) -> list[tuple[str, ...]]:
    """The fields that columns may come from, in the order they first appear."""
    seen: dict[tuple[str, ...], None] = {}
    for record in records:
        seen.update(dict.fromkeys(fields_of(record, plan.flatten)))
    opened = {keys for path in (*seen, *plan.paths, *plan.claimed) if (keys := keys_of(path))}
    parents = {keys[:depth] for keys in opened for depth in range(1, len(keys))}
    return [path for path in seen if path not in plan.claimed and (path not in parents or _rest(records, path, plan))]


def _rest(records: list[dict[str, Json]], path: tuple[str, ...], plan: Plan) -> bool:
    """Whether anything of an object is left beside what other columns take from it."""
    return any(value is not None for value in values_of(records, Reading("", path), plan))


class _Refusals:
    """What the policy does with values that do not fit, record by record."""

    def __init__(self, records: list[dict[str, Json]], on_mismatch: OnMismatch | None) -> None:
        self.records = records
        self.on_mismatch = on_mismatch
        self.rejects: dict[int, Reject] = {}

    def add(self, row: int, column: str, misfit: Misfit) -> None:
        """Set the record aside, or end the run; `Misfit` leaves where the column is to widen."""
        if self.on_mismatch == "widen":
            raise misfit
        if self.on_mismatch != "quarantine":
            kind = DecodeError if isinstance(misfit, NoTime) else TypeConflict
            raise kind(f"record {row + 1} of a page: the value of {column!r} {misfit}", _DECLARE)
        self.rejects.setdefault(row, Reject(json_text(self.records[row]), column, str(misfit)))


def _settled(values: list[Json], reading: Reading, refusals: _Refusals, *, adds: bool) -> pa.DataType:
    """The type that *values* widen an undeclared column to; where the policy forbids that, they may only fill it."""
    known = reading.settled
    settled = settle(known, values)
    unknown = kind_of(known) in (None, "null")
    if unknown or refusals.on_mismatch in (None, "widen") or fills(known, settled, adds=adds):
        return settled
    fitting = []
    for row, value in enumerate(values):
        if fills(known, settle(known, [value]), adds=adds):
            fitting.append(value)
        else:
            refusals.add(row, reading.name, Misfit(f"is {described(value)}, the column is {known}"))
    return settle(known, fitting)


def _converted(values: list[Json], reading: Reading, refusals: _Refusals) -> list[Any]:
    """The values of a declared column as pyarrow takes them."""
    assert reading.declared is not None  # noqa: S101 - for the type checker
    if as_they_are(values, reading.declared):
        return values
    convert = converter(reading.declared, reading.zone)
    try:
        return list(map(convert, values))
    except (Misfit, Zoneless):
        converted: list[Any] = []
    for row, value in enumerate(values):
        try:
            converted.append(convert(value))
        except Zoneless:
            raise ConfigError(f"a time in the column {reading.name!r} names no zone", _NO_ZONE) from None
        except Misfit as misfit:
            refusals.add(row, reading.name, misfit)
            converted.append(None)
    return converted


def _page(plan: Plan, columns: dict[str, list[Any]], refusals: _Refusals) -> ExactPage:
    rejects = refusals.rejects
    kept = [row for row in range(len(refusals.records)) if row not in rejects]
    if rejects:
        columns = {name: [values[row] for row in kept] for name, values in columns.items()}
    arrays = {reading.name: array_for(reading, columns[reading.name]) for reading in plan.readings}
    return ExactPage(plan, arrays, len(kept), {row: rejects[row] for row in sorted(rejects)})
