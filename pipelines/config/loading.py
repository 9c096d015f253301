"""From `config/*.yaml` to sources, or one error that lists all that is wrong.

Read > merge `defaults` > replace references > validate each resource and the
connection > check what holds between them. Every step notes problems and goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace
from pydantic import ValidationError

from pipelines.batch import Json, as_written, digest
from pipelines.config.crosscheck import TRANSFORMS, check, doubt
from pipelines.config.json_schema import json_schema
from pipelines.config.naming import not_found
from pipelines.config.problems import Document, Keys, Problem, explain, nearest, refuse
from pipelines.config.redact import Redactor
from pipelines.config.references import Lookup, resolve
from pipelines.config.source import Resource, Source
from pipelines.config.yaml_source import read
from pipelines.errors import ConfigError
from pipelines.extract.limits import Limits

__all__ = ["Resource", "Source", "Sources", "load"]

NOT_SOURCES = frozenset({"marts"})
"""Files of the configuration folder that describe no API."""

MERGED = frozenset({"params", "headers", "columns", "mask", "rename", "carry", "incremental"})
"""Keys of a resource whose entries come beside those of `defaults`."""
_SALTED = {"sha256": "${MASK_SALT}"}
_ASKED = ("path", "body", "graphql", "records")
_HASHLESS = frozenset({"defaults", "limits", "max_response", "retry", "schedule", "timeout", "user_agent"})


class Sources(Struct, frozen=True):
    """All sources that were asked for, in the order of their files."""

    sources: tuple[Source, ...]
    warnings: tuple[str, ...]
    secrets: Redactor
    written: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The resources that each file names, also where it was not asked for; none where it cannot be read."""

    def __iter__(self) -> Iterator[Source]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, name: str) -> Source:
        return {source.name: source for source in self.sources}[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sources."""
        return tuple(source.name for source in self.sources)


def load(  # noqa: PLR0913  # each is one thing that a caller may say
    path: Path,
    *,
    env: Mapping[str, str],
    variables: Mapping[str, str] = MappingProxyType({}),
    only: Collection[str] | None = None,
    transforms: Path | None = None,
    prefect_secret: Callable[[str], str] | None = None,
    unset_secret: Callable[[str], str] | None = None,
) -> Sources:
    """The sources of the folder or file *path*; with *only*, those with these names.

    `${NAME}` is looked up in *env*, then in the profile's *variables*; a function
    for `transform` in the folder *transforms*, which is read but not imported.

    Raises:
        ConfigError: One line for each problem of all files, none with a secret in it.
    """
    reading = _Reading(Lookup(env, variables, prefect_secret, unset_secret), Redactor(), transforms or TRANSFORMS)
    secrets = reading.secrets
    files = [_File(*read(file)) for file in _paths(path)]
    chosen = _chosen(files, only)
    problems = _twice(chosen)
    warnings: list[Problem] = []
    sources: list[Source] = []
    for file in chosen:
        problems += file.problems
        if file.problems and not file.document.data:
            continue
        source, found, warned = _source(file, reading)
        problems += found
        warnings += warned
        sources += [source] if source else []
    if problems:
        raise refuse(replace(problem, what=secrets.hide(problem.what)) for problem in problems)
    told = tuple(secrets.hide(str(warning)) for warning in sorted(set(warnings)))
    return Sources(tuple(sources), told, secrets, {file.name: file.resources for file in files})


class _File(Struct, frozen=True):
    document: Document
    problems: list[Problem]

    @property
    def name(self) -> str:
        """What the file calls its source; its own name by default."""
        told = self.document.data.get("source")
        return told if isinstance(told, str) else self.document.path.stem

    @property
    def resources(self) -> tuple[str, ...]:
        """The names of its resources."""
        told = self.document.data.get("resources")
        return tuple(told) if isinstance(told, dict) else ()


class _Reading(Struct, frozen=True):
    """What all files of one call share."""

    lookup: Lookup
    secrets: Redactor
    transforms: Path


def _paths(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
        found = [file for file in found if file.stem not in NOT_SOURCES]
        if not found:
            raise ConfigError(f"{path}: has no source files", "write one, such as config/shop.yaml")
        return found
    if not path.exists():
        raise ConfigError(
            f"{path}: no such file or folder",
            "name the folder of the source files, or begin one: `threadmill init URL`",
        )
    return [path]


def _chosen(files: list[_File], only: Collection[str] | None) -> list[_File]:
    known = [file.name for file in files]
    for name in only or ():
        if name not in known:
            meant = nearest(name.partition(".")[0], known)
            raise ConfigError(f"no source {name!r}{meant}", f"known sources: {', '.join(known)}")
    return [file for file in files if only is None or file.name in only]


def _twice(files: list[_File]) -> list[Problem]:
    first: dict[str, Path] = {}
    problems = []
    for file in files:
        if file.name in first:
            what = f"the source {file.name} is described in {first[file.name]} as well"
            problems.append(file.document.problem(("source",), what))
        first.setdefault(file.name, file.document.path)
    return problems


def _source(file: _File, reading: _Reading) -> tuple[Source | None, list[Problem], list[Problem]]:
    """The source of *file* (None if it has problems), its problems, its warnings."""
    document = _with_defaults(file.document)
    resolved = resolve(document, reading.lookup)
    problems = list(resolved.problems)
    short = reading.secrets.add(*resolved.secrets)
    reading.secrets.name(resolved.variables)
    warnings = list(resolved.warnings)
    if short:
        warnings.append(document.problem((), f"{len(short)} secrets are too short to be hidden in logs"))
    if hidden := not_found(file.name):
        warnings.append(document.problem(("source",), hidden))
    resources, found = _resources(document, resolved.data)
    source, unconnected = _connected(document, {**resolved.data, "source": file.name, "resources": resources})
    warnings += doubt(document, resources)
    limits = source.limits if source else Limits()
    crossed = check(document, resources, source=file.name, transforms=reading.transforms, limits=limits)
    # what is not set does not fit either; saying it once is enough
    unset = {(problem.line, problem.where) for problem in problems}
    problems += [each for each in (*found, *unconnected, *crossed) if (each.line, each.where) not in unset]
    if problems or file.problems or source is None:
        return None, problems, warnings
    source._secrets = reading.secrets
    source._config_hash = _hash(resolved.public)
    source._asked = {name: _asked(document.data, resource) for name, resource in document.data["resources"].items()}
    return source, [], warnings


def _hash(public: dict[str, Json]) -> str:
    """What decides which data come and how they are stored: not pace and schedule, nor defaults beside their copies."""
    deciding = {key: value for key, value in public.items() if key not in _HASHLESS}
    return digest(json.dumps(as_written(deciding), sort_keys=True, ensure_ascii=False).encode())


def _asked(source: dict[str, Json], resource: dict[str, Json]) -> str:
    """What decides which records of *resource* are asked for, and which of an answer count.

    As it is written: a variable counts by its name, as its value may be another with each run.
    """
    params = {**(source.get("params") or {}), **(resource.get("params") or {})}
    said = [source["base_url"].rstrip("/"), params, *(resource.get(key) for key in _ASKED)]
    return digest(json.dumps(as_written(said), sort_keys=True, ensure_ascii=False).encode())


def _with_defaults(document: Document) -> Document:
    """*document* with its `defaults` under each resource, and with salts; a resource's own words win."""
    defaults, resources = document.data.get("defaults") or {}, document.data.get("resources")
    if not isinstance(defaults, dict) or not isinstance(resources, dict):
        return document
    moved: dict[Keys, Keys] = {}
    merged: dict[str, Json] = {}
    for name, resource in resources.items():
        own = {} if resource is None else resource
        merged[name] = _salted(_merge(defaults, own, name, moved)) if isinstance(own, dict) else own
    return replace(document, data={**document.data, "resources": merged}, moved=moved)


def _merge(defaults: dict[str, Json], own: dict[str, Json], name: str, moved: dict[Keys, Keys]) -> dict[str, Json]:
    """One resource with defaults; `key: null` takes a default away."""
    merged = {key: value for key, value in own.items() if value is not None or key not in defaults}
    for key, value in defaults.items():
        if key not in own:
            merged[key] = value
            moved["resources", name, key] = ("defaults", key)
        elif key in MERGED and isinstance(value, dict) and isinstance(own[key], dict):
            merged[key] = {**value, **own[key]}
            for below in value.keys() - own[key].keys():
                moved["resources", name, key, below] = ("defaults", key, below)
    return merged


def _salted(resource: dict[str, Json]) -> dict[str, Json]:
    """One resource, in whose `mask` a bare `sha256` takes its salt from the environment."""
    if not isinstance(mask := resource.get("mask"), dict):
        return resource
    return {**resource, "mask": {name: _SALTED if rule == "sha256" else rule for name, rule in mask.items()}}


def _resources(document: Document, data: Json) -> tuple[dict[str, Resource], list[Problem]]:
    """The resources that are valid by themselves, and what is wrong with the others."""
    written = data.get("resources")
    if not isinstance(written, dict) or not written:
        return {}, [document.problem(("resources",), "needs at least one resource: `resources: {NAME: {path: ...}}`")]
    resources: dict[str, Resource] = {}
    problems: list[Problem] = []
    for name, value in written.items():
        try:
            resources[name] = Resource.model_validate(value, context={"folder": document.path.parent})
            lent = (keys[2:] for keys in document.moved if keys[:2] == ("resources", name))
            resources[name]._lent = frozenset(lent)
        except ValidationError as error:
            problems += explain(error, document, prefix=("resources", name), schema=json_schema())
    return resources, problems


def _connected(document: Document, data: dict[str, Any]) -> tuple[Source | None, list[Problem]]:
    try:
        return Source.model_validate({**data, "defaults": {}}), []
    except ValidationError as error:
        return None, list(explain(error, document, prefix=(), schema=json_schema()))
