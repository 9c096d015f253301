"""A Prefect deployment for each source, from `schedule:` in its YAML.

`python -m flows.deployments` writes `prefect.yaml` and registers what it says with the
server in use, in a process work pool; `--check` only says whether the file is up
to date. A second run of one source waits for no place: it is cancelled, and the
next one due brings what it would have brought. The lake's own lock excludes it, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import yaml

from pipelines.config.project import load_project
from pipelines.config.schedule import Schedule
from pipelines.config.source import Source
from pipelines.errors import PipelineError

FILE = Path("prefect.yaml")
POOL = "threadmill"
_HEAD = """\
# Written by `python -m flows.deployments` from config/*.yaml: one deployment for each source.
# Change `schedule:` there and run it again. Parameters are names; secrets stay in their blocks.
"""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--profile", default="live", show_default=True, help="The profile that deployments run with.")
@click.option("--pool", default=POOL, show_default=True, help="The work pool; made if there is none.")
@click.option("--check", is_flag=True, help="Write and register nothing; fail if prefect.yaml is stale.")
@click.option("--write-only", is_flag=True, help="Write prefect.yaml and register nothing.")
def deploy(profile: str, pool: str, check: bool, write_only: bool) -> None:
    """Make prefect.yaml from the source files, and register its deployments."""
    try:
        text = prefect_yaml(load_project(os.environ, profile=profile).sources, profile=profile, pool=pool)
    except PipelineError as error:
        click.echo(f"{click.style(error.kind, fg='red')}: {error}", err=True)
        sys.exit(error.exit_code)
    stale = not FILE.is_file() or FILE.read_text(encoding="utf-8") != text
    if check:
        click.echo(f"{FILE} is {'stale: run `python -m flows.deployments --write-only`' if stale else 'up to date'}")
        sys.exit(1 if stale else 0)
    if stale:
        FILE.write_text(text, encoding="utf-8")
    if not write_only:
        sys.exit(_register(pool))


def prefect_yaml(sources: Iterable[Source], *, profile: str, pool: str = POOL) -> str:
    """What `prefect deploy --all` reads: a deployment named after each of *sources*."""
    deployments = [_deployment(source, profile, pool) for source in sources]
    document = {"name": "threadmill", "deployments": deployments}
    return _HEAD + yaml.safe_dump(document, sort_keys=False, width=100)


def _deployment(source: Source, profile: str, pool: str) -> dict[str, Any]:
    resources = ", ".join(source.resources)
    return {
        "name": source.name,
        "description": f"Bring {source.name} up to date ({resources}), then the marts made from it.",
        "entrypoint": "flows/sync.py:sync_source",
        "parameters": {"source": source.name, "profile": profile},
        "schedules": [_schedule(source.schedule)] if source.schedule else [],
        "tags": ["threadmill", source.name],
        "concurrency_limit": {"limit": 1, "collision_strategy": "CANCEL_NEW"},
        "work_pool": {"name": pool},
    }


def _schedule(schedule: Schedule) -> dict[str, Any]:
    rule = {"cron": schedule.cron, "interval": schedule.interval, "rrule": schedule.rrule}
    return {**{name: value for name, value in rule.items() if value is not None}, "timezone": schedule.timezone}


def _register(pool: str) -> int:
    """Let Prefect's own command read the file; its exit code."""
    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    known = subprocess.run([*prefect, "work-pool", "inspect", pool], check=False, capture_output=True)  # noqa: S603  # our own words
    if known.returncode != 0:
        subprocess.run([*prefect, "work-pool", "create", "--type", "process", pool], check=True)  # noqa: S603  # our own words
    return subprocess.run([*prefect, "deploy", "--all"], check=False).returncode  # noqa: S603  # our own words


if __name__ == "__main__":
    deploy(prog_name="python -m flows.deployments")
