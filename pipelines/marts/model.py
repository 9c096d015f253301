"""What `config/marts.yaml` says: datasets that are made from other datasets.

A mart names its inputs (`source.dataset`, or `marts.name` for another mart) and
what makes it: a Python function or a DuckDB query, both in `pipelines/marts/`.
A mart is made again when an input has a new commit or the code that makes it
has changed; `inputs_fingerprint` tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from pipelines.batch import digest
from pipelines.errors import StoreError
from pipelines.values import DEVICES, Value

HOME = Path(__file__).parent
MARTS = "marts"

_NAME = r"^[a-z][a-z0-9_]{0,62}$"

Name = Annotated[str, StringConstraints(pattern=_NAME)]
DatasetName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*\.[a-z][a-z0-9_]*$")]
FunctionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*:[a-z][a-z0-9_]*$")]
Names = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
SqlFile = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*\.sql$")]


class Mart(Value):
    """One derived dataset: its inputs, what makes it, and how it is stored."""

    description: str = Field(default="", description="What one row is and what the dataset answers.")
    inputs: dict[Name, DatasetName] = Field(
        min_length=1, description="Argument (or view) of the mart: the dataset it stands for."
    )
    function: FunctionName | None = Field(default=None, description="`module:function` of pipelines/marts/.")
    sql: SqlFile | None = Field(default=None, description="DuckDB query, a file of pipelines/marts/.")
    split_by: Name | None = Field(
        default=None,
        description="The input whose rows are divided over the processes, of which each sees its own only; the others "
        "are given whole.",
    )
    key: Names = Field(
        default=(), description="The columns that name one row; a mart in which two rows have one key fails."
    )
    partition_by: Names = Field(default=(), description="`field`, `month(field)`, `day(field)` and so on.")
    sort_by: Names = Field(default=(), description="Order of the rows within a file.")
    expect: tuple[dict[str, Any], ...] = Field(default=(), description="Checks on the finished dataset.")
    columns: dict[str, str] = Field(default={}, description="Column: what it says, with its unit.")

    @model_validator(mode="after")
    def _one_maker(self) -> Self:
        if (self.function is None) == (self.sql is None):
            raise PydanticCustomError("maker", "needs either `function` or `sql`")
        if self.sql is not None and self.split_by is not None:
            raise PydanticCustomError("split_by", "a query sees all rows; `split_by` goes with `function`")
        if self.split_by is not None and self.split_by not in self.inputs:
            context = {"word": self.split_by, "words": sorted(self.inputs), "known": ", ".join(sorted(self.inputs))}
            raise PydanticCustomError("split_by", "`split_by: {word}` is no input; known: {known}", context)
        return self

    @property
    def maker(self) -> str:
        """The function or the SQL file, as written."""
        return self.function or self.sql or ""

    @property
    def mart_inputs(self) -> list[str]:
        """Names of the marts that this one is made from."""
        datasets = (dataset.split(".", 1) for dataset in self.inputs.values())
        return sorted({name for source, name in datasets if source == MARTS})


class Marts(Value):
    """The file `config/marts.yaml`."""

    marts: dict[str, Mart]

    @model_validator(mode="after")
    def _connected(self) -> Self:
        for name, mart in self.marts.items():
            if not re.fullmatch(_NAME, name) or name in DEVICES:
                raise PydanticCustomError("mart_name", "{name}: needs a name such as city_day", {"name": name})
            for missing in sorted(set(mart.mart_inputs) - set(self.marts)):
                context = {"name": name, "word": missing, "words": sorted(self.marts)}
                raise PydanticCustomError("mart_input", "{name}: no mart {word} in this file", context)
        try:
            self.in_order()
        except CycleError as error:
            ring = " > ".join(error.args[1])
            raise PydanticCustomError("mart_cycle", "marts are made from each other: {ring}", {"ring": ring}) from error
        return self

    def in_order(self) -> list[str]:
        """Names of all marts, each after the marts it is made from."""
        sorter = TopologicalSorter({name: mart.mart_inputs for name, mart in self.marts.items()})
        return list(sorter.static_order())

    def fingerprints(self, heads: Mapping[str, str]) -> dict[str, str]:
        """The fingerprint of every mart; *heads* tell the last commit of the sources by name."""
        code = code_digest()
        known: dict[str, str] = {}
        for name in self.in_order():
            made = {f"{MARTS}.{at}": known[at] for at in known}
            known[name] = inputs_fingerprint(self.marts[name], {**heads, **made}, code)
        return known


def inputs_fingerprint(mart: Mart, heads: Mapping[str, str], code: str) -> str:
    """Equal as long as making *mart* again would give the same rows.

    *heads* maps a source to its last commit, by number and run: a commit that was
    removed leaves its number to another. A mart as an input counts by its own
    fingerprint under `marts.<name>`: the commit number of the marts moves with
    every one of them. An input without a commit counts as none. *code* is the
    digest of what marts are made with.
    """
    lines = [mart.model_dump_json(exclude={"description", "columns"}), code]
    for dataset in sorted(mart.inputs.values()):
        source = dataset.split(".", 1)[0]
        head = heads.get(dataset if source == MARTS else source, "none")
        lines.append(f"{dataset}@{head}")
    return digest("\n".join(lines).encode())


def code_digest() -> str:
    """One digest of all code, queries and reference tables that marts are made with, as they are now."""
    files = sorted(path.relative_to(HOME) for path in HOME.rglob("*") if path.is_file())
    made_with = [path for path in files if not any(part.startswith((".", "__pycache__")) for part in path.parts)]
    try:
        return digest(b"".join(path.as_posix().encode() + (HOME / path).read_bytes() for path in made_with))
    except OSError as error:
        raise StoreError(f"cannot read {error.filename}: {error.strerror}", "install the package again") from error
