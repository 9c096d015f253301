"""Several HTTP APIs in, clean partitioned Parquet out.

import pipelines
pipelines.run("usgs")                       # fetch what is new, commit it
quakes = pipelines.read("usgs.events")      # a DataFrame of one commit
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.notebook import load_source as load_source
    from pipelines.notebook import run as run
    from pipelines.reading import read as read
    from pipelines.reading import scan as scan
    from pipelines.reading import sql as sql

__all__ = ["load_source", "read", "run", "scan", "sql"]

_READERS = ("read", "scan", "sql")


class _Package(ModuleType):
    """`pipelines.run` is what notebooks call, also once the module of that name is imported: that stays importable."""

    @property
    def run(self) -> Any:
        from pipelines import notebook

        return notebook.run

    @run.setter
    def run(self, module: ModuleType) -> None:
        """The import system would put the module here."""


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """What users call, imported by the first who asks: workers and `--help` need none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipelines import notebook, reading

    return getattr(reading if name in _READERS else notebook, name)
