"""A chart as a picture, for where nothing draws it: an artifact of Prefect, a document."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.charts.page import Spec

_MOST_S = 60


def png(spec: Spec, label: str, *, width: int = 860) -> bytes:
    """*spec* as PNG in the colours of light, its plots *width* pixels wide; empty where it cannot be drawn.

    A process of its own draws it, in a second: the engine takes 100 MB and starts threads.
    """
    from pipelines.charts.page import finished

    whole = _placed(_coloured(finished(spec, label)), width)
    command = [sys.executable, "-P", __file__]
    try:
        drawn = subprocess.run(  # noqa: S603  # ourselves
            command, input=json.dumps(whole).encode(), capture_output=True, timeout=_MOST_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return b""
    return drawn.stdout


def _coloured(spec: Spec) -> Spec:
    """The names of colours replaced by those of a light page."""
    from pipelines.charts.page import colours

    light = dict(re.findall(r"--(\w+): (#\w+)", colours().partition("@media")[0]))
    text = re.sub(r"var\(--(\w+)\)", lambda found: light[found[1]], json.dumps(spec))
    whole: dict[str, Any] = json.loads(text)
    return {**whole, "background": light["page"], "config": {**whole["config"], "font": "sans-serif"}}


def _placed(spec: Spec, width: int) -> Spec:
    """What `draw.js` does in a page: rows as objects, and how wide each plot is."""
    for name, held in spec.get("datasets", {}).items():
        spec["datasets"][name] = [dict(zip(held["columns"], row, strict=True)) for row in held["rows"]]
    for view in spec.get("vconcat", [spec]):
        view["width"] = width
    return {**spec, "padding": 12}


def _draw() -> None:
    import vl_convert

    sys.stdout.buffer.write(vl_convert.vegalite_to_png(json.load(sys.stdin), scale=1.25))


if __name__ == "__main__":
    _draw()
