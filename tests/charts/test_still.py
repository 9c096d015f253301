"""A chart as a picture: the same specification, drawn without a browser."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pipelines.charts.page import table
from pipelines.charts.still import png

if TYPE_CHECKING:
    import pytest

_SPEC = {
    "datasets": {"rows": table(("at", "is"), [(0, 1), (1, 3)])},
    "vconcat": [
        {
            "data": {"name": "rows"},
            "mark": {"type": "bar", "color": "var(--batch)"},
            "encoding": {"x": {"field": "at", "type": "quantitative"}, "y": {"field": "is", "type": "quantitative"}},
        }
    ],
}


def test_a_chart_becomes_a_png_as_wide_as_it_is_asked_for() -> None:
    """Its plot has that width; axes and room around it come on top."""
    narrow, wide = (png(_SPEC, "rows", width=width) for width in (200, 600))

    for drawn, least in ((narrow, 200), (wide, 600)):
        assert drawn.startswith(b"\x89PNG")
        assert 1.25 * least < int.from_bytes(drawn[16:20]) < 1.25 * (least + 100)


def test_what_cannot_be_drawn_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    no_mark = png({"vconcat": [{"mark": "no such mark"}]}, "nothing")
    monkeypatch.setattr(sys, "executable", "/bin/false")

    assert no_mark == b""
    assert png(_SPEC, "rows") == b""
