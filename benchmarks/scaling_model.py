"""Where a day's load ends: seconds for each thing that can be short, and which of them is.

Stages overlap, so a load takes as long as what is shortest for it. Sources have
equal shares: one that is far larger than the others is a case of one source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from math import log10

SOURCES = (1, 10, 100, 1_000)
ROWS = tuple(10**power for power in range(5, 11))
A_DAY_S = 86_400
COLOURS = {"API": "#e8590c", "fetching": "#0b7285", "workers": "#5f3dc4", "storage": "#2b8a3e", "network": "#868e96"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 210, 190, 46, 30, 30
_LEAST, _MOST = 0, 7


@dataclass(frozen=True)
class Measured:
    """What one core and one disk of this machine do; `python -m benchmarks.scaling` finds out."""

    cores: int
    rows_per_core_s: float
    json_bytes_row: float
    wire_bytes_row: float
    spool_bytes_row: float
    parquet_bytes_row: float
    fetch_cpu_s_page: float
    disk_bytes_s: float


@dataclass(frozen=True)
class Given:
    """What no command can measure here: the API, the network, the store. Options of the command."""

    rows_page: int = 1_000
    requests_s: float = 10.0
    network_bytes_s: float = 125e6
    """1 Gbit/s for each machine."""
    shared_bytes_s: float = 1e9
    """What shared storage takes from all machines together."""


@dataclass(frozen=True)
class Site:
    """Machines that fetch, each with its own disk; cores that mill; whether storage is shared."""

    name: str
    fetching: int
    cores: int
    shared: bool


def sites(measured: Measured) -> tuple[Site, ...]:
    """One machine; one that fetches for a cluster; ten of them."""
    return (
        Site(f"one machine, {measured.cores} cores", 1, measured.cores, shared=False),
        Site("one fetching, 64 cores of a cluster", 1, 64, shared=True),
        Site("ten fetching, 256 cores of a cluster", 10, 256, shared=True),
    )


def seconds(sources: int, rows: int, site: Site, measured: Measured, given: Given) -> dict[str, float]:
    """What each takes for *rows* of *sources* together."""
    pages = rows / given.rows_page
    stored = rows * (measured.spool_bytes_row + measured.parquet_bytes_row)
    hosts = min(site.fetching, sources)
    fetching_s, milling_s = pages * measured.fetch_cpu_s_page, rows / measured.rows_per_core_s
    return {
        "API": pages / sources / given.requests_s,
        "fetching": fetching_s / hosts,
        # on one machine the process that fetches takes its time from the same cores
        "workers": (milling_s if site.shared else milling_s + fetching_s) / site.cores,
        "storage": stored / (given.shared_bytes_s if site.shared else measured.disk_bytes_s),
        "network": (rows * measured.wire_bytes_row + (stored if site.shared else 0)) / given.network_bytes_s / hosts,
    }


def bottleneck(found: dict[str, float]) -> str:
    """The stage that the others wait for."""
    return max(found, key=found.__getitem__)


def tables(measured: Measured, given: Given) -> str:
    """A table for each site: how long, and what is short."""
    return "\n".join(line for site in sites(measured) for line in _table(site, measured, given))


def _table(site: Site, measured: Measured, given: Given) -> Iterator[str]:
    yield f"### {site.name[0].upper()}{site.name[1:]}\n"
    yield f"| rows a day | {' | '.join(map(_named, SOURCES))} |"
    yield "| --: | " + " | ".join("---" for _ in SOURCES) + " |"
    for rows in ROWS:
        cells = []
        for sources in SOURCES:
            found = seconds(sources, rows, site, measured, given)
            name = bottleneck(found)
            late = " **too long**" if found[name] > A_DAY_S else ""
            cells.append(f"{_told(found[name])}, {name}{late}")
        yield f"| {rows:,} | " + " | ".join(cells) + " |"
    yield ""


def _named(sources: int) -> str:
    return f"{sources:,} {'source' if sources == 1 else 'sources'}"


def _told(duration_s: float) -> str:
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if duration_s >= length:
            return f"{duration_s / length:,.1f} {unit}"
    return f"{duration_s:.1f} s"


def draw(measured: Measured, given: Given) -> str:
    """One machine: a panel for each number of sources, a line for each thing that can be short, both axes by tens."""
    width, height = len(SOURCES) * (_WIDTH + _GAP) + _LEFT, _TOP + _HEIGHT + 60
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, sources in enumerate(SOURCES):
        lines += _panel(_LEFT + number * (_WIDTH + _GAP), sources, sites(measured)[0], measured, given)
    for number, (name, colour) in enumerate(COLOURS.items()):
        x, y = _LEFT + number * 120, height - 12
        lines.append(f'<rect x="{x}" y="{y - 9}" width="18" height="4" fill="{colour}"/>')
        lines.append(f'<text x="{x + 24}" y="{y - 3}">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _panel(left: int, sources: int, site: Site, measured: Measured, given: Given) -> Iterator[str]:
    yield f'<text x="{left}" y="{_TOP - 10}" font-weight="600">{escape(_named(sources))}</text>'
    yield f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#dee2e6"/>'
    ends = f'x1="{left}" x2="{left + _WIDTH}" y1="{_y(A_DAY_S):.1f}" y2="{_y(A_DAY_S):.1f}"'
    yield f'<line {ends} stroke="#212529" stroke-dasharray="4 3"/>'
    if left == _LEFT:
        for label, value in (("1 s", 1), ("1 min", 60), ("1 h", 3_600), ("1 day", A_DAY_S)):
            yield f'<text x="{left - 6}" y="{_y(value) + 4:.1f}" text-anchor="end">{label}</text>'
    for power in (5, 7, 9, 10):
        place = f'x="{left + _WIDTH * (power - 5) / 5:.1f}" y="{_TOP + _HEIGHT + 16}" text-anchor="middle"'
        yield f'<text {place}>10<tspan dy="-4" font-size="9">{power}</tspan></text>'
    for name, colour in COLOURS.items():
        points = [(rows, seconds(sources, rows, site, measured, given)[name]) for rows in ROWS]
        drawn = " ".join(f"{left + _WIDTH * (log10(rows) - 5) / 5:.1f},{_y(value):.1f}" for rows, value in points)
        yield f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _y(value: float) -> float:
    power = min(max(log10(max(value, 1e-9)), _LEAST), _MOST)
    return _TOP + _HEIGHT * (1 - (power - _LEAST) / (_MOST - _LEAST))
