"""Personal fields out of a page before it is written anywhere.

`drop` removes a field, `sha256` leaves a salted fingerprint that still joins (a
source file that says no more has `${MASK_SALT}` put in as the salt),
`last4` leaves the end. The page is encoded again, numbers exactly as they were.
A path that meets a list goes on in each of its items.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pydantic import Field

from pipelines.batch import Json
from pipelines.errors import ConfigError
from pipelines.records import Format, Records, find, parse
from pipelines.transform.exact_json import json_text, parse_json, parse_lines, plain_text
from pipelines.values import Value

_DROP = object()
Cover = Callable[[Json], Any]


class Sha256(Value):
    """`{sha256: "${SALT}"}`: a fingerprint with a salt of its own."""

    sha256: str = Field(min_length=8, description="the salt, from the environment")


MaskRule = Literal["drop", "sha256", "last4"] | Sha256


def mask(
    body: bytes, layout: Format, records: Records, rules: Mapping[str, MaskRule], met: set[str] | None = None
) -> bytes:
    """The page with every field that *rules* names covered, in all its records.

    Paths of *rules* that some record has are added to *met*: one that none ever has is a slip.

    Raises:
        DecodeError: The page is not *layout*, so nothing of it may be kept.
        RecordsMissing: No records where *records* points, or a CSV row that is cut.
        ConfigError: `sha256` without a salt, or records that are copies made by the path.
    """
    paths = {steps_of(path): path for path in rules}
    covers = {steps: _cover(rules[path]) for steps, path in paths.items()}
    seen: set[tuple[str, ...]] = set()
    masked = _masked(body, layout, records, covers, seen)
    if met is not None:
        met.update(paths[steps] for steps in seen)
    return masked


def steps_of(path: str) -> tuple[str, ...]:
    """The fields that a *path* of rules goes through; a list on the way is no step."""
    return tuple(path.replace("[*]", "").replace("[]", "").split("."))


def _masked(
    body: bytes,
    layout: Format,
    records: Records,
    covers: Mapping[tuple[str, ...], Cover],
    seen: set[tuple[str, ...]],
) -> bytes:
    if not covers or not body.strip():
        return body
    if layout == "csv":
        return _masked_csv(body, covers, seen)
    if layout == "ndjson":
        document = parse_lines(body)
        _mask_records(document, records, covers, seen)
        return b"\n".join(json_text(line).encode() for line in document)
    document = parse_json(body)
    _mask_records(document, records, covers, seen)
    return json_text(document).encode()


def _cover(rule: MaskRule) -> Cover:
    if rule == "drop":
        return lambda _value: _DROP
    if rule == "last4":
        return _last4
    if not isinstance(rule, Sha256):
        raise ConfigError("mask: sha256 has no salt", 'write {sha256: "${MASK_SALT}"} and set the variable')
    key = rule.sha256
    return lambda value: hmac.new(key.encode(), plain_text(value).encode(), hashlib.sha256).hexdigest()


def _last4(value: Json) -> str:
    text = plain_text(value)
    return f"***{text[-4:]}" if len(text) > 8 else "***"


def _mask_records(
    document: Json, records: Records, covers: Mapping[tuple[str, ...], Cover], seen: set[tuple[str, ...]]
) -> None:
    rows = records.select(document)
    if rows and (records.columns is not None or records.entries is not None):
        found = find(document, records.path)
        rows = found if isinstance(found, list) else [found]
    inside = {id(value) for value in _objects(document)}
    if any(id(row) not in inside for row in rows if isinstance(row, dict)):
        raise ConfigError(f"mask: the records path {records.path!r} makes copies", "let it select objects as they are")
    for path, cover in covers.items():
        for row in rows:
            is_there = _apply_below(row, records, path, cover) if records.entries else _apply(row, path, cover)
            if is_there:
                seen.add(path)


def _objects(value: Json) -> Iterator[Json]:
    """All objects of a document."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            yield one
        todo += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()


def _apply(value: Json, path: tuple[str, ...], cover: Cover) -> bool:
    """Cover what *path* names below *value*; whether it is there."""
    if isinstance(value, list):
        return sum(_apply(item, path, cover) for item in value) > 0  # not any: all are to be covered
    if not isinstance(value, dict):
        return False
    is_there = (name := ".".join(path)) in value  # a field may have points in its name
    if is_there:
        _put(value, name, cover)
    return (len(path) > 1 and path[0] in value and _apply(value[path[0]], path[1:], cover)) or is_there


def _apply_below(level: dict[str, Json], records: Records, path: tuple[str, ...], cover: Cover, depth: int = 1) -> bool:
    """The same for each entry of the objects whose keys are data; one that is no object is a record's `value`."""
    hits = 0
    for key, below in level.items():
        if depth < len(records.keys):
            hits += _apply_below(below, records, path, cover, depth + 1)
            continue
        hits += _apply(below, path, cover)
        if not isinstance(below, dict):
            record = {records.value: below}
            hits += _apply(record, path, cover)
            level[key] = record.get(records.value, {})  # an entry without its value is a record still
    return hits > 0


def _put(owner: dict[str, Json], name: str, cover: Cover) -> None:
    value = owner[name]
    if cover(None) is _DROP:
        del owner[name]
    elif isinstance(value, list):
        owner[name] = [item if item is None else cover(item) for item in value]
    elif value is not None:
        owner[name] = cover(value)


def _masked_csv(body: bytes, covers: Mapping[tuple[str, ...], Cover], seen: set[tuple[str, ...]]) -> bytes:
    rows = parse(body, "csv")
    # a column may have points and brackets in its name, which a path takes for steps
    steps = {name: steps_of(name) for name in (rows[0] if rows else {})}
    seen.update(path for path in covers if path in steps.values())
    names = [name for name, path in steps.items() if not _drops(covers.get(path))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")  # so that a field with either of them is quoted
    writer.writerow(names)
    for row in rows:
        writer.writerow([_covered(row[name], covers.get(steps[name])) for name in names])
    return out.getvalue().encode()


def _drops(cover: Cover | None) -> bool:
    return cover is not None and cover(None) is _DROP


def _covered(value: Json, cover: Cover | None) -> Any:
    return cover(value) if cover and value else value
