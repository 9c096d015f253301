"""The type words of `columns`, from text to Arrow.

    int8..int64  uint8..uint64  float64  decimal(12,2)  string  bool  date  json
    timestamp  timestamp(ms)  timestamp(ms) from epoch_ms  list<int64>  struct<id: int64, name: string>

A timestamp is always UTC. `from epoch_s`, `epoch_ms` and `epoch_us` say what a
number means; it is never guessed from its size.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from msgspec import Struct

WORDS = (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float64", "string", "bool", "date", "json"),
)
"""Types that are one word."""
FORMS = (
    "decimal(12,2)",
    "timestamp",
    "timestamp(ms)",
    "timestamp(ms) from epoch_ms",
    "list<int64>",
    "struct<id: int64>",
)
"""An example of each type that says more."""
UNITS = ("s", "ms", "us", "ns")
"""What a timestamp may count."""
EPOCHS = ("s", "ms", "us")
"""What a number may count since 1970."""
_INTEGER = re.compile(r"u?int(8|16|32|64)")
_DECIMAL = re.compile(r"decimal\( *(\d+) *, *(\d+) *\)")
_TIMESTAMP = re.compile(rf"timestamp(?:\(({'|'.join(UNITS)})\))?(?: +from +epoch_({'|'.join(EPOCHS)}))?")
_FIELD = re.compile(r"^\s*([A-Za-z_]\w*)\s*:\s*(.+)$", re.DOTALL)
_MOST_DIGITS = 38


class ColumnType(Struct, frozen=True, dict=True):
    """One declared type; `kind` is its first word."""

    kind: str
    unit: str = ""
    epoch: str = ""
    precision: int = 0
    scale: int = 0
    fields: tuple[tuple[str, ColumnType], ...] = ()
    """Of a struct: its fields; of a list: one, named `item`."""

    @property
    def is_integer(self) -> bool:
        """Whether it is one of the eight integer types."""
        return _INTEGER.fullmatch(self.kind) is not None

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and greatest value of an integer type."""
        bits = int(self.kind.removeprefix("u").removeprefix("int"))
        return (0, 2**bits - 1) if self.kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)

    @cached_property
    def arrow(self) -> Any:
        """The pyarrow type of the column."""
        import pyarrow as pa

        match self.kind:
            case "decimal":
                return pa.decimal128(self.precision, self.scale)
            case "timestamp":
                return pa.timestamp(self.unit, "UTC")
            case "list":
                return pa.list_(self.fields[0][1].arrow)
            case "struct":
                return pa.struct([pa.field(name, inner.arrow) for name, inner in self.fields])
        names = {"bool": "bool_", "date": "date32", "json": "string"}
        return getattr(pa, names.get(self.kind, self.kind))()


def parse_type(text: str) -> ColumnType:
    """The type that *text* names; raises ValueError with the known words where it names none."""
    text = text.strip()
    if text in WORDS:
        return ColumnType(text)
    if match := _DECIMAL.fullmatch(text):
        return _decimal(int(match[1]), int(match[2]))
    if match := _TIMESTAMP.fullmatch(text):
        return ColumnType("timestamp", unit=match[1] or "us", epoch=match[2] or "")
    if text.startswith("list<") and text.endswith(">"):
        return ColumnType("list", fields=(("item", parse_type(text[5:-1])),))
    if text.startswith("struct<") and text.endswith(">"):
        return ColumnType("struct", fields=tuple(_field(part) for part in _split(text[7:-1])))
    raise ValueError(f"no type {text!r}; known: {', '.join((*WORDS, *FORMS))}")


def _decimal(precision: int, scale: int) -> ColumnType:
    if not 0 < precision <= _MOST_DIGITS or scale > precision:
        raise ValueError(
            f"decimal({precision},{scale}): digits are 1 to {_MOST_DIGITS}, of which the second are behind"
        )
    return ColumnType("decimal", precision=precision, scale=scale)


def _field(text: str) -> tuple[str, ColumnType]:
    match = _FIELD.match(text)
    if match is None:
        raise ValueError(f"a struct's field is written `name: type`, not {text.strip()!r}")
    return match[1], parse_type(match[2])


def _split(text: str) -> list[str]:
    """Cut at the commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char in "<(") - (char in ">)")
        if char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    return [*parts, text[start:]]
