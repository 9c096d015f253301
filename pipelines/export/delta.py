"""A dataset as a Delta table: each export is one version of it, with the rows of one commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.types as pt
from msgspec.structs import replace

from pipelines.errors import ConfigError, StoreError
from pipelines.export.exported import DATASET, Exported, batches, common, fitted, marks
from pipelines.reading import Snapshot


def to_delta(snapshot: Snapshot, target: str, access: Mapping[str, str]) -> Exported:
    """Let the Delta table at *target*, a folder or `s3://` address, hold the rows of *snapshot*, in one version.

    *access* has the `AWS_*` variables that lead into a bucket.

    Raises:
        ConfigError: The package is not there, or *target* is a table of something else.
        SchemaError: A value does not fit into a type that Delta has.
        StoreError: The table cannot be written.
    """
    try:
        from deltalake import CommitProperties, write_deltalake
        from deltalake.exceptions import DeltaError
    except ImportError:
        raise ConfigError(
            "--format delta needs the package deltalake", "install it with `pip install deltalake`"
        ) from None
    told, storage = marks(snapshot), _storage(access)
    done = Exported(told[DATASET], snapshot.commit.n, target, snapshot.dataset.rows, changed=True)
    try:
        if _holds(target, told, storage):
            return replace(done, changed=False)
        schema = fitted(snapshot.rows.schema, _fit)
        write_deltalake(
            target,
            batches(snapshot, schema),
            mode="overwrite",
            schema_mode="overwrite",
            name=told[DATASET],
            storage_options=storage,
            commit_properties=CommitProperties(custom_metadata=told),
        )
    except (DeltaError, OSError) as error:
        raise StoreError(
            f"writing the Delta table {target} failed: {str(error).splitlines()[0]}",
            "look at the folder or bucket and its permissions; the version that was there is whole",
        ) from error
    return done


def _storage(access: Mapping[str, str]) -> dict[str, str]:
    is_plain = access.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return {**access, **({"AWS_ALLOW_HTTP": "true"} if is_plain else {})}


def _holds(target: str, told: dict[str, str], storage: dict[str, str]) -> bool:
    """Whether the newest version of the table is that very export."""
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(target, storage):
        return False
    table = DeltaTable(target, storage_options=storage)
    if table.metadata().name != told[DATASET]:
        raise ConfigError(
            f"{target} is a Delta table of something else ({table.metadata().name or 'without a name'})",
            f"choose another folder for {told[DATASET]}, or remove that one",
        )
    last: dict[str, Any] = table.history(1)[0]
    return all(last.get(name) == value for name, value in told.items())


def _fit(kind: pa.DataType) -> pa.DataType:
    # Delta knows no time of day
    return pa.string() if pt.is_time(kind) else common(kind)
