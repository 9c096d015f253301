"""The command line with Prefect's commands in it: `threadmill deploy | serve` beside those of the library.

The library's own commands come from `pipelines.cli`; it knows nothing of these.
Prefect is imported by the command that needs it, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli import app as library
from pipelines.cli import end_with
from pipelines.commands.lakes import print_json, shown_errors
from pipelines.commands.options import with_json
from pipelines.config.references import unread
from pipelines.errors import EXIT_FAILED

if TYPE_CHECKING:
    from flows.deployments import Deployment

_DEPLOY_EXAMPLE = """\b
Example:
  threadmill deploy --check
  threadmill deploy --profile live --notify ops"""
_profile = click.option(
    "--profile", help="Which [profiles] table of settings.toml their runs use (default: THREADMILL_PROFILE, else live)."
)


@click.command(epilog=_DEPLOY_EXAMPLE)
@_profile
@click.option("--pool", default="threadmill", show_default=True, help="The work pool; made if there is none.")
@click.option("--notify", metavar="BLOCK", help="Tell this Webhook block of runs that need a person.")
@click.option("--check", is_flag=True, help="Only say whether prefect.yaml is up to date; exit code 1 if not.")
@click.option("--write-only", is_flag=True, help="Write prefect.yaml and register nothing.")
@with_json
def deploy(profile: str | None, pool: str, notify: str | None, as_json: bool, **only: bool) -> None:
    """Make a Prefect deployment for each source.

    Writes prefect.yaml from `schedule:` in the source files and registers what
    it says with the Prefect server in use: one deployment for each source, in
    a process work pool, and the automations that notice lost runs. Secrets
    need not be set here: only runs need them, where their worker is.
    """
    from flows.deployments import deployments, is_current, prefect_yaml, profile_of, register, write

    with shown_errors():
        profile = profile or profile_of(os.environ)
        unset: list[str] = []

        def noted(name: str) -> str:
            unset.append(name)
            return unread(name)

        deployed = deployments(os.environ, profile=profile, unset_secret=noted)
        text = prefect_yaml(deployed, pool=pool)
        current = is_current(text)
        if not only["check"]:
            write(text)
        if registered := not any(only.values()):
            register(pool, notify=notify)
    if as_json:
        told = {"pool": pool, "was_current": current, "registered": registered, "unset": sorted({*unset})}
        print_json({**_told(deployed), **told})
    elif only["check"]:
        click.echo(f"prefect.yaml is {'up to date' if current else f'stale: run `{_command(profile, pool, notify)}`'}")
    elif registered:
        for one in deployed:
            click.echo(f"{f'sync-source/{one.source}':<32} {one.when}")
        click.echo(f"{len(deployed)} deployments, whose runs use the profile {profile}")
        click.echo(f"start a worker: prefect worker start --pool {pool}")
    if unset and not as_json:
        click.echo(f"not set here, and needed where runs are: {', '.join(sorted({*unset}))}")
    if only["check"] and not current:
        sys.exit(EXIT_FAILED)


@click.command(epilog="\b\nExample:\n  threadmill serve --profile live --limit 2")
@_profile
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1), help="How many runs at once.")
@with_json
def serve(profile: str | None, limit: int, as_json: bool) -> None:
    """Run the schedules of all sources from this one process.

    It needs a Prefect server, but no work pool and no worker. Ctrl-C or SIGTERM
    ends it, the runs it has started, and pauses the schedules.
    """
    from flows.deployments import deployments, needs_server, profile_of

    with shown_errors():
        needs_server(os.environ)
        from flows.serving import serve_until_stopped

        deployed = deployments(os.environ, profile=profile or profile_of(os.environ))
        if as_json:
            print_json({**_told(deployed), "limit": limit})
        serve_until_stopped(deployed, limit=limit, quiet=as_json)


def _command(profile: str, pool: str, notify: str | None) -> str:
    """What deploys just what was looked at, wherever it is typed."""
    return shlex.join(
        ["threadmill", "deploy", "--profile", profile, "--pool", pool, *(["--notify", notify] if notify else [])]
    )


def _told(deployed: Iterable[Deployment]) -> dict[str, Any]:
    """What programs are told of *deployed*."""
    told = [{"name": f"sync-source/{one.source}", "source": one.source, "schedule": one.rule} for one in deployed]
    return {"deployments": told}


COMMANDS = (deploy, serve)
app = copy(library)
"""The library's commands and these; the library's own program stays as it is."""
app.commands = {**library.commands, **{str(command.name): command for command in COMMANDS}}


def main() -> None:
    """Run the command line, and end the process."""
    end_with(app)


if __name__ == "__main__":
    main()
