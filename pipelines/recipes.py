"""What workers are told of a resource, from its configuration and what is committed of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pipelines.config.settings import Settings
from pipelines.config.source import Resource
from pipelines.cursors import Cursor
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.watermark import Incremental, Watermark, comparable
from pipelines.load.log import Dataset, LiveFile
from pipelines.milled import Recipe


def recipe_of(  # noqa: PLR0913  # all that a worker must know, each by name
    name: str,
    resource: Resource,
    *,
    source: str,
    asked: Endpoint,
    watermark: Watermark | None,
    dataset: Dataset,
    store: Path,
    settings: Settings,
) -> Recipe:
    """The recipe for pages that were *asked* from *watermark* on, beside the rows of *dataset*."""
    incremental = asked.incremental
    floors = {"": watermark.value, **watermark.parents} if watermark else {}
    lowest = (watermark.lowest() if watermark else "") or (incremental.start if incremental else "")
    appends = incremental is not None and resource.write == "append"
    edge = _reaching(dataset, incremental, lowest) if incremental and appends else []
    return Recipe(
        source=source,
        resource=name,
        shape=resource.shape(),
        target=resource.target(),
        store=store,
        columns=dataset.columns,
        cursor=_cursor_of(incremental, f"{source}.{name}") if incremental else None,
        floors={parent: floor for parent, floor in floors.items() if floor},
        edge=tuple(store / file.path for file in edge),
        edge_floor=lowest,
        asked_from=incremental.since(watermark) if incremental and incremental.since_param and watermark else "",
        transforms=settings.transforms,
        slice_bytes=settings.batch_size,
    )


def _cursor_of(incremental: Incremental, where: str) -> Cursor:
    return Cursor(incremental.cursor, where, incremental.kind, incremental.on_missing, incremental.ordered)


def _reaching(dataset: Dataset, incremental: Incremental, floor: str) -> list[LiveFile]:
    """The files of *dataset* that may hold rows whose cursor is *floor* or later."""
    cursor, kind, schema = incremental.cursor, incremental.kind, dataset.schema
    held = schema.field(cursor).type if schema is not None and cursor in schema.names else None
    # the greatest text need not be the greatest instant
    is_told = kind == "text" or held not in (pa.string(), pa.large_string())

    def may_reach(file: LiveFile) -> bool:
        if cursor not in file.stats or not is_told:
            return True
        return bool(comparable(str(file.stats[cursor][1]), kind) >= comparable(floor, kind))  # type: ignore[operator]  # one kind

    return [file for file in dataset.files if may_reach(file)]
