"""The command line: `threadmill run | check | status | settings | schema | init`.

Heavy modules are imported by the command that needs them, so that `--help`
answers at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.lake import COMMANDS
from pipelines.errors import EXIT_INTERRUPTED, PipelineError
from pipelines.version import CODE_VERSION

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.project import Project

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
    from pipelines.pool import PRELOAD, warm_up

    warm_up(PRELOAD)
    from pipelines.progress import progress
    from pipelines.report import show
    from pipelines.run import run as run_project

    with _errors():
        project = _project(sources, given)
        resources = {source.name: list(source.resources) for source in project.sources}
        console = _console()
        with _stopping() as stop, progress(console, resources) as listen:
            report = run_project(project, listen=listen, stop=stop)
    if as_json:
        click.echo(report.to_json())
    else:
        show(report, _console(sys.stdout))
    sys.exit(EXIT_INTERRUPTED if stop.is_set() else report.exit_code)


@app.command(epilog="\b\nExample:\n  threadmill check")
@click.argument("sources", nargs=-1)
@_config
@_profile
@_as_json
def check(sources: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Read the configuration and list all that is wrong with it. Asks no API."""
    import orjson

    with _errors():
        project = _project(sources, given)
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

    with _errors():
        project = _project((), given)
        found = status_of(project)
    if as_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    else:
        show_status(found, _console(sys.stdout))


@app.command(epilog="\b\nExample:\n  THREADMILL_WORKERS=4 threadmill settings")
@_config
@_data
@_profile
def settings(**given: Any) -> None:
    """Print every setting, its value and where that came from."""
    from rich.table import Table

    from pipelines.settings import describe, environment, read_settings

    with _errors():
        described = describe(read_settings(environment(Path(), os.environ), **given))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("setting", "value", "from"):
        table.add_column(title)
    for setting in described:
        table.add_row(setting.name, setting.value, setting.origin)
    _console(sys.stdout).print(table)


@app.command(epilog="\b\nExample:\n  threadmill schema > config/source.schema.json")
def schema() -> None:
    """Print the JSON Schema of source files, for editors."""
    from pipelines.json_schema import schema_text

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

    with _errors():
        written = draft_source(url, os.environ, most=max_requests, **how)
        if output == "-":
            click.echo(written.text, nl=False)
        else:
            place = {"config": how["config"], "profile": how["profile"]}
            path = save(written, os.environ, output=Path(output) if output else None, **place)
            click.echo(f"written to {path}; look at it, then try: threadmill check {written.name}", err=True)
    click.echo(summary(written, max_requests), err=True)


for command in COMMANDS:
    app.add_command(command)


def main() -> None:
    """Run the command line."""
    app(prog_name="threadmill")


def _project(only: tuple[str, ...], given: dict[str, Any]) -> Project:
    from pipelines.project import load_project

    project = load_project(os.environ, only=only or None, **given)
    project.sources.secrets.guard(logging.getLogger())
    return project


def _console(stream: Any = None) -> Console:
    from rich.console import Console

    return Console(file=stream or sys.stderr)


@contextmanager
def _errors() -> Iterator[None]:
    """Show an error as its message and hint, and leave with its code."""
    try:
        yield
    except PipelineError as error:
        click.echo(f"{click.style(error.kind, fg='red')}: {error}", err=True)
        sys.exit(error.exit_code)


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one ends the program at once."""
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(EXIT_INTERRUPTED)
        click.echo("stopping; what was fetched is kept for the next run", err=True)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
