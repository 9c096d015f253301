"""The command line: `threadmill run`, `check`, `status` and what `commands/` adds.

Heavy modules are imported by the command that needs them, so that `--help`
answers at once.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from pipelines.commands import catalog, checking, export, history, lake, look, state
from pipelines.commands.lakes import print_json, settings_of, shown_errors
from pipelines.commands.names import SOURCE
from pipelines.commands.options import Commands, log_options, on_data, on_project, with_json
from pipelines.commands.running import console_on, project_of, work_through
from pipelines.tables import print_table
from pipelines.version import CODE_VERSION

_CODES = """\b
Exit codes: 0 nothing is known to be missing, 1 failed, 2 usage or
configuration, 3 incomplete (something the API has was not read), 4 busy,
130 interrupted."""


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}, epilog=_CODES
)
@click.version_option(CODE_VERSION, prog_name="threadmill")
def app() -> None:
    """Several HTTP APIs in, clean partitioned Parquet out."""


app.params += log_options()


@app.command(epilog="\b\nExample:\n  threadmill run usgs frankfurter")
@click.argument("sources", nargs=-1, type=SOURCE)
@click.option("--workers", metavar="N|auto", help="Worker processes (default: one for each CPU).")
@on_data
def run(sources: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Bring SOURCES (all by default) up to date, then the marts.

    Only what is new since the last run is asked for. A run that was killed
    resumes: pages that were fetched are not fetched again.
    """
    with shown_errors():
        code = work_through(sources, given, as_json=as_json)
    sys.exit(code)


@app.command(epilog="\b\nExample:\n  threadmill status --json")
@on_data
def status(as_json: bool, **given: Any) -> None:
    """Show what is committed: datasets, rows, files, watermarks, last commit."""
    from pipelines.status import of_datasets, requests_today, show_status, status_of

    with shown_errors():
        project = project_of((), given, needs="names")
        found = status_of(project)
    if as_json:
        print_json(found)
    else:
        show_status(found, console_on(sys.stdout))
        for line in [*requests_today(project), *of_datasets(found)]:
            click.echo(line)


@app.command(epilog="\b\nExample:\n  THREADMILL_WORKERS=4 threadmill settings")
@on_data
def settings(as_json: bool, **given: Any) -> None:
    """Print every setting, its value and where that came from."""
    from pipelines.config.settings import describe

    with shown_errors():
        described = describe(settings_of(given))
    if as_json:
        print_json(described)
        return
    rows = [(setting.name, setting.value, setting.origin) for setting in described]
    print_table(console_on(sys.stdout), ("setting", "value", "from"), rows)


@app.command(epilog="\b\nExample:\n  threadmill schema > config/source.schema.json")
@with_json
def schema(as_json: bool) -> None:  # it is JSON in any case
    """Print the JSON Schema of source files, for editors."""
    from pipelines.config.json_schema import schema_text

    click.echo(schema_text(), nl=False)


_INIT_EXAMPLE = """\b
Example:
  threadmill init https://api.shop.example/v1/orders \\
      --header 'Authorization: Bearer ${SHOP_TOKEN}'
  threadmill init https://api.shop.example/search --body '{"status": "open"}'
  threadmill init https://api.shop.example/openapi.json --openapi"""


@app.command(epilog=_INIT_EXAMPLE)
@click.argument("url")
@click.option("--name", help="Name of the source (default: from the host).")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Sent with every request; repeat it.")
@click.option("--output", metavar="PATH|-", help="Where to write (default: config/NAME.yaml; - prints it).")
@click.option(
    "--max-requests", default=20, show_default=True, type=click.IntRange(1, 100), help="Ask at most so often."
)
@click.option("--body", metavar="JSON", help="A search: posted, with paging in fields of it.")
@click.option("--graphql", metavar="QUERY|@FILE", help="A GraphQL query: posted, with paging in its variables.")
@click.option("--openapi", is_flag=True, help="URL (or a file) is an OpenAPI document.")
@on_project
def init(url: str, output: str | None, max_requests: int, as_json: bool, **how: Any) -> None:
    """Write a source file for the API at URL by experiment.

    Finds records, pages, filters, key and types. Each line says why it is
    there; what could not be found is a QUESTION in the file. Asks one request
    at a time. Write a secret as ${NAME}: only its name gets into the file.
    """
    from pipelines.init.command import draft_source, place_of, save
    from pipelines.init.drafting import summary

    with shown_errors():
        place = {name: how[name] for name in ("config", "profile")} | {"output": Path(output) if output else None}
        path = None if output == "-" else place_of(how["name"], os.environ, **place)
        written = draft_source(url, os.environ, most=max_requests, **how)
        path = None if output == "-" else path or place_of(written.name, os.environ, **place)
        if path is not None:
            save(written, path, os.environ)
    if as_json:
        asked = [{"status": one.status, "what": one.what, "why": one.why} for one in written.asked]
        told = {"name": written.name, "path": path and str(path), "text": written.text}
        print_json({**told, "asked": asked, "questions": written.questions, "to_set": written.to_set})
        return
    if path is None:
        click.echo(written.text, nl=False)
    else:
        click.echo(f"written to {path}; look at it, then try: threadmill check {written.name}", err=True)
    click.echo(summary(written, max_requests), err=True)


@app.command(epilog='\b\nExample:\n  eval "$(threadmill completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@with_json
def completion(shell: str, as_json: bool) -> None:
    """Print what makes SHELL complete commands, options and names of sources.

    For every new shell: put the line of the example into ~/.bashrc or ~/.zshrc;
    for fish, `threadmill completion fish | source` into its config.fish.
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    script = found(app, {}, "threadmill", "_THREADMILL_COMPLETE").source() if found else ""
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)


for module in (catalog, checking, export, lake, history, look, state):
    for command in module.COMMANDS:
        app.add_command(command)


def main() -> None:
    """Run the command line, and end the process."""
    end_with(app)


def end_with(commands: click.Group) -> None:
    """Run *commands*; the process ends with what they say."""
    try:
        commands(prog_name="threadmill")
    except SystemExit as ended:
        _leave(ended.code)
        raise


def _leave(code: object) -> None:
    """End now, after all that was asked to happen at the end: taking modules apart takes 0.1 s and serves nobody."""
    others = [one for one in threading.enumerate() if one is not threading.main_thread()]
    if not isinstance(code, int) or not all(one.daemon for one in others):
        return
    with suppress(OSError):  # a reader that has gone away is told of as ever, by Python itself
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()  # what Python does as well; logs and exporters end here
        os._exit(code)
