"""Which columns a resource has: declared types, nested sources, names, policies.

`Shape` is the part of a resource's configuration that the transform stage
reads. A column that is not declared keeps the type its values have.
"""

from __future__ import annotations

import re
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from pipelines.records import Format, Records, RecordsField
from pipelines.transform.checks import Expectation, Expectations
from pipelines.transform.column_types import ColumnType, parse_type
from pipelines.transform.mask import MaskRule
from pipelines.values import Value, Zone

Path = tuple[str | int, ...]
"""Where a value lies in a record: field names and list positions."""

OnMismatch = Literal["widen", "quarantine", "fail"]
_STEP = re.compile(r"""(?:^|\.)(?:([A-Za-z_][A-Za-z0-9_]*)|"((?:[^"\\]|\\.)+)")|\[(-?\d+)\]""")
_NAME = re.compile(r"[^\W\d]\w*")
_TRANSFORM = re.compile(r"^[A-Za-z_]\w*:[A-Za-z_]\w*$")
_LONGEST_NAME = 63


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """The steps of `properties.mag` or `geometry.coordinates[0]`; raises ValueError for anything else."""
    steps: list[str | int] = []
    end = 0
    for match in _STEP.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        steps.append(int(match[3]) if match[3] else match[1] or re.sub(r"\\(.)", r"\1", match[2]))
    if end != len(text) or not steps or isinstance(steps[0], int):
        raise ValueError(f'{text!r} is no path such as properties.mag, geometry.coordinates[0] or "odd name".x')
    return tuple(steps)


class Column(Value):
    """`name: TYPE`, or `name: {type: TYPE, from: PATH, ...}`."""

    model_config = ConfigDict(populate_by_name=True)

    type: str | None = Field(None, description="declared type; what the values have where it is left out")
    source: str | None = Field(None, alias="from", description="path in the record, such as properties.mag")
    zone: Zone | None = Field(None, description="IANA time zone of times that name none, such as Europe/Madrid")
    description: str | None = Field(None, description="what the values mean, for the catalog")
    unit: str | None = Field(None, description="unit of the values, for the catalog")
    required: bool = Field(False, description="a null fails the run, as `expect: {not_null: ...}` would")

    @field_validator("type")
    @classmethod
    def _type_exists(cls, text: str | None) -> str | None:
        if text is not None:
            parse_type(text)
        return text

    @field_validator("source")
    @classmethod
    def _path_parses(cls, text: str | None) -> str | None:
        if text is not None:
            parse_path(text)
        return text

    @cached_property
    def parsed(self) -> ColumnType | None:
        """The declared type."""
        return None if self.type is None else parse_type(self.type)


def _as_column(value: Any) -> Any:
    return {"type": value} if isinstance(value, str) else {} if value is None else value


ColumnField = Annotated[Column, BeforeValidator(_as_column)]


class Shape(Value):
    """How records become columns."""

    records: RecordsField = Records()
    format: Format = "json"
    columns: dict[str, ColumnField] = Field({}, description="declared columns: a type, or its options")
    flatten: int = Field(0, ge=0, le=10, description="so many levels of nested objects become columns parent_child")
    rename: dict[str, str] = Field({}, description="field of the API: name of the column")
    on_new_column: Literal["add", "ignore", "fail"] = Field(
        "add", description="what becomes of a field not seen before: add it as a column, ignore it, or fail"
    )
    on_mismatch: OnMismatch | None = Field(
        None,
        description="what a value that does not fit means: widen, quarantine or fail; "
        "by default declared columns fail, others widen",
    )
    mask: dict[str, MaskRule] = Field(
        {}, description="field: drop, last4 or sha256 (salt: ${MASK_SALT}), before anything is written from then on"
    )
    expect: Expectations = Field((), description="checks on each batch and on the finished dataset")
    transform: str | None = Field(None, description="module:function in pipelines/transforms, DataFrame to DataFrame")

    @field_validator("transform")
    @classmethod
    def _names_a_function(cls, text: str | None) -> str | None:
        if text is not None and not _TRANSFORM.match(text):
            raise ValueError(f"unknown transform {text!r}: write module:function of pipelines/transforms")
        return text

    @model_validator(mode="after")
    def _names_are_names(self) -> Shape:
        for name in (*self.columns, *self.rename.values()):
            if not _NAME.fullmatch(name) or len(name.encode()) > _LONGEST_NAME:
                raise ValueError(f"{name!r} cannot name a column: letters, digits and _, at most {_LONGEST_NAME} bytes")
        return self

    @property
    def checks(self) -> Expectations:
        """Those of `expect`, and that columns declared `required` are never null."""
        required = tuple(name for name, column in self.columns.items() if column.required)
        return (*self.expect, Expectation(not_null=required)) if required else self.expect
