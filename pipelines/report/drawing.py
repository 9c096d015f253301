"""The pictures of a run's report: rectangles and areas as inline SVG, without text in them.

They stretch to any width, so words stand beside them as HTML and stay readable on
a phone. Drawn by hand: a chart library is larger than a hundred reports, and its
pictures follow neither the page's colours nor its light and dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from pipelines.report.timeline import Span

WIDTH = 1000
_LANE, _THIN_LANE, _MANY_LANES = 9, 5, 16
_BINS = 240
_WORDS = {
    "answered": "waits for an answer",
    "waited": "waits for its turn",
    "throttled": "pauses, the API asks for it",
    "retried": "pauses before it tries again",
    "blocked": "waits for workers",
    "batch": "mills",
    "merged": "merges",
    "committed": "commits",
}


@dataclass(frozen=True)
class Group:
    """Lanes that belong together: the threads of a source, or the workers."""

    title: str
    lanes: tuple[tuple[str, tuple[Span, ...]], ...]


def grouped(spans: Iterable[Span]) -> list[Group]:
    """Lanes by source, each source's commits last; the workers last of all."""
    lanes: dict[str, dict[str, list[Span]]] = {}
    for span in spans:
        lanes.setdefault(_group(span.lane), {}).setdefault(span.lane, []).append(span)
    return [
        Group(title, tuple((lane, tuple(of[lane])) for lane in sorted(of, key=_lane_order)))
        for title, of in sorted(lanes.items(), key=lambda item: (item[0] == "workers", item[0] == "marts", item[0]))
    ]


def timeline(group: Group, until: float) -> str:
    """One row for each lane of *group*, a rectangle for each span; the right edge is *until*."""
    height = _LANE if len(group.lanes) <= _MANY_LANES else _THIN_LANE
    rows = [_row(spans, number * height, height - 1, until) for number, (_, spans) in enumerate(group.lanes)]
    return _picture("".join(rows), height * len(group.lanes), f"timeline of {group.title}")


def rates(spans: Iterable[Span], until: float, name: str) -> tuple[str, float]:
    """How much of their size *spans* moved in each moment, as an area; and the most in a second."""
    bins, width_s = [0.0] * _BINS, max(until, 1e-3) / _BINS
    for span in spans:
        first, last = (min(max(int(at / width_s), 0), _BINS - 1) for at in (span.start, span.end))
        length = span.end - span.start
        for number in range(first, last + 1):
            inside = min(span.end, (number + 1) * width_s) - max(span.start, number * width_s)
            bins[number] += span.size * (inside / length if last > first else 1.0)
    top = max(bins)
    points = " ".join(
        f"{number * WIDTH / _BINS:.1f},{60 - 58 * value / top:.1f}" for number, value in _steps(bins) if top
    )
    area = f'<polygon class="{name}" points="0,60 {points} {WIDTH},60"/>' if points else ""
    return _picture(area, 60, f"{name} over time"), top / width_s


def share_bar(parts: Sequence[tuple[str, float]], whole: float) -> str:
    """A bar of coloured *parts*, each a class and its seconds; as long as their share of *whole*."""
    pieces = "".join(
        f'<i class="{kind}" style="width:{100 * seconds / whole:.2f}%" title="{kind} {seconds:.2f} s"></i>'
        for kind, seconds in parts
        if whole and seconds / whole > 0.001
    )
    return f'<span class="bar">{pieces}</span>'


def _row(spans: Sequence[Span], top: int, height: int, until: float) -> str:
    scale = WIDTH / max(until, 1e-3)
    return "".join(
        f'<rect class="{span.kind}" x="{span.start * scale:.1f}" y="{top}" height="{height}"'
        f' width="{max((span.end - span.start) * scale, 0.8):.1f}"{_opacity(span)}>'
        f"<title>{escape(_told(span))}</title></rect>"
        for span in spans
    )


def _opacity(span: Span) -> str:
    length = span.end - span.start
    busy = span.busy_s / length if length else 1.0
    return f' opacity="{0.3 + 0.7 * busy:.2f}"' if span.count > 1 and busy < 0.95 else ""


def _told(span: Span) -> str:
    times = f" {span.count:,} times" if span.count > 1 else ""
    return f"{span.name} {_WORDS.get(span.kind, span.kind)}{times} {span.busy_s:.3f} s from {span.start:.2f} s"


def _picture(inside: str, height: int, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none" style="height:{height}px"'
        f' role="img" aria-label="{escape(label)}">{inside}</svg>'
    )


def _steps(bins: Sequence[float]) -> Iterable[tuple[int, float]]:
    for number, value in enumerate(bins):
        yield number, value
        yield number + 1, value


def _group(lane: str) -> str:
    if lane.startswith("fetch-"):
        return lane.removeprefix("fetch-").rsplit("-", 1)[0]
    return lane.removeprefix("commit-") if lane.startswith("commit-") else "workers"


def _lane_order(lane: str) -> tuple[bool, int, str]:
    number = lane.replace(" ", "-").rsplit("-", 1)[-1]
    return lane.startswith("commit-"), int(number) if number.isdigit() else 0, lane
