"""What notebooks and programs call to fetch; `pipelines.reading` is what they call to read.

import pipelines
report = pipelines.run("usgs")
print(report.rows, [(one.name, one.verdict) for one in report.resources])
quakes = pipelines.read("usgs.events")
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.config.project import Project
    from pipelines.config.source import Source
    from pipelines.report.result import RunReport

Folder = Path | str | None


def run(
    *sources: str | Source,
    config: Folder = None,
    data: Folder = None,
    profile: str | None = None,
    workers: int | None = None,
) -> RunReport:
    """Bring *sources* up to date as `threadmill run` does, and return what happened.

    Names are those of the project in the current folder, none means all of its
    sources; the marts follow. Or give what `load_source` returned: then only these
    sources run. *config*, *data*, *profile* and *workers* go before the settings.

    A resource that fails is in the report (`report.problems`) and raises nothing.

    Raises:
        ConfigError: All problems of the configuration, or a name that is not there.
        StoreError: The data folder cannot be written to.
    """
    from pipelines.run import run as work_through

    given = {"config": _path(config), "data": _path(data), "profile": profile, "workers": workers}
    names = [one for one in sources if isinstance(one, str)]
    loaded = [one for one in sources if not isinstance(one, str)]
    if names and loaded:
        raise ConfigError("run() got names and loaded sources", "give either, and call it once for each")
    return work_through(_of(loaded, given) if loaded else _named(names, given))


def load_source(path: Path | str, *, env: Mapping[str, str] | None = None) -> Source:
    """The source that the YAML file *path* describes, checked as `threadmill check` does.

    `${NAME}` is looked up in *env* (by default the process environment and `.env`),
    then in the variables of the settings' profile.

    Raises:
        ConfigError: All problems of the file, each with its line.
    """
    from pipelines.config.loading import load
    from pipelines.config.settings import environment, read_settings

    known = environment(Path(), os.environ if env is None else env)
    settings = read_settings(known)
    if not Path(path).is_file():
        raise ConfigError(f"{path}: no such file", "name the YAML file of one source, such as config/shop.yaml")
    (source,) = load(
        Path(path), env=settings.completed(known), variables=settings.variables, transforms=settings.transforms
    )
    return source


def _named(names: list[str], given: Mapping[str, Any]) -> Project:
    from pipelines.config.project import load_project

    return load_project(os.environ, only=names or None, **given)


def _of(sources: list[Source], given: Mapping[str, Any]) -> Project:
    """A project of sources that are loaded already; it has no marts."""
    from pipelines.config.loading import Sources
    from pipelines.config.project import Project
    from pipelines.config.settings import environment, read_settings
    from pipelines.marts.model import Marts

    settings = read_settings(environment(Path(), os.environ), **given)
    return Project(settings, Sources(tuple(sources), (), sources[0].secrets), Marts(marts={}))


def _path(folder: Folder) -> Path | None:
    return None if folder is None else Path(folder)
