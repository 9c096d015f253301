"""Commands as they are called in a terminal of 80 columns, in this process."""

from __future__ import annotations

from typing import Any

import orjson
from click.testing import CliRunner, Result

from pipelines.cli import app


def threadmill(*arguments: str) -> Result:
    """`threadmill ARGUMENTS` in the current folder."""
    return CliRunner(env={"COLUMNS": "80"}).invoke(app, list(arguments), catch_exceptions=False)


def answer(*arguments: str) -> Any:
    """What a command prints for programs."""
    result = threadmill(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return orjson.loads(result.stdout)
