"""How a source says that a record is gone: a mark on the record, or its absence from a full read."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jmespath
import numpy as np
from jmespath.exceptions import JMESPathError
from pydantic import Field, field_validator, model_validator

from pipelines.errors import DecodeError
from pipelines.records import find
from pipelines.values import Value

if TYPE_CHECKING:
    import pyarrow as pa

_CODE = "·code"
_NO_LETTER = re.compile(r"[\W_]+")
# beside what JMESPath takes for false also 0, as some APIs mark with 0 and 1
_FALSE: tuple[object, ...] = (None, False, "", [], {})


class Deletes(Value):
    """Which records are gone: those that `when` is true of, and with `missing` those that a full read has no more."""

    when: str | None = Field(None, description="JMESPath over a row's columns, such as _deleted or status == 'gone'")
    missing: bool = Field(False, description="rows that a full read of the resource does not have any more are gone")

    @field_validator("when")
    @classmethod
    def _parses(cls, text: str | None) -> str | None:
        try:
            _ = text is None or jmespath.compile(text)
        except JMESPathError:
            raise ValueError(f"{text!r} is no JMESPath such as _deleted or status == 'gone'") from None
        return text

    @model_validator(mode="after")
    def _says_something(self) -> Deletes:
        if self.when is None and not self.missing:
            raise ValueError("`deletes` needs `when` or `missing: true`")
        return self

    @property
    def names(self) -> list[str]:
        """The fields that `when` names."""
        return _fields(jmespath.compile(self.when).parsed) if self.when is not None else []

    @property
    def weighed(self) -> list[str]:
        """Those of which it asks more than whether they are there."""
        return _weighed(jmespath.compile(self.when).parsed) if self.when is not None else []

    def told_by(self, columns: Collection[str]) -> dict[str, str]:
        """Those of *columns* that `when` names, each with its name there: that of its field, `_deleted`, will do."""
        if self.when is None:
            return {}
        alike = {letters(column): column for column in columns}
        found = ((name if name in columns else alike.get(letters(name)), name) for name in self.names)
        return {column: name for column, name in found if column is not None}

    @property
    def marks_what_tells_nothing(self) -> bool:
        """Whether `when` is true of a row that has none of the columns that it names, as `!active` is."""
        if self.when is None:
            return False
        try:
            return find({}, self.when) not in _FALSE
        except DecodeError:  # a function that takes no null
            return False

    @property
    def without_marks(self) -> Deletes:
        """The same without `when`, by which no row is gone then."""
        return self.model_copy(update={"when": None})

    def marked(self, table: pa.Table, columns: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """For each row whether `when` is true of it; asked once for each different combination of values.

        What *table* lacks of *columns*, those of all rows, is null. Where none of them tells, no row is gone.

        Raises:
            DecodeError: A function of `when` meets what it does not take, such as null.
            ConfigError: There is no such function.
        """
        import polars as pl

        told = self.told_by(columns)
        if self.when is None or not told:
            return np.zeros(len(table), bool)
        here = [column for column in told if column in table.column_names]
        if not here:
            return np.full(len(table), self.marks_what_tells_nothing)
        names = [told[column] for column in here]
        frame = pl.DataFrame(pl.from_arrow(table.select(here).rename_columns(names)))
        distinct = frame.unique(maintain_order=True)
        true = [find(_as_json(row), self.when) not in _FALSE for row in distinct.to_dicts()]
        codes = frame.join(
            distinct.with_columns(pl.Series(_CODE, true)), on=names, how="left", nulls_equal=True, maintain_order="left"
        )
        return codes[_CODE].to_numpy().astype(bool)


def of_kept(
    where: str, deletes: Deletes | None, filled: Collection[str], stored: Sequence[str], *, is_whole: bool
) -> tuple[str, ...]:
    """Warnings about rows that are kept, though they may be gone.

    *filled* are the columns that some row just read has a value in, none where there were none, *stored* those of all.
    """
    told = []
    if deletes and deletes.missing and not is_whole:
        told.append(f"{where}: as records were set aside, none that is missing is taken for gone")
    if deletes and deletes.when and filled and not deletes.told_by(filled):
        named = f"`deletes: {{when: {deletes.when}}}` names no column"
        if not deletes.told_by(stored):
            told.append(f"{where}: {named} that rows have: none is taken for gone")
        elif deletes.marks_what_tells_nothing:
            told.append(f"{where}: {named} that has a value in this run: no row of it is taken for gone")
    return tuple(told)


def _as_json(value: Any) -> Any:
    """*value* of a column as JMESPath takes it: decimals as numbers, times as texts."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case date() | time():
            return value.isoformat()
        case dict():
            return {name: _as_json(one) for name, one in value.items()}
        case list():
            return [_as_json(one) for one in value]
    return value


def letters(name: str) -> str:
    """*name* as columns and fields have it in common: `_deleted`, `deleted`; `deletedBy`, `deleted_by`."""
    return _NO_LETTER.sub("", name).casefold()


def _fields(node: Any) -> list[str]:
    """The names that a parsed expression mentions."""
    if node["type"] == "field":
        return [str(node["value"])]
    return list(dict.fromkeys(name for child in _children(node) for name in _fields(child)))


def _weighed(node: Any) -> list[str]:
    """Those of them that stand in a function, or are compared with anything but null."""
    children = _children(node)
    is_compared = node["type"] == "comparator" and not any(map(_is_null, children))
    if is_compared or node["type"] == "function_expression":
        return _fields(node)
    return list(dict.fromkeys(name for child in children for name in _weighed(child)))


def _is_null(node: Any) -> bool:
    return node["type"] == "literal" and node["value"] is None


def _children(node: Any) -> list[Any]:
    return [child for child in node["children"] if isinstance(child, dict)]
