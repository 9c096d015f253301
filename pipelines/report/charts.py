"""The charts of a run: what every thread and process did and when, how much at once, and what it all went into.

Specifications of Vega-Lite. What is marked in the topmost picture of the timeline,
the lanes below it show larger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from pipelines.charts.page import Spec, table
from pipelines.report.critical_path import Step
from pipelines.report.explain import Work
from pipelines.report.runs import Document
from pipelines.report.timeline import Span

KINDS = {
    "answered": "waits for an answer",
    "waited": "waits for its turn",
    "paused": "pauses for the API",
    "retried": "pauses before it tries again",
    "blocked": "waits for workers",
    "batch": "computes",
    "idle": "waits for disk or processor",
    "merged": "merges",
    "committed": "commits",
}
"""What a thread or process does; each has its colour."""
_WORDS = str(KINDS)
"""The same as an expression of Vega."""
_STEPS = {"fetch": "answered", "mill": "batch", "make": "batch", "merge": "merged", "commit": "committed"}
_LANE, _THIN_LANE, _MANY_LANES = 11, 6, 16
_BINS = 240
_LEAST = 0.0008
"""Of the width of the picture: what a span has at least, so that one sees it."""
_SPAN = ("lane", "kind", "name", "at", "till", "s", "n", "share")
_COLOUR = {
    "field": "kind",
    "type": "nominal",
    "legend": None,
    "scale": {"domain": list(KINDS), "range": [f"var(--{kind})" for kind in KINDS]},
}


class Group(Struct, frozen=True):
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


def timeline(run: Document, spans: Sequence[Span], *, legend: bool = False) -> Spec:
    """How many wait and how many compute at each moment; below, one lane for each thread and process."""
    until, workers = run["seconds"], int(run["machine"]["workers"])
    threads = len({span.lane for span in spans if span.lane.startswith("fetch-")})
    waits, mills = (_at_once(spans, until, kind) for kind in ("answered", "batch"))
    waiting = _area(waits, until, "answered", f"Waiting for an answer at once, of {_counted(threads, 'thread')}")
    milling = _area(mills, until, "batch", f"Computing at once, of {_counted(workers, 'process')}", workers)
    waiting["params"] = [{"name": "part", "select": {"type": "interval", "encodings": ["x"]}}]
    groups = grouped(spans)
    lanes = [_lanes(group, until, last=group is groups[-1]) for group in groups]
    if legend:
        lanes[0]["encoding"]["color"] = {**_COLOUR, "legend": _legend({span.kind for span in spans})}
    drawn = table(_SPAN, _rows(spans, until * _LEAST))
    return {"datasets": {"spans": drawn}, "vconcat": [waiting, milling, *lanes]}


def throughput(spans: Sequence[Span], until: float) -> Spec:
    """Bytes that came and rows that were milled, in each moment."""
    fetched = _area(_moved(spans, until, "answered"), until, "answered", "Fetched, bytes a second on the wire")
    milled = _area(_moved(spans, until, "batch"), until, "batch", "Milled, rows a second")
    return {"vconcat": [fetched, milled]}


def time_spent(works: Sequence[Work]) -> Spec:
    """What threads and processes did with their time, one bar for each dataset."""
    rows = [
        {"name": work.name, "kind": kind, "does": KINDS[kind], "s": round(seconds, 3), "order": number}
        for work in works
        for number, (kind, seconds) in enumerate(parts(work))
        if seconds >= 0.0005
    ]
    return {
        "data": {"values": rows},
        "height": {"step": 22},
        "mark": {"type": "bar", "height": {"band": 0.72}},
        "encoding": {
            "y": {"field": "name", "type": "nominal", "title": None, "sort": None,
                  "axis": {"labelColor": "var(--ink)"}},
            "x": {"field": "s", "type": "quantitative", "title": "seconds, summed over lanes",
                  "axis": {"tickCount": 5}},
            "color": _COLOUR,
            "order": {"field": "order"},
            "tooltip": [{"field": "name", "title": "dataset"}, {"field": "does", "title": "it"},
                        {"field": "s", "title": "seconds", "format": ",.2f"}],
        },
    }  # fmt: skip


def parts(work: Work) -> list[tuple[str, float]]:
    """What *work* did with its time: kinds and their seconds, those of waiting first."""
    return [
        ("answered", work.network_s),
        ("waited", work.turn_s),
        ("paused", work.pause_s),
        ("blocked", work.blocked_s),
        ("batch", work.mill_cpu_s + work.fetch_cpu_s),
        ("idle", max(work.mill_s - work.mill_cpu_s, 0.0)),
        ("merged", work.merge_s),
    ]


def stairs(steps: Sequence[Step], until: float) -> Spec:
    """The steps of the critical path, one under the other, each where it was in time."""
    rows = [
        {"step": f"{step.what} {step.name}".strip(), "at": round(step.start, 4), "till": round(step.end, 4),
         "s": round(step.seconds, 4), "kind": _STEPS.get(step.what, "idle"), "why": step.why, "place": number}
        for number, step in enumerate(steps)
    ]  # fmt: skip
    return {
        "data": {"values": rows},
        "height": {"step": 20},
        "mark": {"type": "bar", "height": {"band": 0.7}, "minBandSize": 1},
        "encoding": {
            "y": {"field": "step", "type": "nominal", "title": None, "sort": {"field": "place"},
                  "axis": {"labelColor": "var(--ink)"}},
            "x": {"field": "at", "type": "quantitative", "scale": {"domain": [0, until], "nice": False},
                  "title": "seconds since the run began", "axis": {"tickCount": 6}},
            "x2": {"field": "till"},
            "color": _COLOUR,
            "tooltip": [{"field": "step"}, {"field": "s", "title": "seconds", "format": ",.2f"},
                        {"field": "why"}],
        },
    }  # fmt: skip


def _lanes(group: Group, until: float, *, last: bool) -> Spec:
    step = _LANE if len(group.lanes) <= _MANY_LANES else _THIN_LANE
    axis = {"tickCount": 6, "labels": last}
    shown = {
        "domainMin": {"expr": "part.at ? part.at[0] : 0"},
        "domainMax": {"expr": f"part.at ? part.at[1] : {until}"},
    }
    scale = {**shown, "nice": False, "zero": False}
    return {
        "title": {"text": group.title, "subtitle": _lanes_told(group)},
        "data": {"name": "spans"},
        "transform": [
            {"filter": {"field": "lane", "oneOf": [lane for lane, _ in group.lanes]}},
            {"calculate": f"{_WORDS}[datum.kind]", "as": "does"},
        ],
        "height": {"step": step},
        "mark": {"type": "rect", "aria": False, "clip": True},
        "encoding": {
            "y": {"field": "lane", "type": "nominal", "axis": None,
                  "scale": {"domain": [lane for lane, _ in group.lanes], "paddingInner": 0.15}},
            "x": {"field": "at", "type": "quantitative", "title": "seconds since the run began" if last else None,
                  "scale": scale, "axis": axis},
            "x2": {"field": "till"},
            "color": _COLOUR,
            "opacity": {"field": "share", "type": "quantitative", "legend": None,
                        "scale": {"domain": [0, 1], "range": [0.3, 1]}},
            "tooltip": [{"field": "lane"}, {"field": "name", "title": "of"}, {"field": "does", "title": "it"},
                        {"field": "n", "title": "times", "format": ","},
                        {"field": "s", "title": "seconds", "format": ",.3f"},
                        {"field": "at", "title": "from s", "format": ",.2f"}],
        },
    }  # fmt: skip


def _legend(kinds: Collection[str]) -> Spec:
    """For a picture that stands alone; a page has its own, which wraps on a phone."""
    told = [kind for kind in KINDS if kind in kinds]
    words = f"{_WORDS}[datum.label]"
    return {"orient": "top", "direction": "horizontal", "title": None, "values": told, "labelExpr": words}


def _lanes_told(group: Group) -> str:
    threads = sum(lane.startswith("fetch-") for lane, _ in group.lanes)
    workers = sum(lane.startswith("worker ") for lane, _ in group.lanes)
    if workers:
        return _counted(workers, "process")
    return _counted(threads, "thread") if threads else ""


def _counted(number: int, one: Literal["thread", "process"]) -> str:
    return f"{number} {one if number == 1 else {'thread': 'threads', 'process': 'processes'}[one]}"


def _area(rates: Sequence[float], until: float, kind: str, title: str, most: int | None = None) -> Spec:
    """*rates* from the start to *until* in the colour of *kind*; *most* is the top of the picture."""
    rows = [{"at": round(number * until / _BINS, 4), "is": float(f"{rate:.4g}")} for number, rate in enumerate(rates)]
    x = {"field": "at", "type": "quantitative", "title": None, "axis": {"labels": False, "tickCount": 6},
         "scale": {"domain": [0, until], "nice": False}}  # fmt: skip
    y = {"field": "is", "type": "quantitative", "title": None, "axis": {"tickCount": min(most or 3, 3), "format": "~s"},
         "scale": {"domainMax": most} if most else {}}  # fmt: skip
    tooltip = [{"field": "at", "title": "at s", "format": ",.2f"}, {"field": "is", "title": "it is", "format": ",.3~s"}]
    return {
        "title": title,
        "height": 56,
        "data": {"values": rows},
        "mark": {"type": "area", "interpolate": "step-after", "color": f"var(--{kind})"},
        "encoding": {"x": x, "y": y, "tooltip": tooltip},
    }


def _at_once(spans: Iterable[Span], until: float, kind: str) -> list[float]:
    """How many of *kind* were going on in each moment."""
    return _rates(((one, one.busy_s) for one in spans if one.kind == kind), until)


def _moved(spans: Iterable[Span], until: float, kind: str) -> list[float]:
    """How much of their size a second those of *kind* moved in each moment."""
    return _rates(((one, one.size) for one in spans if one.kind == kind), until)


def _rates(amounts: Iterable[tuple[Span, float]], until: float) -> list[float]:
    bins, width_s = [0.0] * _BINS, max(until, 1e-3) / _BINS
    for span, amount in amounts:
        _spread(span, amount, bins, width_s)
    return [amount / width_s for amount in bins]


def _spread(span: Span, amount: float, bins: list[float], width_s: float) -> None:
    """Add *amount* to the *bins* that *span* lies in, to each its share."""
    first, last = (min(max(int(at / width_s), 0), len(bins) - 1) for at in (span.start, span.end))
    length = span.end - span.start
    for number in range(first, last + 1):
        inside = min(span.end, (number + 1) * width_s) - max(span.start, number * width_s)
        bins[number] += amount * (inside / length if last > first else 1.0)


def _rows(spans: Iterable[Span], least_s: float) -> Iterator[Sequence[str | float]]:
    for one in spans:
        length = one.end - one.start
        share = round(one.busy_s / length, 2) if one.count > 1 and length else 1
        till = max(one.end, one.start + least_s)
        yield one.lane, one.kind, one.name, round(one.start, 4), round(till, 4), round(one.busy_s, 4), one.count, share


def _group(lane: str) -> str:
    if lane.startswith("fetch-"):
        return lane.removeprefix("fetch-").rsplit("-", 1)[0]
    return lane.removeprefix("commit-") if lane.startswith("commit-") else "workers"


def _lane_order(lane: str) -> tuple[bool, int, str]:
    number = lane.replace(" ", "-").rsplit("-", 1)[-1]
    return lane.startswith("commit-"), int(number) if number.isdigit() else 0, lane
