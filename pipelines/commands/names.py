"""Names that a shell completes: sources, and resources of them, as the configuration folder has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

_MOST_BYTES = 1 << 20


class _Name(click.ParamType[str]):
    """The name of a source, of a resource of one, or of either."""

    name = "name"

    def __init__(self, *, sources: bool, resources: bool) -> None:
        self._sources, self._resources = sources, resources

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that *incomplete* may become."""
        folder = Path(ctx.params.get("config") or os.environ.get("THREADMILL_CONFIG", "config"))
        return [CompletionItem(name) for name in sorted(self._names(folder)) if name.startswith(incomplete)]

    def _names(self, folder: Path) -> Iterator[str]:
        for path in folder.glob("*.y*ml"):
            if path.stem == "marts":
                continue
            if self._sources:
                yield path.stem
            if self._resources:
                yield from (f"{path.stem}.{name}" for name in _resources(path))


def _resources(path: Path) -> list[str]:
    """The resources of the source file *path*; none where it cannot be read, which is no time to say so."""
    import yaml

    try:
        told: Any = yaml.safe_load(path.read_bytes()[:_MOST_BYTES])
        return [str(name) for name in told["resources"]]
    except (OSError, yaml.YAMLError, TypeError, KeyError):
        return []


SOURCE = _Name(sources=True, resources=False)
RESOURCE = _Name(sources=False, resources=True)
EITHER = _Name(sources=True, resources=True)
