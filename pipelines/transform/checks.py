"""What the data must look like: `expect`, on each batch and on the finished dataset.

    expect: [{unique: id}, {not_null: [id, mag]}, {min_rows: 1, severity: warn},
             {between: {mag: [-2, 10]}}, {matches: {id: "[a-z]{2}.*"}}, {freshness: {updated: 7d}}]

`not_null`, `between` and `matches` are true or false of a row, so they hold for
each batch, in which a column that no record has is all null; the others only
make sense of a whole dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Struct
from pydantic import BeforeValidator, Field, FiniteFloat, field_validator, model_validator

from pipelines.errors import ExpectationFailed
from pipelines.values import Seconds, Value

if TYPE_CHECKING:
    import pyarrow as pa

Severity = Literal["warn", "quarantine", "fail"]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Bound = Annotated[int | FiniteFloat | None, Field(union_mode="left_to_right")]
_KINDS = ("unique", "not_null", "min_rows", "between", "matches", "freshness")
_PER_ROW = ("not_null", "between", "matches")
_MOST_DIGITS = 38


class Expectation(Value):
    """One check and what its violation means; of a history, checks of the whole dataset see the current rows."""

    unique: Names | None = Field(None, description="columns whose values together come once")
    not_null: Names | None = Field(
        None, description="columns that always have a value; a field that no record has is null"
    )
    min_rows: int | None = Field(None, ge=0, description="so many rows at least")
    between: dict[str, tuple[Bound, Bound]] | None = Field(None, description="column: [least, greatest]; null is open")
    matches: dict[str, str] | None = Field(None, description="column: regular expression for the whole text")
    freshness: dict[str, Seconds] | None = Field(None, description="time column: greatest age of its newest value")
    severity: Severity = Field("fail", description="warn, quarantine (rows are set aside) or fail")

    @field_validator("matches")
    @classmethod
    def _patterns_compile(cls, patterns: dict[str, str] | None) -> dict[str, str] | None:
        for pattern in (patterns or {}).values():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return patterns

    @model_validator(mode="after")
    def _one_kind(self) -> Expectation:
        named = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(named) != 1:
            raise ValueError(f"needs exactly one of {', '.join(_KINDS)}")
        if self.severity == "quarantine" and named[0] not in _PER_ROW:
            raise ValueError(f"{named[0]} is about the whole dataset: no row can be set aside for it")
        return self

    @property
    def kind(self) -> str:
        """Which check it is."""
        return next(kind for kind in _KINDS if getattr(self, kind) is not None)

    @property
    def per_row(self) -> bool:
        """Whether a batch alone can tell."""
        return self.kind in _PER_ROW

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        value = getattr(self, self.kind)
        return tuple(value) if not isinstance(value, int) else ()

    @property
    def told(self) -> str:
        """The check in one line, as the configuration has it."""
        value = getattr(self, self.kind)
        if self.freshness is not None:
            value = tuple(f"{name} {timedelta(seconds=age)}" for name, age in self.freshness.items())
        if isinstance(value, dict):
            value = tuple(f"{name} {_bounds(of) if isinstance(of, tuple) else of}" for name, of in value.items())
        return f"{self.kind}: {', '.join(value) if isinstance(value, tuple) else value}"

    @property
    def complaints(self) -> tuple[str, ...]:
        """The sentences about a violation of it, but for how many rows, and for what the newest value is."""
        missing = tuple(map(_missing, self.columns))
        if self.min_rows is not None:
            return (f"expected {self.min_rows} at least",)
        if self.unique is not None:
            return (f"rows repeat {', '.join(self.unique)}", *missing)
        if self.freshness is not None:
            return (*(f"the newest {name} is" for name in self.freshness), *missing)
        return (*(_sentence(self, name) for name in self.columns), *missing)


Expectations = tuple[Expectation, ...]


class Violation(Struct, frozen=True):
    """A check that does not hold: for how many rows, in one sentence."""

    check: str
    columns: tuple[str, ...]
    severity: Severity
    rows: int
    message: str


def violations(table: pa.Table, expectations: Iterable[Expectation], now: datetime | None = None) -> list[Violation]:
    """Those of *expectations* that *table* does not meet; a column that it has not is a violation."""
    return [found for one in expectations for found in _violated(table, one, now or datetime.now(UTC))]


def violations_by_rows(table: pa.Table, expectations: Iterable[Expectation]) -> list[Violation]:
    """Those of *expectations* that are true or false of a row, and that rows of *table* break.

    A column that *table* has not is all null: how rows fall into batches must not decide.
    """
    return [found for one in expectations if one.per_row for found in _broken_by_rows(table, one)]


def enforce(found: Iterable[Violation], where: str) -> None:
    """Raise `ExpectationFailed` if one of the violations is severe enough to end the run."""
    failed = [one.message for one in found if one.severity == "fail"]
    if failed:
        raise ExpectationFailed(
            f"{where}: {'; '.join(failed)}", "correct the data or the check, or lower it with `severity: warn`"
        )


def set_aside(table: pa.Table, expectations: Iterable[Expectation]) -> tuple[pa.Table, pa.Table | None]:
    """The rows that meet all checks of severity quarantine, and the others with `column` and `reason`.

    A column that *table* has not is all null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rejects: list[pa.Table] = []
    for one in expectations:
        for name in one.columns if one.per_row and one.severity == "quarantine" else ():
            bad = _bad_rows(table, one, name)
            if not pc.any(bad).as_py():
                continue
            rejects.append(_as_rejects(table.filter(bad), name, _sentence(one, name)))
            table = table.filter(pc.invert(bad))
    return table, pa.concat_tables(rejects) if rejects else None


