"""What there is to read, written anew: `threadmill catalog`."""

from __future__ import annotations

from typing import Any

import click

from pipelines.commands.lakes import print_json, shown_errors
from pipelines.commands.options import on_data


@click.command(epilog="\b\nExample:\n  threadmill catalog")
@on_data
def catalog(as_json: bool, **given: Any) -> None:
    """Write the catalog of all datasets for people, SQL and programs.

    A run does so as well, but reads no column of large datasets for it; here
    their rows are counted day by day.
    """
    from pipelines.catalog import JSON, MARKDOWN, PAGE, write_catalog
    from pipelines.commands.running import project_of
    from pipelines.views import DATABASE

    with shown_errors():
        project = project_of((), given, needs="names")
        changed = write_catalog(project, most_rows=None)
    files = [str(project.settings.data / name) for name in (PAGE, MARKDOWN, DATABASE, JSON)]
    if as_json:
        print_json({"changed": changed, "files": files})
        return
    for path in files:
        click.echo(path)


COMMANDS = (catalog,)
