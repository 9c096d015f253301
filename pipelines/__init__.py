"""Several HTTP APIs in, clean partitioned Parquet out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.reading import read, scan, sql

__all__ = ["read", "scan", "sql"]


def __getattr__(name: str) -> Any:
    """The readers, imported by the first who asks: workers and `--help` need none of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipelines import reading

    return getattr(reading, name)
