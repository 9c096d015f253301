"""The charts of the catalog: rows in time, and the columns that have nulls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.catalog_page.entries import ColumnEntry
from pipelines.charts.page import Spec

_UNITS = {10: "utcyearmonthdate", 7: "utcyearmonth", 4: "utcyear"}
_TOLD = {10: "%Y-%m-%d", 7: "%Y-%m", 4: "%Y"}
"""How long a text of a day, month or year is; what Vega calls it."""


def rows_in_time(counts: Sequence[tuple[str, int]]) -> Spec:
    """One bar for each day, month or year of *counts*, on an axis of time: where nothing is, nothing is drawn."""
    return _bars(counts) | {"height": 90}


def spark(counts: Sequence[tuple[str, int]]) -> Spec:
    """The same without words, as small as a line of text."""
    drawn = _bars(counts)
    for axis in ("x", "y"):
        drawn["encoding"][axis]["axis"] = None
    return drawn | {"height": 20, "padding": 0}


def null_shares(columns: Iterable[ColumnEntry]) -> Spec:
    """One bar for each column that has nulls."""
    rows = [{"column": one.name, "share": round(one.null_share, 4)} for one in columns if one.null_share]
    return {
        "data": {"values": rows},
        "height": {"step": 18},
        "mark": {"type": "bar", "height": {"band": 0.7}, "color": "var(--null)"},
        "encoding": {
            "y": {"field": "column", "type": "nominal", "title": None, "sort": None,
                  "axis": {"labelColor": "var(--ink)"}},
            "x": {"field": "share", "type": "quantitative", "title": None, "scale": {"domain": [0, 1]},
                  "axis": {"format": ".0%", "tickCount": 5}},
            "tooltip": [{"field": "column"}, {"field": "share", "title": "null", "format": ".2%"}],
        },
    }  # fmt: skip


def _bars(counts: Sequence[tuple[str, int]]) -> Spec:
    length = len(counts[0][0])
    time = {"field": "when", "type": "temporal", "timeUnit": _UNITS[length], "title": None}
    return {
        "data": {"values": [{"when": when, "rows": rows} for when, rows in counts]},
        "mark": {"type": "bar", "color": "var(--batch)", "minBandSize": 1},
        "encoding": {
            "x": {**time, "axis": {"labelOverlap": "greedy", "grid": False, "tickCount": 6}},
            "y": {"field": "rows", "type": "quantitative", "title": None, "axis": {"tickCount": 3, "format": "~s"}},
            "tooltip": [
                {**time, "title": "of", "format": _TOLD[length]},
                {"field": "rows", "type": "quantitative", "format": ","},
            ],
        },
    }
