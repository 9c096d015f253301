"""Listed values are asked for as they are written, and known by what they are: 1.10 and 1.1 are one number.

A watermark is kept by the number, as is what `carry` writes, so that another
way to write it reads no history twice. Two ways in one list would share both.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.batch import as_written
from pipelines.config.source import Resource
from pipelines.extract.chains import name_of
from pipelines.extract.placeholders import names
from pipelines.extract.request import text

_WAY_OUT = "as they are equal as numbers; put them in quotes"


def written_twice(resource: Resource) -> Iterator[tuple[tuple[str, ...], str]]:
    """The keys and the mistake for each listed value that a request has, and that is listed in another way before."""
    values = resource.for_each.values if resource.for_each else None
    rows = [{name: one} for name, each in values.items() for one in each] if isinstance(values, dict) else values or []
    templates = [resource.path, resource.params, resource.headers, resource.payload]
    used = {name.partition(".")[0] for name in names(templates)}
    known: dict[tuple[str, ...], str] = {}
    for row in rows:
        asked = {name: value for name, value in sorted(row.items()) if name in used}
        written = ", ".join(text(as_written(value)) for value in asked.values())
        first = known.setdefault((*asked, *map(name_of, asked.values())), written)
        if first != written:
            yield ("for_each",), f"{first} and {written} would share a watermark and what `carry` writes, {_WAY_OUT}"
