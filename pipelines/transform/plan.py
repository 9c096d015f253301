"""Where each column of a resource comes from, as far as it is known.

A `Reading` is one column: its name, its path in the record and its type. The
plan starts with the declared columns and learns the others from the records;
types in it only ever widen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import pyarrow as pa
import xxhash
from msgspec import Struct
from msgspec.structs import replace

from pipelines.batch import Json
from pipelines.errors import SchemaError
from pipelines.transform.column_types import ColumnType
from pipelines.transform.columns import Path, Shape, parse_path
from pipelines.transform.settle import MOST_COLUMNS

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[^\w]+")
_LONGEST_NAME = 63
_UNKNOWN = pa.null()


class Reading(Struct, frozen=True):
    """One column: declared, or settled by the values seen so far."""

    name: str
    path: Path
    declared: ColumnType | None = None
    zone: str | None = None
    settled: pa.DataType = _UNKNOWN


class Plan(Struct, frozen=True, dict=True):
    """The columns of a resource, in order, and what a new field means."""

    readings: tuple[Reading, ...]
    flatten: int
    on_new: str
    rename: tuple[tuple[str, str], ...]
    known: tuple[tuple[str, pa.DataType], ...]
    declared: frozenset[str]
    carried: frozenset[str] = frozenset()

    @cached_property
    def paths(self) -> frozenset[Path]:
        """The paths that have a column."""
        return frozenset(reading.path for reading in self.readings)

    @cached_property
    def claimed(self) -> frozenset[tuple[str, ...]]:
        """The nested fields that columns take with `from`; they are no part of undeclared columns."""
        named = (reading.path for reading in self.readings if reading.declared or reading.name in self.declared)
        return frozenset(keys for path in named if len(keys := keys_of(path)) > 1)

    @property
    def unique(self) -> bool:
        """Whether a field that comes twice in a record is an error; else its last value counts."""
        return self.on_new != "ignore"

    @property
    def ignores(self) -> bool:
        """Whether a field without a column may be passed over unseen: all that are wanted have theirs."""
        met = {reading.name for reading in self.readings} | self.carried
        return self.on_new == "ignore" and all(name in met for name, _ in self.known)

    def learn(self, fields: Iterable[tuple[str, ...]]) -> Plan:
        """The plan with columns for *fields* that it had none for.

        Raises:
            SchemaError: Two fields would share a column, there are too many, or new ones are to fail.
        """
        fields = list(fields)
        added = [self._reading(path) for path in fields if path not in self.paths]
        added = [reading for reading in added if self._wanted(reading)]
        if not added:
            return self
        spelt = {reading.name: reading for reading in reversed(added)}
        readings = [self._respelt(one, spelt, fields) for one in self.readings]
        bound = {reading.path for reading in readings}
        plan = replace(self, readings=(*readings, *(one for one in added if one.path not in bound)))
        _refuse_collisions(plan.readings, self.carried)
        return plan

    def widen(self, name: str, settled: pa.DataType) -> Plan:
        """The plan with the column *name* undeclared and of type *settled*."""
        widened = (replace(one, declared=None, settled=settled) if one.name == name else one for one in self.readings)
        return replace(self, readings=tuple(widened))

    def _respelt(self, reading: Reading, spelt: dict[str, Reading], fields: list[tuple[str, ...]]) -> Reading:
        """A declared column finds its field under another spelling: `created_at` takes `createdAt`.

        So does one that `rename` names: `user.id` is found where `flatten` opens `user`.
        """
        plain = {(reading.name,), *((field,) for field, name in self.rename if name == reading.name)}
        unbound = reading.path in plain and reading.path not in fields
        return replace(reading, path=spelt[reading.name].path) if unbound and reading.name in spelt else reading

    def _reading(self, path: tuple[str, ...]) -> Reading:
        name = spelled(path, dict(self.rename))
        return Reading(name, path, settled=dict(self.known).get(name, pa.null()))

    def _wanted(self, reading: Reading) -> bool:
        """Whether a field not seen before gets a column."""
        taken = any(one.name == reading.name and len(one.path) > 1 for one in self.readings)
        if taken and self.on_new == "ignore":
            # the name belongs to a column that is read from elsewhere, such as `region` from region.value
            return False
        seen = {*dict(self.known), *self.declared}
        if not seen or reading.name in seen or self.on_new == "add":
            return True
        if self.on_new == "fail":
            raise SchemaError(
                f"the field {'.'.join(map(str, reading.path))!r} is new",
                f"declare the column {reading.name!r}, or say `on_new_column: add` or `ignore`",
            )
        return False


def first_plan(shape: Shape, known: pa.Schema | None, carried: frozenset[str] = frozenset()) -> Plan:
    """What the configuration and the last commit say, before any record was seen."""
    # a transform makes other columns than records have: its result says nothing about fields
    types = {} if known is None or shape.transform else {field.name: field.type for field in known}
    sources = {name: field for field, name in shape.rename.items()}
    readings = []
    for name, column in shape.columns.items():
        if name in carried and not column.source:
            continue
        path: Path = parse_path(column.source) if column.source else (sources.get(name, name),)
        settled = pa.null() if column.parsed else types.get(name, pa.null())
        readings.append(Reading(name, path, column.parsed, column.zone, settled))
    return Plan(
        tuple(readings),
        shape.flatten,
        shape.on_new_column if shape.columns or types else "add",
        tuple(shape.rename.items()),
        tuple(types.items()),
        frozenset(shape.columns) | frozenset(shape.rename.values()),
        carried,
    )


def spelled(path: tuple[str, ...], rename: Mapping[str, str]) -> str:
    """The name of the column for the field at *path*, where no declared one takes it with `from`."""
    name = rename.get(".".join(path)) or column_name("_".join(path))
    return rename.get(name, name)


def column_name(field: str) -> str:
    """*field* in snake case, at most 63 bytes; a longer one ends in a hash of the whole."""
    # the two ways to write é are one name
    words = (word for part in _WORD.split(unicodedata.normalize("NFC", field)) for word in [part.strip("_")] if word)
    name = "_".join(words).lower() or "_"
    if not (name[0].isalpha() or name[0] == "_"):
        name = f"_{name}"
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    cut = name.encode()[: _LONGEST_NAME - 9].decode(errors="ignore")
    return f"{cut}_{xxhash.xxh32_hexdigest(field.encode())}"


def fields_of(record: dict[str, Json], levels: int, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of a record's fields, nested objects opened *levels* deep."""
    for name, value in record.items():
        if levels and isinstance(value, dict):
            yield from fields_of(value, levels - 1, (*above, name))
        else:
            yield (*above, name)


def keys_of(path: Path) -> tuple[str, ...]:
    """The field names of *path* before its first list position: a position takes the whole list."""
    names = []
    for step in path:
        if isinstance(step, int):
            break
        names.append(step)
    return tuple(names)


def _refuse_collisions(readings: tuple[Reading, ...], carried: frozenset[str]) -> None:
    if len(readings) > MOST_COLUMNS:
        raise SchemaError(
            f"records have more than {MOST_COLUMNS} different fields",
            "are the keys data? then `records: {entries: ...}` makes rows of them",
        )
    taken: dict[str, Path] = {name.casefold(): ("carry", name) for name in carried}
    for reading in readings:
        other = taken.setdefault(reading.name.casefold(), reading.path)
        if other != reading.path:
            both = " and ".join(repr(".".join(map(str, path))) for path in (other, reading.path))
            raise SchemaError(f"the fields {both} share the column {reading.name!r}", "give one another name: `rename`")
