"""What must hold between the parts of a source, once each part is valid by itself.

Parents exist and form no circle, placeholders have a value, columns that are
named are declared, transforms exist, no masked field is asked with, no value is
listed in two ways, and no write mode would store twice what is read again.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.config.listed import written_twice
from pipelines.config.masked import masked_uses
from pipelines.config.naming import ASIDE, NAMING, is_name, misnamed
from pipelines.config.problems import Document, Problem, nearest
from pipelines.config.source import Resource
from pipelines.errors import ConfigError
from pipelines.extract.chains import known_names
from pipelines.extract.endpoint import MOST_WEIGHT
from pipelines.extract.limits import Limits
from pipelines.extract.placeholders import names
from pipelines.load.partitions import parse

_BRACES = re.compile(r"\{[^{}]*\}?|\}")
_WAYS_OUT = (
    "say `bounds: half_open` if the API leaves the end out, `bounds: closed` with `format: date` if it gives that day "
    "too, or `write: upsert` with a key"
)
TRANSFORMS = Path(__file__).parents[1] / "transforms"
"""Where transforms are, unless the settings name another folder."""

Found = Iterator[tuple[tuple[str | int, ...], str]]


def check(
    document: Document, resources: Mapping[str, Resource], *, source: str, transforms: Path, limits: Limits
) -> list[Problem]:
    """The problems between *resources*; those not valid by themselves are known by name only."""
    problems = [document.problem(("source",), wrong)] if (wrong := misnamed(source)) else []
    written = document.data.get("resources")
    known = list(written) if isinstance(written, dict) else []
    problems += [
        document.problem(("resources", name), f"cannot name a resource; {NAMING}")
        for name in known
        if not is_name(name)
    ]
    problems += [
        document.problem(("resources", name), f"no name may end in {ASIDE}: what is set aside of a resource goes there")
        for name in known
        if str(name).endswith(ASIDE)
    ]
    for name, resource in resources.items():
        for keys, what in _resource(resource, known, transforms, known_names(resources, name)):
            problems.append(document.problem(("resources", name, *keys), what))
    problems += [document.problem(("resources", name, "for_each"), what) for name, what in _circles(resources)]
    problems += [document.problem(("resources", name, "weight"), what) for name, what in _weights(resources, limits)]
    problems += [document.problem(("resources", name, *keys), what) for name, keys, what in _partial(resources)]
    problems += [document.problem(("resources", name, *keys), what) for name, keys, what in masked_uses(resources)]
    return problems


def doubt(document: Document, resources: Mapping[str, Resource]) -> list[Problem]:
    """What is valid and may not be meant: rows that are appended once more by each run, or may be."""
    what = (
        "with `write: append` and no `key` a row that is read again is told by all columns that a transform gives it: "
        "one that differs between runs, such as the time, stores it twice; name a `key`"
    )
    doubted = [name for name, one in resources.items() if one.transform and one.incremental and not one.key]
    appended = [name for name in doubted if resources[name].write == "append"]
    again = (
        "with `write: append` and no `incremental` each run stores all records once more; say `write: upsert` with a "
        "`key`, or `replace`; if every read is to be kept, let a `transform` note its time"
    )
    whole = [
        name for name, one in resources.items() if one.write == "append" and not (one.incremental or one.transform)
    ]
    return [
        *(document.problem(("resources", name, "transform"), what) for name in appended),
        *(document.problem(("resources", name, "write"), again) for name in whole),
    ]


def _resource(resource: Resource, known: list[str], transforms: Path, parents: frozenset[str]) -> Found:
    yield from _write(resource)
    yield from _edges(resource)
    yield from _cursor(resource)
    yield from _paging(resource)
    yield from _parent(resource, known)
    yield from _placeholders(resource, parents)
    yield from _columns(resource)
    yield from _transform(resource, transforms)
    yield from written_twice(resource)


def _write(resource: Resource) -> Found:
    incremental = resource.incremental
    if incremental is None:
        return
    if resource.write == "append" and incremental.lag:
        yield (
            ("incremental", "lag"),
            "with `write: append` the rows read again would be stored twice; say `write: upsert`",
        )
    if resource.deletes and resource.deletes.missing and resource.incremental:
        yield (
            ("deletes", "missing"),
            "an incremental read does not have all rows, so a missing one need not be gone; say `when`",
        )
    if resource.write == "replace":
        yield (
            ("write",),
            "with `incremental` only what is new is read, and `replace` would drop the rest; say append or upsert",
        )


def _edges(resource: Resource) -> Found:
    """With `append` no two windows, or halves of one, may ask for the same rows."""
    incremental = resource.incremental
    if incremental is None or resource.write != "append" or incremental.kind != "instant":
        return
    cuts: list[tuple[str | int, ...]] = [
        ("incremental", name) for name in ("window", "most") if getattr(incremental, name)
    ]
    cuts += [("errors",)] if any(rule.action == "split" for rule in resource.errors) else []
    if not cuts:
        return
    if incremental.bounds is None:
        yield cuts[0], f"with `write: append` a row at the edge of two windows may be stored twice; {_WAYS_OUT}"
    elif incremental.bounds == "closed" and incremental.format != "date":
        yield (
            ("incremental", "bounds"),
            f"with `write: append` a row at the instant that two windows share would be stored twice; {_WAYS_OUT}",
        )


def _cursor(resource: Resource) -> Found:
    """What is declared of the cursor's column is something that the cursor's format can be."""
    incremental = resource.incremental
    if incremental is None:
        return
    if incremental.on_missing == "include" and resource.write == "append":
        yield (
            ("incremental", "on_missing"),
            "with `write: append` a record without cursor would be stored again whenever it is read; "
            "say `write: upsert`",
        )
    column = resource.columns.get(incremental.cursor)
    declared = column.parsed if column else None
    if column is None or declared is None or incremental.kind == "text":
        return
    is_time = declared.kind in ("timestamp", "date")
    is_number = declared.is_integer or declared.kind in ("float64", "decimal")
    if incremental.kind == "instant" and not is_time and declared.kind != "string":
        told = f"`{incremental.cursor}: timestamp(ms) from epoch_ms` (or epoch_s), or `incremental: {{format: number}}`"
        yield ("columns", incremental.cursor), f"the cursor is a time, and {column.type} is none; say {told}"
    if incremental.kind == "number" and not is_number and declared.kind != "string":
        yield ("columns", incremental.cursor), f"the cursor is a number by its `format`, and {column.type} is none"


def _paging(resource: Resource) -> Found:
    """Records that paging repeats must be told apart; a window can only be halved where its end is asked for."""
    records = resource.records
    is_list = resource.format == "json" and not (records.columns or records.entries or records.single)
    if resource.paginator.overlapping and not is_list:
        yield ("paginate",), "`overlap` compares records, which must be a list of JSON objects for that"
    incremental = resource.incremental
    placed = names([resource.path, resource.params, resource.headers, resource.payload])
    has_end = incremental is not None and bool(incremental.until_param or "window.end" in placed)
    if incremental and incremental.most and not has_end:
        yield (
            ("incremental", "most"),
            "to halve a window its end must be asked for: say `until_param`, or {window.end} where it goes",
        )
    if any(rule.action == "split" for rule in resource.errors) and not has_end:
        yield ("errors",), "`do: split` halves a window, so `incremental: {until_param: ...}` is needed"


def _parent(resource: Resource, known: list[str]) -> Found:
    each, incremental = resource.for_each, resource.incremental
    parent = each.resource if each else None
    if parent is not None and parent not in known:
        yield ("for_each", "resource"), f"no resource {parent!r}{nearest(parent, known)}; known: {', '.join(known)}"
    if incremental and incremental.per and incremental.per != parent:
        told = f"the parent is {parent}" if parent else "there is no parent; say `for_each: {resource: ...}`"
        yield ("incremental", "per"), f"{incremental.per!r} is not the parent of this resource: {told}"


def _circles(resources: Mapping[str, Resource]) -> Iterator[tuple[str, str]]:
    """Each circle of parents once, at its first resource."""
    told: set[str] = set()
    for start in resources:
        way = [start]
        while (parent := _parent_of(resources, way[-1])) and parent not in way:
            way.append(parent)
        if parent == start and start not in told:
            told.update(way)
            yield start, f"the parents form a circle: {' > '.join([*way, start])}"


def _partial(resources: Mapping[str, Resource]) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Children that are read for some of their parents only, and written as if these were all, or came once."""
    for name, resource in resources.items():
        drops_missing = bool(resource.deletes and resource.deletes.missing)
        is_appended = resource.write == "append" and resource.incremental is None
        parent, known = _parent_of(resources, name), {name}
        while parent and parent not in known and (resource.write == "replace" or drops_missing or is_appended):
            known.add(parent)
            if parent in resources and resources[parent].incremental:
                keys = ("deletes", "missing") if drops_missing else ("write",)
                told = "the newest of its records come again, and their rows would be stored twice; say `write: upsert`"
                lost = "the rows of its other records would be dropped"
                yield name, keys, f"{parent} is `incremental`, so {told if is_appended else lost}"
                break
            parent = _parent_of(resources, parent)


