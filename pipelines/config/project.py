"""Everything a run is told before it starts: settings, sources, marts."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from msgspec import Struct
from pydantic import ValidationError

from pipelines.config.crosscheck import functions_of
from pipelines.config.loading import Sources, load
from pipelines.config.naming import ASIDE
from pipelines.config.problems import Document, Problem, explain, nearest, refuse
from pipelines.config.settings import Settings, environment, read_settings
from pipelines.config.yaml_source import read
from pipelines.errors import ConfigError
from pipelines.inspection import EXPECTATIONS
from pipelines.load.target import Target
from pipelines.marts.model import HOME, MARTS, Mart, Marts

MARTS_FILES = ("marts.yaml", "marts.yml")
_NOTHING_ASIDE = "no row of a mart is set aside: say warn or fail, or check the resource that it is made of"


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
        env=settings.completed(env),
        variables=settings.variables,
        only=only,
        transforms=settings.transforms,
        prefect_secret=prefect_secret,
        unset_secret=unset_secret,
    )
    marts, warnings = load_marts(_marts_file(root / settings.config), sources.written)
    return Project(settings, sources, marts, (*sources.warnings, *warnings))


def target_of(mart: Mart) -> Target:
    """How the rows of *mart* are written: all of them, each time, and none if so many come.

    Raises:
        ValidationError: Its `partition_by` is none.
    """
    return Target(key=mart.key, partition_by=mart.partition_by, sort_by=mart.sort_by, write="replace", allow_empty=True)


def _marts_file(folder: Path) -> Path:
    """The file of marts in *folder*; of those that are not there, the usual one."""
    first, second = (folder / name for name in MARTS_FILES)
    if first.is_file() and second.is_file():
        raise ConfigError(f"{first} and {second.name}: there are two files of marts", "put all marts into one of them")
    return second if second.is_file() else first


def load_marts(
    path: Path, written: Mapping[str, Collection[str]] = MappingProxyType({})
) -> tuple[Marts, tuple[str, ...]]:
    """The marts of *path*, none where there is no such file, and what deserves a look.

    *written* are the resources of each source file. A source without one may have been
    committed by another project, or in the past.

    Raises:
        ConfigError: All problems of the file, each with its line.
    """
    if not path.is_file():
        return Marts(marts={}), ()
    document, problems = read(path)
    if problems:
        raise refuse(problems)
    try:
        marts = Marts.model_validate(document.data)
    except ValidationError as error:
        raise refuse(explain(error, document, prefix=(), schema=Marts.model_json_schema())) from None
    found: list[Problem] = []
    for name, mart in marts.marts.items():
        keys = ("marts", name, "expect")
        try:
            checks = EXPECTATIONS.validate_python(mart.expect)
        except ValidationError as error:
            raise refuse(explain(error, document, prefix=keys, schema=_checks_schema())) from None
        found += _unwritable(name, mart, document)
        found += _without_maker(name, mart, document)
        aside = [place for place, one in enumerate(checks) if one.severity == "quarantine"]
        found += [document.problem((*keys, place, "severity"), _NOTHING_ASIDE) for place in aside]
    found += _unknown_resources(marts, document, written)
    if found:
        raise refuse(found)
    return marts, tuple(str(one) for one in sorted(_unknown_sources(marts, document, written)))


def _unwritable(name: str, mart: Mart, document: Document) -> Iterator[Problem]:
    """What keeps rows from being written as *mart* says."""
    try:
        target_of(mart)
    except ValidationError as error:
        yield from explain(error, document, prefix=("marts", name), schema=Marts.model_json_schema())


def _without_maker(name: str, mart: Mart, document: Document) -> Iterator[Problem]:
    """That what makes *mart* is not there: it is looked for, and not imported."""
    key, (module, _, function) = "sql" if mart.sql else "function", mart.maker.partition(":")
    file = HOME / (module if mart.sql else f"{module}.py")
    if not file.is_file():
        known = sorted(path.name for path in HOME.glob(f"[a-z]*{file.suffix}"))
        yield document.problem(("marts", name, key), f"no file {file.name} in {HOME}{nearest(file.name, known)}")
    elif function and function not in (_named_in(file) or {function}):
        defined = functions_of(file)
        listed = ", ".join(sorted(defined)) or "none"
        told = f"{file.name} has no {function!r}{nearest(function, defined)}; known: {listed}"
        yield document.problem(("marts", name, key), told)


def _named_in(file: Path) -> set[str]:
    """What *file* gives a name to, in whatever way; none where that cannot be told."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError):
        return set()  # the mart fails by itself, and says why
    made = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    made |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    made |= {one.asname or one.name for node in nodes if isinstance(node, ast.ImportFrom) for one in node.names}
    return set() if "*" in made else made


def _unknown_resources(marts: Marts, document: Document, written: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    for keys, source, resource in _inputs(marts):
        known, wanted = written.get(source), resource.removesuffix(ASIDE)
        if known and not {resource, wanted} & {*known}:
            listed = f"{nearest(wanted, known)}; known: {', '.join(known)}"
            yield document.problem(keys, f"the source {source} has no resource {resource!r}{listed}")


def _unknown_sources(marts: Marts, document: Document, written: Mapping[str, Collection[str]]) -> Iterator[Problem]:
    for keys, source, _ in _inputs(marts):
        if source not in written:
            meant = nearest(source, [*written, MARTS])
            yield document.problem(keys, f"no file describes the source {source!r}{meant}: no run brings new rows")


def _inputs(marts: Marts) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """The key, the source and the resource of each input that is no mart."""
    for name, mart in marts.marts.items():
        for argument, dataset in mart.inputs.items():
            source, _, resource = dataset.partition(".")
            if source != MARTS:
                yield ("marts", name, "inputs", argument), source, resource


def _checks_schema() -> dict[str, Any]:
    """What may stand under `expect`, as a schema of the whole file of marts."""
    checks = EXPECTATIONS.json_schema()
    mart = {"properties": {"expect": checks}}
    return {"properties": {"marts": {"additionalProperties": mart}}, "$defs": checks["$defs"]}
