"""One chain of requests for each parent: records of another resource, or listed values."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import (
    BeforeValidator,
    Field,
    JsonValue,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_validator,
)

from pipelines.batch import Json, as_written
from pipelines.errors import ConfigError
from pipelines.values import Value

Scope = dict[str, Json]


def _as_values(value: object) -> object:
    return {"values": value} if isinstance(value, list) else value


class ForEach(Value):
    """`{resource: repos}`, `{values: {country: [US, FR], year: [2017, 2018]}}`, `{file: cities.csv}`.

    A record of `resource` is `{repos.field}` in placeholders, a column of `file`
    and a name of `values` are `{name}`. Several give their cross product.
    """

    resource: str | None = Field(None, description="resource of this source whose records are the parents")
    values: dict[str, list[JsonValue]] | list[dict[str, JsonValue]] | None = Field(
        None, description="lists by name, of which every combination is asked for; or a list of objects"
    )
    file: Path | None = Field(None, description="CSV with a header, or JSON list of objects; beside the source file")

    @field_validator("values", mode="wrap")
    @classmethod
    def _keep_their_texts(cls, values: object, valid: ValidatorFunctionWrapHandler) -> object:
        valid(values)
        return values  # what the validator gives has plain floats

    @field_serializer("values")
    def _as_written(self, values: Json) -> Json:
        return as_written(values)

    @field_validator("file")
    @classmethod
    def _beside_the_source(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        folder = (info.context or {}).get("folder")
        return Path(folder) / file if file and folder else file

    @model_validator(mode="after")
    def _names_parents(self) -> ForEach:
        if self.resource is None and self.values is None and self.file is None:
            raise ValueError("needs one of `resource`, `values` and `file`")
        return self

    @property
    def names(self) -> set[str]:
        """First words of the placeholders that this gives a value to, files aside."""
        listed = self.values if isinstance(self.values, dict) else (self.values or [{}])[0]
        return {*listed, *([self.resource] if self.resource else [])}

    def scopes(self, records: Iterable[dict[str, Json]] = ()) -> Iterator[Scope]:
        """The placeholders' values of each parent, in order; *records* are those of `resource`."""
        parents: Iterable[Scope] = [{}]
        if self.resource:
            parents = ({**record, self.resource: record} for record in records)
        listed = [row | given for row, given in product(self._file_rows(), self._combinations())]
        return ({**parent, **row} for parent in parents for row in listed)

    def file_names(self) -> set[str]:
        """First words of the placeholders that `file` gives a value to.

        Raises:
            ConfigError: It is not there, or not what such a file is.
        """
        return self._read(self.file)[0] if self.file else set()

    def _combinations(self) -> list[Scope]:
        if isinstance(self.values, dict):
            return [dict(zip(self.values, row, strict=True)) for row in product(*self.values.values())]
        return [{}] if self.values is None else list(self.values)

    def _file_rows(self) -> list[Scope]:
        if self.file is None:
            return [{}]
        return self._read(self.file)[1]

    def _read(self, file: Path) -> tuple[set[str], list[Scope]]:
        """The names and the rows of *file*."""
        hint = "`for_each: {file: ...}` takes CSV with a header, or a JSON list of objects, in UTF-8"
        try:
            written = file.read_text(encoding="utf-8-sig")
            if file.suffix == ".json":
                rows = json.loads(written)
                if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                    raise ConfigError(f"{file} is no list of objects", hint)
                return {name for row in rows for name in row}, rows
            reader = csv.DictReader(io.StringIO(written, newline=""))
            rows = list(reader)
        except FileNotFoundError:
            raise ConfigError(f"no such file: {file}", hint) from None
        except OSError as error:
            raise ConfigError(f"cannot read {file}: {error.strerror}", hint) from None
        except UnicodeDecodeError:
            raise ConfigError(f"{file} is not UTF-8", hint) from None
        except (ValueError, RecursionError, csv.Error) as error:
            raise ConfigError(f"{file} cannot be read: {error}", hint) from None
        odd = [number for number, row in enumerate(rows, 1) if None in row or None in row.values()]
        if odd:
            raise ConfigError(f"{file}: row {odd[0]} has not as many fields as the first line", hint)
        return set(reader.fieldnames or ()), rows


ForEachField = Annotated[ForEach, BeforeValidator(_as_values)]
