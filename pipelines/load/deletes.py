"""How a source says that a record is gone: a mark on the record, or its absence from a full read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jmespath
import numpy as np
from jmespath.exceptions import JMESPathError
from pydantic import Field, field_validator, model_validator

from pipelines.errors import SchemaError
from pipelines.values import Value

if TYPE_CHECKING:
    import pyarrow as pa

_CODE = "·code"
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

    def marked(self, table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """For each row whether `when` is true of it; asked once for each different combination of values.

        Raises:
            SchemaError: The expression names no column of *table*.
        """
        import polars as pl

        if self.when is None:
            return np.zeros(len(table), bool)
        expression = jmespath.compile(self.when)
        names = [name for name in _fields(expression.parsed) if name in table.column_names]
        if not names:
            raise SchemaError(
                f"`deletes: {{when: {self.when}}}` names no column of the rows",
                f"columns: {', '.join(table.column_names[:20])}",
            )
        frame = pl.DataFrame(pl.from_arrow(table.select(names)))
        distinct = frame.unique(maintain_order=True)
        true = [expression.search(row) not in _FALSE for row in distinct.to_dicts()]
        codes = frame.join(
            distinct.with_columns(pl.Series(_CODE, true)), on=names, how="left", nulls_equal=True, maintain_order="left"
        )
        return codes[_CODE].to_numpy().astype(bool)


def _fields(node: Any) -> list[str]:
    """The names that a parsed expression mentions."""
    if node["type"] == "field":
        return [str(node["value"])]
    return list(dict.fromkeys(name for child in node["children"] if isinstance(child, dict) for name in _fields(child)))
