"""Paths as they stand in patterns: DuckDB and Polars take each path that they are given for one."""

from __future__ import annotations

import re
from pathlib import Path

_PATTERN = re.compile(r"([\[*?])")
"""What a glob would not take as itself."""


def literal(path: Path) -> str:
    """*path* as a pattern that only it matches."""
    return _PATTERN.sub(r"[\1]", str(path))
