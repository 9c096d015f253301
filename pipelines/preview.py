"""One page of a resource as its rows would be: typed, transformed, checked. Nothing is written."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from pipelines.asking import Asking, resource_of, rows_of
from pipelines.config.loading import Source
from pipelines.config.settings import Settings
from pipelines.errors import ConfigError
from pipelines.transform.checks import violations, violations_by_rows
from pipelines.transform.frames import FOLDER
from pipelines.worker import checked

if TYPE_CHECKING:
    import pyarrow as pa


class Preview(Struct, frozen=True):
    """The rows of a page, the records that were set aside, and what the checks say, a sentence each."""

    request: str
    table: pa.Table
    aside: tuple[pa.Table, ...] = ()
    broken: tuple[str, ...] = ()


def preview(source: Source, name: str, asking: Asking, *, settings: Settings, now: datetime) -> Preview:
    """Page 1 of the first question of resource *name*, as a worker would make rows of it.

    Raises:
        ConfigError: No such resource, or there is nothing to ask for.
        PipelineError: The answer, its records or the transform is not as it must be.
    """
    resource = resource_of(source, name)
    shape, found = resource.shape(), asking.first(name)
    if found is None:
        raise ConfigError(f"{source.name}.{name}: there is nothing to ask for", "look at `for_each` and `incremental`")
    table, rejects = rows_of(resource, found, settings)
    # what would end a run is told here like everything else
    whole = [one for one in shape.expect if not one.per_row]
    told = tuple(one.message for one in (*violations_by_rows(table, shape.expect), *violations(table, whole, now)))
    lenient = tuple(one for one in shape.expect if one.severity == "quarantine")
    table, aside = checked(table, lenient, f"{source.name}.{name}", Counter())
    return Preview(found.pages[0].request.safe_url, table, tuple(one for one in (rejects, aside) if one), told)


def new_transform(name: str, folder: Path | None) -> Path:
    """Write a module with one function to begin with into the folder of transforms, and return its path.

    Raises:
        ConfigError: *name* is no name for a module, or it is there already.
    """
    path = (folder or FOLDER) / f"{name}.py"
    if not name.isidentifier() or name != name.lower():
        raise ConfigError(f"{name!r} is no name for a module", "use small letters, digits and _, such as clean_orders")
    if path.exists():
        raise ConfigError(f"{path} is there already", "choose another name, or edit it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_TRANSFORM.format(name=name, title=name.replace("_", " ").capitalize()), encoding="utf-8")
    return path


_TRANSFORM = '''"""{title}."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def {name}(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows as they are to be written; called in a worker with some pages at a time.

    Columns are Arrow's (`int64[pyarrow]`), so integers with nulls stay integers.
    """
    return frame
'''
