"""Everything a run is told before it starts: settings, sources, marts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from pydantic import ValidationError

from pipelines.config.loading import Sources, load
from pipelines.config.problems import explain, refuse
from pipelines.config.settings import Settings, environment, read_settings
from pipelines.config.yaml_source import read
from pipelines.inspection import EXPECTATIONS
from pipelines.marts.model import Marts

MARTS_FILE = "marts.yaml"


class Project(Struct, frozen=True):
    """A configuration folder, read and checked; `warnings` is what deserves a look."""

    settings: Settings
    sources: Sources
    marts: Marts
    warnings: tuple[str, ...] = ()


def load_project(
    env: Mapping[str, str],
    *,
    root: Path = Path(),
    only: Collection[str] | None = None,
    prefect_secret: Callable[[str], str] | None = None,
    unset_secret: Callable[[str], str] | None = None,
    **given: Any,
) -> Project:
    """The project in *root*; *only* names sources, *given* are settings from a command line.

    Raises:
        ConfigError: All problems of the settings, or of all YAML files.
    """
    env = environment(root, env)
    settings = read_settings(env, root=root, **given)
    sources = load(
        root / settings.config,
        env=env,
        variables=settings.variables,
        only=only,
        transforms=settings.transforms,
        prefect_secret=prefect_secret,
        unset_secret=unset_secret,
    )
    return Project(settings, sources, load_marts(root / settings.config / MARTS_FILE), sources.warnings)


def load_marts(path: Path) -> Marts:
    """The marts of *path*; none where there is no such file.

    Raises:
        ConfigError: All problems of the file, each with its line.
    """
    if not path.is_file():
        return Marts(marts={})
    document, problems = read(path)
    if problems:
        raise refuse(problems)
    try:
        marts = Marts.model_validate(document.data)
    except ValidationError as error:
        raise refuse(explain(error, document, prefix=(), schema=Marts.model_json_schema())) from None
    for name, mart in marts.marts.items():
        try:
            EXPECTATIONS.validate_python(mart.expect)
        except ValidationError as error:
            raise refuse(explain(error, document, prefix=("marts", name, "expect"), schema=_checks_schema())) from None
    return marts


def _checks_schema() -> dict[str, Any]:
    """What may stand under `expect`, as a schema of the whole file of marts."""
    checks = EXPECTATIONS.json_schema()
    mart = {"properties": {"expect": checks}}
    return {"properties": {"marts": {"additionalProperties": mart}}, "$defs": checks["$defs"]}
