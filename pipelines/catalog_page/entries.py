"""What the catalog says of a dataset and its columns."""

from __future__ import annotations

from msgspec import Struct


class ColumnEntry(Struct, frozen=True):
    """One column: its type, what the YAML says of it, its least and greatest value as text, and the share of nulls."""

    name: str
    type: str
    description: str = ""
    unit: str = ""
    least: str = ""
    greatest: str = ""
    null_share: float | None = None


class Entry(Struct, frozen=True):
    """One dataset as the catalog shows it; `made_from` and `used_by` are its lineage.

    `time` is the column by which `per_time` counts rows: a day, month or year, and how many.
    """

    dataset: str
    description: str
    commit: int
    committed_at: str
    rows: int
    files: int
    size_bytes: int
    write: str
    key: tuple[str, ...]
    partition_by: tuple[str, ...]
    columns: tuple[ColumnEntry, ...]
    sample: tuple[tuple[str, ...], ...]
    made_from: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    time: str = ""
    per_time: tuple[tuple[str, int], ...] = ()

    @property
    def newest(self) -> str:
        """The greatest value of `time` as text; empty where that is not known."""
        return next((column.greatest for column in self.columns if column.name == self.time), "")
