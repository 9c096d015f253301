"""Where a resource's rows go, and what happens to the rows that are there.

`Target` is the part of a resource's configuration that the load stage reads.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipelines.load.partitions import parse
from pipelines.values import Value

Write = Literal["append", "replace", "upsert"]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Target(Value):
    """How rows are written: key, write mode, partitions, order."""

    key: Names = Field((), description="columns that tell one row from another")
    write: Write = Field("replace", description="append, replace, or upsert by key")
    version: str | None = Field(None, description="with upsert: the row with the greatest version wins")
    partition_by: Names = Field((), description="field, year(field), month(field), day(field) or bucket(16, field)")
    sort_by: Names = Field((), description="order of the rows within a file")
    allow_empty: bool = Field(False, description="with replace: an empty answer may empty the dataset")

    @field_validator("partition_by")
    @classmethod
    def _partitions_parse(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [parse(text).name for text in value]
        if len(set(names)) < len(names):
            raise ValueError(f"two partitions would share a folder name: {', '.join(names)}")
        return value

    @model_validator(mode="after")
    def _mode_has_what_it_needs(self) -> Target:
        if self.write == "upsert" and not self.key:
            raise ValueError("`write: upsert` needs a `key`")
        if self.version and self.write != "upsert":
            raise ValueError("`version` goes with `write: upsert`")
        return self

    @property
    def order_matters(self) -> bool:
        """Whether rows of one key must be told apart by their order before they are split or sorted."""
        return self.write == "upsert" and (bool(self.sort_by) or not self.keys_stay)

    @property
    def keys_stay(self) -> bool:
        """Whether a key can never move to another partition: its partition follows from the key."""
        return all(parse(text).field in self.key for text in self.partition_by)
