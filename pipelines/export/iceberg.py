"""A dataset as an Iceberg table: each export is one snapshot of it, with the rows of one commit.

*target* is a warehouse: a folder with a catalog of its own (`catalog.db`, SQLite),
in which `source.dataset` is the table's name.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.types as pt

from pipelines.errors import ConfigError, StoreError
from pipelines.export.exported import DATASET, Exported, batches, common, fitted, marks
from pipelines.reading import Snapshot

CATALOG = "catalog.db"


def to_iceberg(snapshot: Snapshot, target: str) -> Exported:
    """Let the table of *snapshot* in the warehouse *target* hold its rows, in one snapshot.

    Raises:
        ConfigError: The package is not there, or *target* is no folder of this machine that Iceberg can name.
        SchemaError: A value does not fit into a type that Iceberg has.
        StoreError: The table cannot be written.
    """
    if "://" in target:
        raise ConfigError(f"{target}: an Iceberg export needs a folder", "give a folder of this machine")
    folder = Path(target).resolve()
    if {"#", "?"} & set(str(folder)):
        # an address ends there, and the files would lie elsewhere
        raise ConfigError(f"{folder} has '#' or '?' in its path, which Iceberg cannot name", "choose another folder")
    try:
        from pyiceberg.exceptions import RESTError  # noqa: F401  # is it there?
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise ConfigError(
            "--format iceberg needs the package pyiceberg",
            "install it with `pip install 'pyiceberg[pyarrow,sql-sqlite]'`",
        ) from None
    told = marks(snapshot)
    schema = fitted(snapshot.rows.schema, _fit)
    try:
        changed = _write(snapshot, folder, schema, told)
    except (OSError, SQLAlchemyError) as error:
        raise StoreError(
            f"writing the Iceberg table {told[DATASET]} in {target} failed: {str(error).splitlines()[0]}",
            "look at the folder and its permissions; the snapshot that was there is whole",
        ) from error
    return Exported(told[DATASET], snapshot.commit.n, target, snapshot.dataset.rows, changed)


def _write(snapshot: Snapshot, folder: Path, schema: pa.Schema, told: dict[str, str]) -> bool:
    from pyiceberg.catalog.sql import SqlCatalog

    folder.mkdir(parents=True, exist_ok=True)
    # as it is: pyiceberg does not decode what as_uri() would encode
    catalog = SqlCatalog("threadmill", uri=f"sqlite:///{folder / CATALOG}", warehouse=f"file://{folder}")
    try:
        catalog.create_namespace_if_not_exists(snapshot.source)
        table = catalog.create_table_if_not_exists((snapshot.source, snapshot.name), schema)
        last = table.current_snapshot()
        held = last.summary.additional_properties if last is not None and last.summary is not None else {}
        if all(held.get(name) == value for name, value in told.items()):
            return False
        with warnings.catch_warnings(), table.transaction() as transaction:
            # of a table without rows, none of which is taken away
            warnings.filterwarnings("ignore", "Delete operation did not match")
            # Iceberg tells columns by number: one of another type than before is another column
            with transaction.update_schema(allow_incompatible_changes=True) as columns:
                for field in table.schema().as_arrow():
                    if field.name not in schema.names or not _same(field.type, schema.field(field.name).type):
                        columns.delete_column((field.name,))
            with transaction.update_schema() as columns:
                columns.union_by_name(schema)
            transaction.overwrite(batches(snapshot, schema), snapshot_properties=told)
    finally:
        catalog.close()
    return True


def _same(one: pa.DataType, other: pa.DataType) -> bool:
    return bool(fitted(pa.schema([("x", one)]), _fit).field("x").type == other)


def _fit(kind: pa.DataType) -> pa.DataType:
    if pt.is_int8(kind) or pt.is_int16(kind) or pt.is_uint8(kind) or pt.is_uint16(kind):
        return pa.int32()
    return pa.time64("us") if pt.is_time(kind) else common(kind)
