"""Charts as HTML: each a figure that holds its specification, and the scripts that draw them all.

The page's policy names the two scripts by their digests: no other runs, whatever
an API has answered, and nothing is loaded from anywhere.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

import orjson

from pipelines.charts.library import library

Spec = dict[str, Any]
"""A specification of Vega-Lite, without what all have in common."""
LEFT, RIGHT = 46, 14
_LOOK: Spec = {
    "font": "system-ui, sans-serif",
    "background": None,
    "view": {"stroke": None, "fill": "var(--panel)"},
    "axis": {
        "labelColor": "var(--soft)", "titleColor": "var(--soft)", "gridColor": "var(--line)", "labelFontSize": 11,
        "domain": False, "ticks": False, "titleFontWeight": "normal", "titleFontSize": 11, "labelPadding": 5,
    },
    "title": {"color": "var(--ink)", "subtitleColor": "var(--soft)", "anchor": "start", "fontSize": 12,
              "subtitleFontSize": 11, "offset": 5, "frame": "group"},
    "text": {"color": "var(--ink)"},
    "concat": {"spacing": 14},
}  # fmt: skip
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src {}"


def chart(spec: Spec, label: str, *, left: int = LEFT, right: int = RIGHT) -> str:
    """*spec* as a figure as wide as the page; *label* says what it shows, *left* is the room of its y axis."""
    whole = finished(spec, label, left=left, right=right)
    text = orjson.dumps(whole).decode().replace("<", "\\u003c")
    held = f'<script type="application/json">{text}</script><div></div>'
    return f'<figure class="chart" aria-label="{escape(label)}">{held}</figure>'


def finished(spec: Spec, label: str, *, left: int = LEFT, right: int = RIGHT) -> Spec:
    """*spec* with what all charts have in common."""
    return {
        "description": label,
        "usermeta": {"left": left, "right": right},
        "padding": {"left": 0, "right": 0, "top": 2, "bottom": 2},
        "config": _LOOK,
        **spec,
    }


def table(columns: Sequence[str], rows: Iterable[Sequence[str | float]]) -> Spec:
    """Many rows as one of a specification's `datasets`; a third of the size that objects have."""
    return {"columns": columns, "rows": list(rows)}


def policy() -> str:
    """What a page with charts may do, as its Content-Security-Policy."""
    found = library()
    return _POLICY.format(f"'{found.digest}' 'sha256-{_digest(_drawing())}'" if found else "'none'")


def scripts() -> str:
    """What draws the charts of a page, for its end; a sentence where that is not to be had."""
    found = library()
    if found is None:
        return "<p><small>No charts: Vega-Lite could not be had; `pip install vl-convert-python`.</small></p>"
    return f'<script type="application/gzip" id="library">{found.packed}</script><script>{_drawing()}</script>'


def colours() -> str:
    """The style that all pages share: the colours of light and dark, and of charts."""
    return files("pipelines.charts").joinpath("colours.css").read_text(encoding="utf-8")


@cache
def _drawing() -> str:
    return files("pipelines.charts").joinpath("draw.js").read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()