def _as_rejects(rows: pa.Table, column: str, reason: str) -> pa.Table:
    import orjson
    import pyarrow as pa

    texts = [orjson.dumps(row, default=str).decode() for row in rows.to_pylist()]
    return pa.table({"record": texts, "column": [column] * len(texts), "reason": [reason] * len(texts)})


def _violated(table: pa.Table, one: Expectation, now: datetime) -> Iterable[Violation]:
    absent = [name for name in one.columns if name not in table.column_names]
    if absent:
        yield from (Violation(one.kind, (name,), one.severity, table.num_rows, _missing(name)) for name in absent)
    elif one.per_row:
        yield from _broken_by_rows(table, one)
    elif (broken := _broken(table, one, now)) is not None:
        yield Violation(one.kind, one.columns, one.severity, *broken)


def _broken_by_rows(table: pa.Table, one: Expectation) -> Iterable[Violation]:
    import pyarrow.compute as pc

    for name in one.columns:
        if rows := pc.sum(_bad_rows(table, one, name)).as_py():
            message = f"{rows} of {table.num_rows} rows: {_sentence(one, name)}"
            yield Violation(one.kind, (name,), one.severity, rows, message)


def _bad_rows(table: pa.Table, one: Expectation, name: str) -> Any:
    """True where the row breaks the check; a null breaks `not_null` only.

    Raises:
        ExpectationFailed: The column's type is none that can be checked so.
    """
    import pyarrow as pa

    column = table[name] if name in table.column_names else pa.chunked_array([pa.nulls(len(table))])
    try:
        return _broken_by(column, one, name)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _unfit(one.kind, name, table) from None


def _unfit(kind: str, name: str, table: pa.Table) -> ExpectationFailed:
    return ExpectationFailed(
        f"`{kind}` cannot be told of {name!r}, which is {table[name].type}",
        "declare the type of the column in `columns`, or leave the check out",
    )


def _broken_by(column: pa.ChunkedArray, one: Expectation, name: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if one.not_null is not None:
        return pc.is_null(column, nan_is_null=True)
    if one.matches is not None:
        texts = column.cast("string").combine_chunks()
        return pc.invert(pc.match_substring_regex(texts, f"^(?:{one.matches[name]})$")).fill_null(False)
    least, greatest = (one.between or {})[name]
    too_small = pc.less(column, _comparable(least, column.type)) if least is not None else pc.is_null(column)
    too_great = pc.greater(column, _comparable(greatest, column.type)) if greatest is not None else pc.is_null(column)
    if pa.types.is_floating(column.type):  # which is neither less nor greater than anything
        too_great = pc.or_kleene(too_great, pc.is_nan(column))
    return (
        pc.or_(too_small.fill_null(False), too_great.fill_null(False))
        if column.null_count == 0
        else pc.and_(pc.is_valid(column), pc.or_(too_small.fill_null(False), too_great.fill_null(False)))
    )


def _comparable(bound: int | float, kind: pa.DataType) -> int | float | Decimal:
    """*bound* as Arrow compares it with *kind*: its own integers have 64 bits, and no column has more of them."""
    import pyarrow as pa

    if isinstance(bound, float):
        return bound
    if pa.types.is_integer(kind):
        is_wide = pa.types.is_uint64(kind) or abs(bound) >= 2**63
        return Decimal(max(-(2**64), min(bound, 2**64))) if is_wide else bound
    if pa.types.is_decimal(kind) and len(str(abs(bound))) + kind.scale <= _MOST_DIGITS:
        return Decimal(bound)
    return bound if abs(bound) < 2**63 else float(max(-(10**300), min(bound, 10**300)))


def _bounds(bounds: tuple[int | float | None, int | float | None]) -> str:
    least, greatest = ("..." if bound is None else bound for bound in bounds)
    return f"{least} to {greatest}"


def _missing(name: str) -> str:
    return f"there is no column {name}"


def _sentence(one: Expectation, name: str) -> str:
    if one.not_null is not None:
        return f"{name} is null"
    if one.matches is not None:
        return f"{name} does not match {one.matches[name]!r}"
    least, greatest = (one.between or {})[name]
    return f"{name} is not between {least} and {greatest}"


def _broken(table: pa.Table, one: Expectation, now: datetime) -> tuple[int, str] | None:
    """Rows and sentence of a check of the whole dataset, or None where it holds."""
    import pyarrow as pa

    if one.min_rows is not None:
        few = table.num_rows < one.min_rows
        return (table.num_rows, f"{table.num_rows} rows, expected {one.min_rows} at least") if few else None
    if one.unique is not None:
        for name in one.unique:
            if pa.types.is_nested(table[name].type):
                raise _unfit("unique", name, table)
        distinct = table.group_by(list(one.unique)).aggregate([]).num_rows
        twice = table.num_rows - distinct
        return (twice, f"{twice} rows repeat {', '.join(one.unique)}") if twice else None
    return next(
        (stale for name, age in (one.freshness or {}).items() if (stale := _stale(table, name, age, now))), None
    )


def _stale(table: pa.Table, name: str, age_s: float, now: datetime) -> tuple[int, str] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table[name]
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        raise _unfit("freshness", name, table)
    try:
        newest = pc.max(column.cast(pa.timestamp("us", "UTC"), safe=False)).as_py()  # whatever is finer
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _unfit("freshness", name, table) from None
    if newest is not None and now - newest <= timedelta(seconds=age_s):
        return None
    return table.num_rows, f"the newest {name} is {newest or 'missing'}, older than {timedelta(seconds=age_s)}"
