"""A project of one source in a folder, run as users run it; what came of it, and what a plain reader sees."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.config.project import load_project
from pipelines.report.result import ResourceReport
from pipelines.run import run

SOURCE = "there"


class Reader:
    """The project in *folder*; its one source is `there`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self.warnings: tuple[str, ...] = ()
        (folder / "config").mkdir()
        (folder / "config" / "settings.toml").write_text("workers = 2\n")

    def configure(self, text: str) -> None:
        """Write the source file."""
        (self.folder / "config" / f"{SOURCE}.yaml").write_text(text)

    def read(self, *, now: datetime | None = None) -> dict[str, ResourceReport]:
        """One run; what became of each resource, none of which may have failed."""
        report = run(load_project({}, root=self.folder, data=self.data), now=now)
        assert not report.problems, report.problems
        return {resource.resource: resource for resource in report.resources}

    def stored(self, resource: str, *names: str) -> list[Any]:
        """What the Parquet folder holds, sorted: the values of one column, or tuples of several."""
        folder = self.data / "parquet" / SOURCE / resource
        rows = pq.read_table(folder, columns=list(names), partitioning=None).to_pylist()
        return sorted(row[names[0]] if len(names) == 1 else tuple(row[name] for name in names) for row in rows)
