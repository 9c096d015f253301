"""Where the charts of the pages come from: Vega-Lite's script for browsers, made once and kept.

The package `vl-convert-python` makes it, offline, in 2 s of a processor; so it is
kept with the environment, or with the user where that is not ours to write, and a
run only reads it. What else was weighed, on one machine:

| library | its script | how a page is fed |
| --- | ---: | --- |
| Vega-Lite 6.4, taken | 0.90 MB | JSON that we write, nothing to import |
| Bokeh 3.9 | 1.27 MB | documents that its Python makes, 1.6 s of a processor to import, eight more packages |
| Plotly 7.1 | 4.82 MB | JSON; over the 2 MB that a page may have by itself |

Packed it takes 0.41 MB of a page, which the browser unpacks.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

VERSION = "6.4"
"""Of Vega-Lite, for which the specifications are written."""
_NAME = f"vega-lite-{VERSION}.txt"
_MOST_S = 60


class Library(Struct, frozen=True):
    """The script as a page holds it: its digest as browsers compare it, and its text, gzip in base64."""

    digest: str
    packed: str


@cache
def library() -> Library | None:
    """The script, at most once read; None where it cannot be made, and the pages say so."""
    for folder in _folders():
        try:
            return _read((folder / _NAME).read_text(encoding="ascii"))
        except OSError:
            continue
    command = [sys.executable, "-P", __file__]  # its engine keeps 100 MB, which a run has no use for
    try:
        made = subprocess.run(command, capture_output=True, timeout=_MOST_S, check=True)  # noqa: S603  # ourselves
    except (OSError, subprocess.SubprocessError):
        return None
    return _read(made.stdout.decode())


def make() -> str:
    """The script, made and kept in the first folder that lets itself be written to: a line for each part of it."""
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VERSION).encode()
    digest, packed = b64encode(sha256(script).digest()), b64encode(gzip.compress(script, mtime=0))
    text = f"sha256-{digest.decode()}\n{packed.decode()}\n"
    for folder in _folders():
        aside = folder / f"{_NAME}.{os.getpid()}.tmp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            aside.write_text(text, encoding="ascii")
            aside.replace(folder / _NAME)
            break
        except OSError:
            continue
    return text


def _read(text: str) -> Library:
    digest, packed = text.split()
    return Library(digest, packed)


def _folders() -> Iterator[Path]:
    """Where it is kept: with the environment, where all who use it find it, or with the user."""
    yield Path(sys.prefix) / "share" / "threadmill"
    try:
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "threadmill"
    except RuntimeError:  # a user without a home
        return


if __name__ == "__main__":
    sys.stdout.write(make())
