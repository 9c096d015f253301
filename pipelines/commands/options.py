"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

Command = Callable[..., None]


def on_data(command: Command) -> Command:
    """Which data folder, by which settings; and JSON on request."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of text."),
        click.option("--profile", help="Which [profiles] table of settings.toml applies."),
        click.option("--data", type=click.Path(path_type=Path), help="Folder of the output (default: data)."),
        click.option("--config", type=click.Path(path_type=Path), help="Folder of the YAML files (default: config)."),
    ):
        command = option(command)
    return command
