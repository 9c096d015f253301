"""Where the charts of the pages come from: Vega-Lite's script for browsers, made once and kept.

The package `vl-convert-python` makes it, offline, in 2 s of a processor; so it is
kept with the environment, or with the user where that is not ours to write, and a
run only reads it. What else was weighed, on one machine:

| library | its script | how a page is fed |
| --- | ---: | --- |
| Vega-Lite 6.4, taken | 0.90 MB | JSON that we write, nothing to import; 15 ms of a run |
| Bokeh 3.9 | 1.27 MB | documents that its Python makes, 1.6 s of a processor to import, eight more packages |
| Plotly 7.1 | 4.82 MB | JSON; over the 2 MB that a page may have by itself |
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

VERSION = "6.4"
"""Of Vega-Lite, for which the specifications are written."""
_NAME = f"vega-lite-{VERSION}.js"
_MOST_S = 60


@cache
def library() -> str:
    """The script, at most once read; empty where it cannot be made, and the pages say so."""
    for folder in _folders():
        try:
            return (folder / _NAME).read_text(encoding="utf-8")
        except OSError:
            continue
    command = [sys.executable, "-P", __file__]  # its engine keeps 100 MB, which a run has no use for
    try:
        made = subprocess.run(command, capture_output=True, timeout=_MOST_S, check=True)  # noqa: S603  # ourselves
    except (OSError, subprocess.SubprocessError):
        return ""
    return made.stdout.decode()


def make() -> str:
    """The script, made and kept in the first folder that lets itself be written to."""
    import vl_convert

    text = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION))
    for folder in _folders():
        aside = folder / f"{_NAME}.{os.getpid()}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            aside.write_text(text, encoding="utf-8")
            aside.replace(folder / _NAME)
            break
        except OSError:
            continue
    return text


def _folders() -> Iterator[Path]:
    """Where it is kept: with the environment, where all who use it find it, or with the user."""
    yield Path(sys.prefix) / "share" / "threadmill"
    try:
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "threadmill"
    except RuntimeError:  # a user without a home
        return


if __name__ == "__main__":
    sys.stdout.write(make())
