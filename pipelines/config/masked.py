"""No masked field may be asked with, carried, paged or told apart by, and each must be one that can be masked.

A page is masked when it is kept. What follows from it is asked for with the
page as it came, or with the kept one where a run resumes: a masked field would
be another value then, and `carry` would write it as it came. What `records` has
from the keys of objects stands in no field, and would be kept as it came. Rows are
told apart, and compared, by masked values: only `sha256` keeps them different, and
nothing keeps their order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from pipelines.config.source import Resource
from pipelines.extract.paginators import LastId
from pipelines.extract.placeholders import names
from pipelines.load.deletes import letters
from pipelines.records import Records, root_names
from pipelines.transform.columns import parse_path
from pipelines.transform.mask import steps_of
from pipelines.transform.plan import spelled

Found = Iterator[tuple[str, tuple[str, ...], str]]
_PLAIN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_OTHER_FIELD = "name another field, or take it out of `mask`"
_RESUMED = "a run that resumes has only its masked value to ask with"


def masked_uses(resources: Mapping[str, Resource]) -> Found:
    """The resource, the key and the mistake for each masked field that is a key, asked with, or carried."""
    for name, resource in resources.items():
        yield from ((name, keys, what) for keys, what in _keys(resource))
        yield from ((name, keys, what) for keys, what in _told_apart_by(resource))
        yield from ((name, keys, what) for keys, what in _compared(resource))
        yield from ((name, keys, what) for keys, what in _paged_by(resource))
        yield from ((name, keys, what) for keys, what in _asked_with(resource, _above(resources, name)))
        yield from ((name, keys, what) for keys, what in _carried(resource, _above(resources, name)))


def _keys(resource: Resource) -> Iterator[tuple[tuple[str, ...], str]]:
    """The masked columns that are made of keys of the answer."""
    records = resource.records
    for path in resource.mask if records.entries is not None else ():
        if steps_of(path)[0] in records.keys:
            what = f"{path!r} is of the `keys` of `records`, and what the API uses as keys is kept as it came"
            yield ("mask", path), f"{what}; ask for a list of records, or take it out of `mask`"


def _told_apart_by(resource: Resource) -> Iterator[tuple[tuple[str, ...], str]]:
    """The columns of the key that are the same for different records, or for none; `replace` asks for no key."""
    for column in resource.key if resource.write != "replace" else ():
        for path in _covering(resource, column):
            if (rule := resource.mask[path]) in ("drop", "last4"):
                what = f"`{path}: {rule}` under `mask` would make one row of different records, or none"
                yield ("key",), f"{column!r} is masked, and {what}; say `{path}: sha256`, or choose another key"


def _compared(resource: Resource) -> Iterator[tuple[tuple[str, ...], str]]:
    """The columns whose values decide: which row is the newest, what is read next, what is gone."""
    deciding: list[tuple[tuple[str, ...], str]] = [(("version",), resource.version)] if resource.version else []
    if resource.incremental:
        deciding.append((("incremental", "cursor"), resource.incremental.cursor))
    for keys, column in deciding:
        if any(_covering(resource, column)):
            yield keys, f"{column!r} is masked, and compares as its masked value; {_OTHER_FIELD}"
    if (deletes := resource.deletes) is None:
        return
    for name in deletes.names:
        if any(resource.mask[path] == "drop" or name in deletes.weighed for path in _covering(resource, name, letters)):
            yield ("deletes", "when"), f"{name!r} is masked, and compares as its masked value; {_OTHER_FIELD}"


def _covering(resource: Resource, column: str, spelling: Callable[[str], str] = str) -> Iterator[str]:
    """The paths of `mask` that cover the field which *column* is read from; names are alike if their *spelling* is."""
    named = spelling(column)
    alike = {spelling(name): one for name, one in resource.columns.items()}
    declared = resource.columns.get(column) or alike.get(named)
    source = declared.source if declared else None
    if source is None and named in map(spelling, resource.carry):
        return
    for path in resource.mask:
        steps = steps_of(path)
        if source is not None:
            read = steps_of(".".join(step for step in parse_path(source) if isinstance(step, str)))
            is_covered = read[: len(steps)] == steps
        else:
            is_column = resource.format == "csv" or len(steps) <= resource.flatten + 1
            is_covered = is_column and spelling(spelled(steps, resource.rename)) == named
        if is_covered:
            yield path


def _asked_with(resource: Resource, above: Mapping[str, Resource]) -> Iterator[tuple[tuple[str, ...], str]]:
    templates = {
        "path": resource.path,
        "params": resource.params,
        "headers": resource.headers,
        "graphql" if resource.graphql else "body": resource.payload,
        "count": resource.count.path if resource.count else "",
    }
    for key, template in templates.items():
        for used in sorted(names(template)):
            parent, _, field = used.partition(".")
            if parent in above and _is_masked(field, above[parent].mask):
                yield (key,), f"{{{used}}} is masked in {parent}, and {_RESUMED}; {_ways_out(parent)}"


def _carried(resource: Resource, above: Mapping[str, Resource]) -> Iterator[tuple[tuple[str, ...], str]]:
    each = resource.for_each
    if each is None or each.resource not in above:
        return
    for column, path in resource.carry.items():
        first, _, rest = path.partition(".")
        if first in each.names and first not in above:
            continue
        parent, field = (first, rest) if first in above else (str(each.resource), path)
        if _is_masked(field, above[parent].mask):
            what = f"{path!r} is masked in {parent}, and would be written as it is; {_ways_out(parent)}"
            yield ("carry", column), what


def _paged_by(resource: Resource) -> Iterator[tuple[tuple[str, ...], str]]:
    """The fields of a record that the next page is found by: the last id, or a path that leads into the records."""
    paginator = resource.paginator
    told = [getattr(paginator, key, None) for key in ("source", "more", "total_at")]
    paths = [(path, inside) for path in told if path and (inside := _inside(path, resource.records))]
    if isinstance(paginator, LastId):
        paths.append((paginator.record_field, paginator.record_field))
    for path, inside in paths:
        if any(_is_masked(field, resource.mask) for field in _fields(inside)):
            yield ("paginate",), f"{path!r} is masked, and {_RESUMED}; page by another field, or take it out of `mask`"


def _inside(path: str, records: Records) -> str:
    """What of a JMESPath *path* into the answer is inside a record; empty where it leads elsewhere."""
    top = "" if records.path == "@" else re.escape(records.path)
    place = r"(?:\[-?\d+\])?" if records.single or records.columns else r"\[-?\d+\]"
    found = re.fullmatch(rf"{top}{place}(?:^|\.)(\w.*)", path)
    return found[1] if found else ""


def _fields(path: str) -> Iterable[str]:
    """The fields that a JMESPath *path* looks at, dotted; their first names alone where it is more than that."""
    if _PLAIN.fullmatch(path):
        return (path,)
    return root_names(path) or ()


def _ways_out(parent: str) -> str:
    return f"use another field, or take it out of the `mask` of {parent}"


def _is_masked(field: str, mask: Iterable[str]) -> bool:
    """Whether *mask* covers the dotted *field*, a part of it, or what it is a part of; the empty one is the record."""
    used = tuple(field.split(".")) if field else ()
    return any(used[: len(steps)] == steps[: len(used)] for steps in map(steps_of, mask))


def _above(resources: Mapping[str, Resource], name: str) -> dict[str, Resource]:
    """The parents of the resource *name*, and theirs."""
    found: dict[str, Resource] = {}
    while name in resources and (each := resources[name].for_each) and each.resource in resources:
        name = str(each.resource)
        if name in found:
            break
        found[name] = resources[name]
    return found
