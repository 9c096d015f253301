"""What the YAML says of datasets, for the catalog; it remembers the words of sources that are not asked again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from pipelines.marts.model import MARTS

if TYPE_CHECKING:
    from pipelines.config.project import Project


class Words(Struct, frozen=True):
    """What the YAML says of a dataset: of itself, of its columns (text and unit), and what it is made from."""

    description: str = ""
    columns: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    made_from: tuple[str, ...] = ()


def remembered(known: Mapping[str, Any]) -> dict[str, Words]:
    """The words that a catalog, as JSON, has of each dataset."""
    return {
        name: Words(
            one["description"],
            {column: (text, unit) for column, (text, unit) in one["columns"].items()},
            tuple(one["made_from"]),
        )
        for name, one in known.get("words", {}).items()
    }


def with_memory(known: Mapping[str, Any], said: Mapping[str, Words]) -> dict[str, Words]:
    """The words *said* now, and of sources that are not asked those that a catalog remembers."""
    sources = {name.partition(".")[0] for name in said}
    gone = Words("Nothing makes it any more.")
    memory = {name: gone if name.partition(".")[0] in sources else one for name, one in remembered(known).items()}
    return {**memory, **said}


def words_of(project: Project) -> dict[str, Words]:
    """The words that the YAML of *project* has of each dataset, by `source.name`."""
    found = {}
    for source in project.sources:
        for name, resource in source.resources.items():
            columns = {
                column: (told.description or "", told.unit or "")
                for column, told in resource.columns.items()
                if told.description or told.unit
            }
            origin = f"{source.base_url.rstrip('/')}/{resource.path.lstrip('/')}".partition("?")[0]
            found[f"{source.name}.{name}"] = Words(resource.description or "", columns, (source.secrets.hide(origin),))
    for name, mart in project.marts.marts.items():
        texts = {column: (text, "") for column, text in mart.columns.items()}
        found[f"{MARTS}.{name}"] = Words(mart.description, texts, tuple(mart.inputs.values()))
    return found
