"""Bars as SVG, by hand: no drawing library is needed, and equal figures give equal bytes."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

WIDTH, LABELS, BAR, GAP, HEAD, MARGIN = 920, 370, 18, 8, 34, 16
OURS, OTHERS, INK, PAPER = "#0b7285", "#adb5bd", "#212529", "#ffffff"
FIGURES = 64
"""Room to the right of the longest bar."""


@dataclass(frozen=True)
class Panel:
    """Bars that share a scale: label, value, whether it is ours."""

    title: str
    bars: list[tuple[str, float, bool]]

    @property
    def height(self) -> int:
        """How far the next panel lies below."""
        return HEAD + len(self.bars) * (BAR + GAP) + MARGIN


def draw(panels: list[Panel]) -> str:
    """The panels one below the other."""
    height = sum(panel.height for panel in panels) + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
    ]
    top = MARGIN
    for panel in panels:
        lines += _panel(panel, top)
        top += panel.height
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel, top: int) -> list[str]:
    longest = max(value for _, value, _ in panel.bars)
    lines = [f'<text x="{MARGIN}" y="{top + 16}" fill="{INK}" font-weight="600">{escape(panel.title)}</text>']
    for number, (label, value, ours) in enumerate(panel.bars):
        y = top + HEAD + number * (BAR + GAP)
        length = (WIDTH - LABELS - FIGURES - MARGIN) * value / longest
        weight = "600" if ours else "400"
        text = f'y="{y + 14}" fill="{INK}" font-weight="{weight}"'
        lines += [
            f'<text x="{LABELS - 8}" {text} text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{OURS if ours else OTHERS}"/>',
            f'<text x="{LABELS + length + 6:.1f}" {text}>{value:.2f}</text>',
        ]
    return lines