def _weights(resources: Mapping[str, Resource], limits: Limits) -> Iterator[tuple[str, str]]:
    """Requests that would never get their turn."""
    least = min([rate.requests for rate in limits.rate] + [limits.daily or MOST_WEIGHT])
    for name, resource in resources.items():
        if resource.weight > least:
            yield name, f"one request counts as {resource.weight}, but `limits` allow {least} in their span"


def _parent_of(resources: Mapping[str, Resource], name: str) -> str | None:
    each = resources[name].for_each if name in resources else None
    return each.resource if each else None


def _placeholders(resource: Resource, parents: frozenset[str]) -> Found:
    """Each placeholder has a value by then; *parents* are the names of those that may be used."""
    each = resource.for_each
    parent = each.resource if each else None
    try:
        listed = each.file_names() if each else set()
    except ConfigError as error:
        yield ("for_each", "file"), error.message
        return
    if each:
        for name in sorted(listed & each.names):
            told = f"it is the name of {'the parent' if name == parent else 'a list of `values`'} as well"
            yield ("for_each", "file"), f"the column {name!r} would hide another value of that name: {told}"
    first = listed | parents | ({"window"} if resource.incremental else set())
    shown = ", ".join(f"{{{name}}}" for name in sorted(_spelled(resource, first))) or "none"
    for braces in _BRACES.findall(resource.path):
        if not names(braces):
            yield ("path",), f"{braces!r} is no placeholder; known here: {shown}"
    count = resource.count.path if resource.count else ""
    body = "graphql" if resource.graphql else "body"
    templates = {"path": resource.path, "params": resource.params, "headers": resource.headers, "count": count}
    used = {key: names(template) for key, template in {**templates, body: resource.payload}.items()}
    for key, found in used.items():
        for name in sorted(found):
            word, _, rest = name.partition(".")
            is_window = resource.incremental and word == "window"
            if word not in first or (is_window and rest not in ("start", "end")):
                yield (key,), f"no value for the placeholder {{{name}}}; known here: {shown}"
    for column, path in resource.carry.items() if parent is None else ():  # a record has any field
        if not {path, path.partition(".")[0]} & (listed | parents):
            yield ("carry", column), f"no value for {path!r}; known here: {shown}"


