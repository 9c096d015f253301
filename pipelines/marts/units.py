"""A mart as work for processes: units that name files and rows, never data.

`plan` runs in the parent and reads footers only; `make` runs anywhere and gives
the rows of one unit. The tables of all units, in their order, are the mart: the
same rows in the same order for any number of units.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct, field

from pipelines.errors import ConfigError, PipelineError, SchemaError, StoreError, TransformError
from pipelines.marts.model import HOME, Mart

if TYPE_CHECKING:
    import pandas as pd


class FileRows(Struct, frozen=True):
    """Rows *start* to *stop* (not included) of one Parquet file."""

    path: str
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.stop - self.start


class MartUnit(Struct, frozen=True):
    """The part of a mart that one process makes."""

    mart: str
    maker: str
    sequence: int
    inputs: tuple[tuple[str, tuple[FileRows, ...]], ...]
    columns: tuple[str, ...] = ()
    """Columns that the configuration describes, or names as `key`; each must come out."""
    schemas: Mapping[str, pa.Schema] = field(default_factory=dict)
    """For inputs whose files may have older columns, or that have no rows: those that they are read with."""


def plan(
    name: str,
    mart: Mart,
    files: Mapping[str, Sequence[Path]],
    units: int,
    schemas: Mapping[str, pa.Schema] | None = None,
) -> list[MartUnit]:
    """Divide the making of *mart* into at most *units*.

    *files* has, for each dataset (`source.dataset`), its live files in order,
    *schemas* the columns of those that may have older files, or none any more.

    Raises:
        TransformError: An input has neither files nor columns, so nothing can be made of it.
        StoreError: A file could not be read.
    """
    given = {}
    for argument, dataset in mart.inputs.items():
        if not files.get(dataset) and dataset not in (schemas or {}):
            hint = f"run the source {dataset.split('.', 1)[0]} first; `threadmill status` shows what is committed"
            raise TransformError(f"mart {name}: its input {dataset} has no rows yet", hint)
        given[argument] = tuple(_whole(path) for path in files.get(dataset, ()))
    pieces = divide(given[mart.split_by], units) if mart.split_by else [()]
    columns = tuple(dict.fromkeys((*mart.key, *mart.columns)))
    casts = {argument: schema for argument, dataset in mart.inputs.items() if (schema := (schemas or {}).get(dataset))}
    return [
        MartUnit(name, mart.maker, sequence, _inputs(given, mart.split_by, piece), columns, casts)
        for sequence, piece in enumerate(pieces)
    ]


def divide(files: Sequence[FileRows], pieces: int) -> list[tuple[FileRows, ...]]:
    """Cut the rows of *files* into *pieces* of equal size, fewer when there are fewer rows."""
    total = sum(file.rows for file in files)
    pieces = max(1, min(pieces, total))
    bounds = [total * piece // pieces for piece in range(pieces + 1)]
    divided = [_between(files, *pair) for pair in pairwise(bounds)]
    # without a single row the files still give the columns
    return divided if total else [tuple(files)]


def make(unit: MartUnit) -> pa.Table:
    """The rows of *unit*.

    Raises:
        TransformError: The function or query failed, or a column of `columns` or `key` did not come out.
        StoreError: An input file could not be read.
    """
    try:
        table = _run(unit)
    except PipelineError:
        raise
    except Exception as error:
        message = f"mart {unit.mart}: {unit.maker} failed with {type(error).__name__}: {error}"
        raise TransformError(message, "correct it in pipelines/marts/ and run again") from error
    missing = sorted(set(unit.columns) - set(table.column_names))
    if missing:
        given = ", ".join(table.column_names)
        hint = f"remove them from `columns` and `key`, or add them to {unit.maker}; it gives {given}"
        raise TransformError(f"mart {unit.mart}: no column {', '.join(missing)}", hint)
    return table


def read_input(files: Sequence[FileRows], schema: pa.Schema | None = None) -> pa.Table:
    """The rows of *files* one after the other, cast to *schema*, reading no row group that is not needed."""
    if schema is not None and not files:
        return schema.empty_table()
    try:
        tables = [_read(file) for file in files]
        tables = [_cast(table, schema) for table in tables] if schema is not None else tables
        return pa.concat_tables(tables, promote_options="default")
    except OSError as error:
        raise StoreError(f"cannot read an input of the mart: {error}", "run the source again") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"files of one dataset do not fit together: {error}", "run the source again") from error


def _whole(path: Path) -> FileRows:
    try:
        return FileRows(str(path.absolute()), 0, pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(f"cannot read {path}: {error}", "run the source again") from error


def _inputs(
    given: Mapping[str, tuple[FileRows, ...]], split_by: str | None, piece: tuple[FileRows, ...]
) -> tuple[tuple[str, tuple[FileRows, ...]], ...]:
    return tuple((argument, piece if argument == split_by else files) for argument, files in given.items())


def _between(files: Sequence[FileRows], start: int, stop: int) -> tuple[FileRows, ...]:
    """Rows *start* to *stop* of all *files* taken together."""
    found, before = [], 0
    for file in files:
        low, high = max(start - before, 0), min(stop - before, file.rows)
        if low < high:
            found.append(FileRows(file.path, file.start + low, file.start + high))
        before += file.rows
    return tuple(found)


def _read(file: FileRows) -> pa.Table:
    with pq.ParquetFile(file.path) as parquet:
        groups, before, skipped = [], 0, 0
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if before + rows <= file.start:
                skipped += rows
            elif before < file.stop:
                groups.append(group)
            before += rows
        return parquet.read_row_groups(groups).slice(file.start - skipped, file.rows)


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """*table* with the columns of *schema*, those that an older file does not have null."""
    names = set(table.column_names)
    columns = [
        table[one.name].cast(one.type) if one.name in names else pa.nulls(len(table), one.type) for one in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _run(unit: MartUnit) -> pa.Table:
    if unit.maker.endswith(".sql"):
        from pipelines.marts.query import files_of, run_query

        views = {view: files_of([file.path for file in files], unit.schemas.get(view)) for view, files in unit.inputs}
        return run_query(HOME / unit.maker, views)
    import pandas as pd

    tables = {name: read_input(files, unit.schemas.get(name)) for name, files in unit.inputs}
    inputs = {name: table.to_pandas(types_mapper=pd.ArrowDtype) for name, table in tables.items()}
    result = resolve(unit.maker)(**inputs)
    if isinstance(result, pd.DataFrame):
        result = _to_table(result, unit)
    if not isinstance(result, pa.Table):
        raise TransformError(
            f"mart {unit.mart}: {unit.maker} returned {type(result).__name__}", "return a DataFrame or an Arrow table"
        )
    return result


def _to_table(frame: pd.DataFrame, unit: MartUnit) -> pa.Table:
    """The columns of *frame*; what stands in its index only would be lost."""
    lost = [str(name) for name in frame.index.names if name is not None and name not in frame.columns]
    if lost:
        message = f"mart {unit.mart}: {unit.maker} returned {', '.join(lost)} as the index of the frame"
        raise TransformError(message, "make columns of it with `reset_index()`")
    return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)


def resolve(maker: str) -> Callable[..., object]:
    """The function `module:function` of `pipelines/marts/`; no other module is ever imported.

    Raises:
        ConfigError: There is no such module or function.
    """
    module, _, name = maker.partition(":")
    if not (module.isidentifier() and (HOME / f"{module}.py").is_file()):
        raise ConfigError(f"no module {module!r} in pipelines/marts/", "write `function: module:function`")
    function = getattr(importlib.import_module(f"pipelines.marts.{module}"), name, None)
    if not callable(function):
        raise ConfigError(f"no function {name!r} in pipelines/marts/{module}.py", "correct `function` of the mart")
    made: Callable[..., object] = function
    return made
