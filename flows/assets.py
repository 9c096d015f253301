"""What a run materializes, as Prefect's assets: source > dataset > mart, with rows, schema and freshness.

Keys are the same on every machine: `threadmill://usgs` is the API, `threadmill://usgs/events`
a dataset made from it, `threadmill://marts/city_day` one that is made from datasets.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from prefect.assets import Asset, AssetProperties

from pipelines.config.project import Project
from pipelines.load.lake import Lake
from pipelines.marts.model import MARTS


class Assets(Struct, frozen=True):
    """The assets of *project*; a dataset is named `source.resource` or `marts.name`."""

    project: Project

    def made(self, dataset: str) -> Asset:
        """The asset of *dataset*."""
        source, _, name = dataset.partition(".")
        settings = self.project.settings
        place = f"{settings.lake.rstrip('/')}/{source}/store" if settings.lake else f"{settings.data}/parquet/{source}"
        description = f"Parquet in {place}/{name}/"
        if source == MARTS and (told := self.project.marts.marts[name].description):
            description = f"{told} {description}"
        return Asset(key=_key(dataset), properties=AssetProperties(name=dataset, description=description))

    def made_from(self, dataset: str) -> list[Asset]:
        """What *dataset* is made from: an API, or other datasets."""
        source, _, name = dataset.partition(".")
        if source == MARTS:
            return [Asset(key=_key(one)) for one in self.project.marts.marts[name].inputs.values()]
        url = self.project.sources.secrets.hide(self.project.sources[source].base_url)
        properties = AssetProperties(name=source, url=url, description=f"The API at {url}")
        return [Asset(key=f"threadmill://{source}", properties=properties)]

    def metadata(self, dataset: str) -> dict[str, Any]:
        """What the newest commit says of *dataset*."""
        source, _, name = dataset.partition(".")
        head = Lake(self.project.settings.data, source, self.project.settings.remote).head()
        if head is None or name not in head.datasets:
            return {}
        found = head.datasets[name]
        watermark = ((found.state or {}).get("watermark") or {}).get("value")
        return {
            "rows": found.rows,
            "files": len(found.files),
            "bytes": sum(file.size_bytes for file in found.files),
            "columns": {field.name: str(field.type) for field in found.schema or ()},
            "commit": head.n,
            "committed_at": head.created_at.isoformat(),
            "watermark": watermark,
        }


def _key(dataset: str) -> str:
    return f"threadmill://{dataset.replace('.', '/', 1)}"
