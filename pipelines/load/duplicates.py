"""Of several rows with one key, the one that counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from pipelines.load.target import Target

_ROW, _ORDER = "·row", "·order"


def best(frame: pl.DataFrame, keys: Sequence[str], version: str | None) -> pl.DataFrame:
    """One row for each key: of the greatest *version* (null is least), of equal ones the last."""
    from pipelines.load.versions import ordered

    if frame.select(keys).n_unique() == len(frame):
        return frame
    if version:
        order = ordered(frame[version]).alias(_ORDER)
        frame = frame.with_columns(order).sort(_ORDER, nulls_last=False, maintain_order=True).drop(_ORDER)
    return frame.unique(list(keys), keep="last", maintain_order=True)


def one_for_each_key(table: pa.Table, target: Target) -> pa.Table:
    """The rows of *table* that stand for their key, in their order; all where a key column is missing."""
    # 0.1 s to import, and the parent, which writes no rows, never needs it
    import polars as pl

    keys = target.identity
    version = target.version if target.version not in keys and target.version in table.column_names else None
    columns = list(dict.fromkeys((*keys, *([version] if version else []))))
    if not set(columns) <= set(table.column_names):
        return table
    frame = pl.DataFrame(pl.from_arrow(table.select(columns))).with_row_index(_ROW)
    rows = best(frame, keys, version)[_ROW]
    return table if len(rows) == len(table) else table.take(rows.sort().to_arrow())
