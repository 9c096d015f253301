"""Which Python type msgspec is to check for, before a value becomes one of a column."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from msgspec import Raw

from pipelines.transform.column_types import ColumnType
from pipelines.transform.plan import Reading


def word_of(reading: Reading) -> Any:
    """The Python type that msgspec checks for: `Raw` where only the exact reading knows."""
    if reading.declared is not None:
        return _declared_word(reading.declared)
    words = {pa.null(): None, pa.bool_(): bool, pa.int64(): int, pa.float64(): float, pa.string(): str}
    return words.get(reading.settled, Raw)


def _declared_word(kind: ColumnType) -> Any:
    if kind.is_integer or kind.epoch:
        return int
    return {"float64": float, "string": str, "bool": bool, "date": str, "timestamp": str}.get(kind.kind, Raw)
