"""Where a resource's rows go, and what happens to the rows that are there.

`Target` is the part of a resource's configuration that the load stage reads.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipelines.load.deletes import Deletes
from pipelines.load.partitions import parse
from pipelines.values import Value

Write = Literal["append", "replace", "upsert", "history"]
OlderFiles = Literal["rewrite", "cast"]
VALID_FROM, VALID_TO, IS_CURRENT = VALIDITY = ("valid_from", "valid_to", "is_current")
"""The columns that `write: history` adds: a row held from the first until before the second."""
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class Target(Value):
    """How rows are written: key, write mode, partitions, order."""

    description: str | None = Field(None, description="what one row is, for the catalog")
    key: Names = Field((), description="columns that tell one row from another")
    write: Write = Field("replace", description="append, replace, upsert by key, or history: every version of a key")
    version: str | None = Field(
        None,
        description="with upsert: the row with the greatest version wins; with history: when a version begins; "
        "numbers and times in text count as such",
    )
    deletes: Deletes | None = Field(None, description="with upsert and history: how the API says that a row is gone")
    partition_by: Names = Field((), description="field, year(field), month(field), day(field) or bucket(16, field)")
    sort_by: Names = Field((), description="order of the rows within a file")
    older_files: OlderFiles = Field(
        "rewrite",
        description="when columns change: rewrite older files, so that a plain glob reads all as one; "
        "or cast them as they are read by `threadmill`, `pipelines.read` and catalog.duckdb",
    )
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
        keyed = self.write in {"upsert", "history"}
        if keyed and not self.key:
            raise ValueError(f"`write: {self.write}` needs a `key`")
        for name in ("version", "deletes"):
            if getattr(self, name) and not keyed:
                raise ValueError(f"`{name}` goes with `write: upsert` or `write: history`")
        named = {*self.key, self.version, *self.sort_by, *(parse(text).field for text in self.partition_by)}
        if self.write == "history" and (taken := sorted(named & set(VALIDITY), key=str)):
            raise ValueError(f"`write: history` makes {taken[0]!r} itself; no record has it yet")
        return self

    def telling(self, filled: Collection[str]) -> Target:
        """This one, where no row is marked as gone unless a column that tells is *filled*: `!active` would be true."""
        if self.deletes is None or self.deletes.told_by(filled):
            return self
        return self.model_copy(update={"deletes": self.deletes.without_marks})

    @property
    def order_matters(self) -> bool:
        """Whether rows of one key must be told apart by their order before they are split or sorted."""
        return self.write in {"upsert", "history"} and (bool(self.sort_by) or not self.keys_stay)

    @property
    def as_they_come(self) -> bool:
        """Whether rows are stored in the order of their pages, whatever is committed, and in one folder."""
        return self.write in {"append", "replace"} and not self.partition_by and not self.sort_by

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that tell the rows of one run apart: the key, and with a history of versions the version."""
        versions = self.write == "history" and self.version and self.version not in self.key
        return (*self.key, self.version) if versions and self.version else self.key

    @property
    def keys_stay(self) -> bool:
        """Whether a key can never move to another partition: its partition follows from the key."""
        return all(parse(text).field in self.key for text in self.partition_by)
