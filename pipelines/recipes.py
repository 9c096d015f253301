"""What workers are told of a resource, from its configuration and what is committed of it."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
from msgspec.structs import replace

from pipelines.config.settings import Settings
from pipelines.config.source import Resource
from pipelines.cursors import Cursor, reaches
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.watermark import Incremental, Watermark
from pipelines.extract.zones import before_repeated, instant
from pipelines.load.log import Dataset
from pipelines.milled import Recipe


def recipe_of(  # noqa: PLR0913  # all that a worker must know, each by name
    name: str,
    resource: Resource,
    *,
    source: str,
    asked: Endpoint,
    watermark: Watermark | None,
    ahead: bool,
    dataset: Dataset,
    store: Path,
    settings: Settings,
) -> Recipe:
    """The recipe for pages that were *asked* from *watermark* on, beside the rows of *dataset*.

    *ahead*: it has rows that the watermark does not cover, of parents that have none yet among them.
    """
    incremental = asked.incremental
    known = _before_repeated(watermark, resource, incremental) if watermark and incremental else None
    marks = {"": known.value, **known.parents} if known else {}
    floors = {parent: mark for parent, mark in marks.items() if mark}
    start = incremental.start if incremental else ""
    lowest = (known.lowest() if known else "") or start
    appended = _tops(dataset, incremental) if incremental and resource.write == "append" else {}
    edge = [path for path, top in appended.items() if incremental and reaches(top, lowest, incremental.kind)]
    # an API may give rows from before where it was asked to begin; only a watermark tells that they are stored
    is_unsure = not floors or (ahead and "" not in floors)
    older = {path: top for path, top in appended.items() if path not in edge} if is_unsure else {}
    return Recipe(
        source=source,
        resource=name,
        shape=resource.shape(),
        target=resource.target(),
        store=store,
        columns=dataset.columns,
        cursor=_cursor_of(incremental, f"{source}.{name}") if incremental else None,
        floors=floors,
        edge=tuple(store / path for path in edge),
        edge_floor=lowest,
        reaches_back=is_unsure,
        older=tuple((store / path, top) for path, top in older.items()),
        asked_from=incremental.since(watermark) if incremental and incremental.since_param and watermark else "",
        carried=tuple(resource.carry),
        transforms=settings.transforms,
        slice_bytes=settings.batch_size,
    )


def _before_repeated(watermark: Watermark, resource: Resource, incremental: Incremental) -> Watermark:
    """*watermark*, or before an hour that comes twice where it lies in one: both are read as the first of them."""
    column = resource.columns.get(incremental.cursor)
    if resource.write != "append" or incremental.kind != "instant" or column is None or column.zone is None:
        return watermark
    zone = ZoneInfo(column.zone)

    def before(mark: str) -> str:
        return before_repeated(instant(mark), zone).isoformat() if mark else ""

    parents = {parent: before(mark) for parent, mark in watermark.parents.items()}
    return replace(watermark, value=before(watermark.value), parents=parents)


def _cursor_of(incremental: Incremental, where: str) -> Cursor:
    return Cursor(incremental.cursor, where, incremental.kind, incremental.on_missing, incremental.ordered)


def _tops(dataset: Dataset, incremental: Incremental) -> dict[str, str]:
    """The files of *dataset*, each with its greatest cursor; empty where that is not known."""
    cursor, kind, schema = incremental.cursor, incremental.kind, dataset.schema
    held = schema.field(cursor).type if schema is not None and cursor in schema.names else None
    # the greatest text need not be the greatest instant
    is_told = kind == "text" or held not in (pa.string(), pa.large_string())
    return {file.path: str(file.stats[cursor][1]) if is_told and cursor in file.stats else "" for file in dataset.files}
