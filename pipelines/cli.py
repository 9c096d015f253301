"""The command line: `threadmill run`, `check`, `status` and what `commands/` adds.

Heavy modules are imported by the command that needs them, so that `--help`
answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from pipelines.commands import history, lake, look, state
from pipelines.commands.lakes import shown_errors
from pipelines.commands.running import console_on, project_of, work_through
from pipelines.version import CODE_VERSION

_CODES = """\b
Exit codes: 0 complete, 1 failed, 2 usage or configuration, 3 incomplete
(something the API has was not read), 4 busy, 130 interrupted."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}, epilog=_CODES)
@click.version_option(CODE_VERSION, prog_name="threadmill")
@click.option("-v", "--verbose", count=True, help="Say more: -v for each resource, -vv for each request.")
def app(verbose: int) -> None:
    """Several HTTP APIs in, clean partitioned Parquet out."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)


_config = click.option("--config", type=click.Path(path_type=Path), help="Folder of the YAML files (default: config).")
_data = click.option("--data", type=click.Path(path_type=Path), help="Folder of the output (default: data).")
_profile = click.option("--profile", help="Which [profiles] table of settings.toml applies.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs instead of a table.")


@app.command(epilog="\b\nExample:\n  threadmill run usgs frankfurter")
@click.argument("sources", nargs=-1)
@_config
@_data
@_profile
@click.option("--workers", metavar="N|auto", help="Worker processes (default: one for each CPU).")
@_as_json
def run(sources: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Bring SOURCES (all by default) up to date, then the marts.

    Only what is new since the last run is asked for. A run that was killed
    resumes: pages that were fetched are not fetched again.
    """
    with shown_errors():
        code = work_through(sources, given, as_json=as_json)
    sys.exit(code)


@app.command(epilog="\b\nExample:\n  threadmill check")
@click.argument("sources", nargs=-1)
@_config
@_profile
@_as_json
def check(sources: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Read the configuration and list all that is wrong with it. Asks no API."""
    import orjson

    with shown_errors():
        project = project_of(sources, given)
    found = {
        "sources": {source.name: list(source.resources) for source in project.sources},
        "marts": list(project.marts.marts),
        "warnings": list(project.warnings),
    }
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    for source in project.sources:
        click.echo(f"{source.name:<14} {source.base_url}")
        for name, resource in source.resources.items():
            click.echo(f"  {name:<12} {resource.write:<8} {resource.path}")
    for warning in project.warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{len(project.sources)} sources and {len(project.marts.marts)} marts: no problem found")


@app.command(epilog="\b\nExample:\n  threadmill status --json")
@_config
@_data
@_profile
@_as_json
def status(as_json: bool, **given: Any) -> None:
    """Show what is committed: datasets, rows, files, watermarks, last commit."""
    import orjson

    from pipelines.status import show_status, status_of

    with shown_errors():
        project = project_of((), given)
        found = status_of(project)
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        show_status(found, console_on(sys.stdout))


@app.command(epilog="\b\nExample:\n  THREADMILL_WORKERS=4 threadmill settings")
@_config
@_data
@_profile
def settings(**given: Any) -> None:
    """Print every setting, its value and where that came from."""
    from rich.table import Table

    from pipelines.config.settings import describe, environment, read_settings

    with shown_errors():
        described = describe(read_settings(environment(Path(), os.environ), **given))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("setting", "value", "from"):
        table.add_column(title)
    for setting in described:
        table.add_row(setting.name, setting.value, setting.origin)
    console_on(sys.stdout).print(table)


@app.command(epilog="\b\nExample:\n  threadmill schema > config/source.schema.json")
def schema() -> None:
    """Print the JSON Schema of source files, for editors."""
    from pipelines.config.json_schema import schema_text

    click.echo(schema_text(), nl=False)


_INIT_EXAMPLE = """\b
Example:
  threadmill init https://api.shop.example/v1/orders \\
      --header 'Authorization: Bearer ${SHOP_TOKEN}'
  threadmill init https://api.shop.example/openapi.json --openapi"""


@app.command(epilog=_INIT_EXAMPLE)
@click.argument("url")
@click.option("--name", help="Name of the source (default: from the host).")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Sent with every request; repeat it.")
@click.option("--output", metavar="PATH|-", help="Where to write (default: config/NAME.yaml; - prints it).")
@click.option(
    "--max-requests", default=20, show_default=True, type=click.IntRange(1, 100), help="Ask at most so often."
)
@click.option("--openapi", is_flag=True, help="URL (or a file) is an OpenAPI document.")
@_config
@_profile
def init(url: str, output: str | None, max_requests: int, **how: Any) -> None:
    """Write a source file for the API at URL by experiment.

    Finds records, pages, filters, key and types. Each line says why it is
    there; what could not be found is a QUESTION in the file. Asks one request
    at a time. Write a secret as ${NAME}: only its name gets into the file.
    """
    from pipelines.init.command import draft_source, save
    from pipelines.init.drafting import summary

    with shown_errors():
        written = draft_source(url, os.environ, most=max_requests, **how)
        if output == "-":
            click.echo(written.text, nl=False)
        else:
            place = {"config": how["config"], "profile": how["profile"]}
            path = save(written, os.environ, output=Path(output) if output else None, **place)
            click.echo(f"written to {path}; look at it, then try: threadmill check {written.name}", err=True)
    click.echo(summary(written, max_requests), err=True)


for command in (*lake.COMMANDS, *history.COMMANDS, *look.COMMANDS, *state.COMMANDS):
    app.add_command(command)


def main() -> None:
    """Run the command line."""
    app(prog_name="threadmill")
