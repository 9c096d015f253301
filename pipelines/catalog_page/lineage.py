"""Where datasets come from, as a picture whose boxes are links: inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from pipelines.catalog_page.entries import Entry

_BOX_WIDTH, _BOX_HEIGHT, _GAP_X, _GAP_Y = 190, 34, 64, 12
_LONGEST = 25


def lineage(entries: Sequence[Entry]) -> str:
    """Sources, datasets and what is made from them, left to right, each linked to its section."""
    above = _above(entries)
    columns = _columns(above)
    places = {
        name: (x * (_BOX_WIDTH + _GAP_X), y * (_BOX_HEIGHT + _GAP_Y))
        for x, names in enumerate(columns)
        for y, name in enumerate(names)
    }
    width = len(columns) * (_BOX_WIDTH + _GAP_X) - _GAP_X
    height = max(map(len, columns)) * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y
    lines = "".join(_line(places[origin], places[name]) for name, origins in above.items() for origin in origins)
    boxes = "".join(_box(name, x, y, linked=bool(above[name])) for name, (x, y) in places.items())
    size = f'width="{width + 2}" height="{height + 2}" viewBox="-1 -1 {width + 2} {height + 2}"'
    return f'<svg class="lineage" {size} role="img" aria-label="lineage">{lines}{boxes}</svg>'


def _above(entries: Sequence[Entry]) -> dict[str, tuple[str, ...]]:
    """What each source or dataset is made from: a dataset of an API from its source, others from datasets."""
    names = {one.dataset for one in entries}
    above: dict[str, tuple[str, ...]] = {}
    for one in entries:
        inputs = tuple(name for name in one.made_from if name in names)
        source = one.dataset.partition(".")[0]
        above[one.dataset] = inputs or (source,)
        if not inputs:
            above.setdefault(source, ())
    return above


def _columns(above: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Names by how far they are from a source, each beside what it is made from."""
    depth: dict[str, int] = {}

    def depth_of(name: str, seen: frozenset[str] = frozenset()) -> int:
        if name not in depth:
            inputs = [one for one in above[name] if one not in seen]
            depth[name] = 1 + max((depth_of(one, seen | {name}) for one in inputs), default=-1)
        return depth[name]

    columns: list[list[str]] = [[] for _ in range(1 + max(map(depth_of, above)))]
    for name in sorted(above):
        columns[depth_of(name)].append(name)
    for number, names in enumerate(columns[1:], 1):
        before = {name: place for column in columns[:number] for place, name in enumerate(column)}
        names.sort(key=lambda name: (sum(before.get(one, 0) for one in above[name]) / len(above[name]), name))
    return columns


def _line(origin: tuple[int, int], to: tuple[int, int]) -> str:
    x1, y1, x2, y2 = origin[0] + _BOX_WIDTH, origin[1] + _BOX_HEIGHT // 2, to[0], to[1] + _BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    return f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"/>'


def _box(name: str, x: int, y: int, *, linked: bool) -> str:
    shown = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    kind = "source" if not linked else "mart" if name.startswith("marts.") else "dataset"
    inside = (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="6"/>'
        f'<text x="{x + 10}" y="{y + 22}">{escape(shown)}</text><title>{escape(name)}</title></g>'
    )
    return f'<a href="#{escape(name)}">{inside}</a>' if linked else inside