def _spelled(resource: Resource, first: set[str]) -> Iterator[str]:
    parent = resource.for_each.resource if resource.for_each else None
    for name in first:
        if name == "window":
            yield from ("window.start", "window.end")
        else:
            yield f"{name}.FIELD" if name == parent else name


def _columns(resource: Resource) -> Found:
    """With `on_new_column: ignore` only declared columns exist; a transform may make others."""
    if not resource.columns or resource.on_new_column != "ignore" or resource.transform:
        return
    known = {*resource.columns, *resource.carry}
    sources = {column.source for column in resource.columns.values()}
    wanted: list[tuple[tuple[str | int, ...], str]] = [(("key",), name) for name in resource.key]
    wanted += [(("sort_by",), name) for name in resource.sort_by]
    wanted += [(("partition_by",), parse(text).field) for text in resource.partition_by]
    wanted += [(("version",), resource.version)] if resource.version else []
    if resource.incremental and resource.incremental.cursor not in sources:
        wanted.append((("incremental", "cursor"), resource.incremental.cursor))
    for keys, name in wanted:
        if name not in known:
            yield keys, f"no column {name!r}{nearest(name, known)}; declared: {', '.join(sorted(known))}"


def _transform(resource: Resource, folder: Path) -> Found:
    """Look for the function without importing it: a configuration never runs code by being read."""
    if resource.transform is None:
        return
    module, _, function = resource.transform.partition(":")
    file = folder / f"{module}.py"
    if not file.is_file():
        known = sorted(path.stem for path in folder.glob("[a-z]*.py"))
        listed = ", ".join(known) or "none"
        yield (
            ("transform",),
            f"unknown transform: {folder.name} has no module {module!r}{nearest(module, known)}; known: {listed}",
        )
        return
    defined = functions_of(file)
    if function not in defined:
        listed = ", ".join(sorted(defined)) or "none"
        yield (
            ("transform",),
            f"unknown transform: {file.name} has no {function!r}{nearest(function, defined)}; known: {listed}",
        )


def functions_of(file: Path) -> set[str]:
    """The public functions of *file*, which is read and not run; none where it is no Python."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")}
