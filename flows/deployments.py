"""A Prefect deployment for each source, from `schedule:` in its YAML.

`prefect.yaml` is made from the source files and read by Prefect's own command, so
what is committed is what is registered. A second run of one source waits for no
place: it is cancelled, and the next one due brings what it would have brought. The
lake's own lock excludes it, too. Nothing here imports Prefect.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from flows import HEARTBEAT_S
from flows.embedded import names_server
from flows.variables import with_variables
from pipelines.config.project import load_project
from pipelines.config.references import unread
from pipelines.config.schedule import Schedule
from pipelines.config.settings import PREFIX, environment
from pipelines.errors import ConfigError

FILE = Path("prefect.yaml")
ENTRYPOINT = "flows.sync.sync_source"
"""A module's name: deployments work wherever the package is installed, in any project folder."""
ANCHOR = "2024-01-01T00:00:00+00:00"
"""What intervals count from: registering again does not move them."""
_DEPLOY = ("-m", "prefect", "--no-prompt", "deploy", "--all")
_LAST_WORDS = 2000
_HEAD = """\
# Written by `threadmill deploy` from config/*.yaml: one deployment for each source.
# Change `schedule:` there and run it again. Parameters are names; secrets stay in their blocks.
"""


class Deployment(Struct, frozen=True):
    """What Prefect is told of one source; once at a time, a second run is cancelled."""

    source: str
    description: str
    parameters: dict[str, str]
    schedule: Schedule | None

    @property
    def tags(self) -> list[str]:
        """What runs can be found by."""
        return ["threadmill", self.source]

    @property
    def concurrency(self) -> dict[str, Any]:
        """One run at a time; one that comes too early is cancelled."""
        return {"limit": 1, "collision_strategy": "CANCEL_NEW"}

    @property
    def when(self) -> str:
        """The schedule in words."""
        if self.schedule is None:
            return "by hand"
        interval = f"every {self.schedule.interval:g} s" if self.schedule.interval else ""
        return f"{self.schedule.cron or self.schedule.rrule or interval} {self.schedule.timezone}"

    @property
    def rule(self) -> dict[str, Any] | None:
        """The schedule in Prefect's words."""
        if self.schedule is None:
            return None
        rule = {"cron": self.schedule.cron, "interval": self.schedule.interval, "rrule": self.schedule.rrule}
        told = {kind: value for kind, value in rule.items() if value is not None}
        anchor = {"anchor_date": ANCHOR} if self.schedule.interval else {}
        return {**told, **anchor, "timezone": self.schedule.timezone}


def deployments(
    env: Mapping[str, str], *, profile: str, root: Path = Path(), unset_secret: Callable[[str], str] | None = None
) -> list[Deployment]:
    """One for each source of the project in *root*; where a server is chosen, its variables are values, too.

    *unset_secret* says what stands for a secret that is not set here; without it that is a problem.

    Raises:
        ConfigError: All problems of its YAML files.
    """
    if _chooses_server(env):
        env = with_variables(env, root)
    # blocks are read when a run needs them
    sources = load_project(env, root=root, profile=profile, prefect_secret=unread, unset_secret=unset_secret).sources
    return [
        Deployment(
            source=source.name,
            description=f"Bring {source.name} up to date ({', '.join(source.resources)}), then the marts made from it.",
            parameters={"source": source.name, "profile": profile},
            schedule=source.schedule,
        )
        for source in sources
    ]


def profile_of(env: Mapping[str, str]) -> str:
    """The profile of runs for which nobody names one: THREADMILL_PROFILE, also in `.env`, else live.

    That of settings.toml is for commands typed by hand: a schedule shall not ask the bundled APIs by it.
    """
    return environment(Path(), env).get(f"{PREFIX}PROFILE") or "live"


def prefect_yaml(deployed: Iterable[Deployment], *, pool: str) -> str:
    """What `prefect deploy --all` reads: a deployment named after each source."""
    document = {"name": "threadmill", "deployments": [_entry(one, pool) for one in deployed]}
    return _HEAD + yaml.safe_dump(document, sort_keys=False, width=100)


def is_current(text: str) -> bool:
    """Whether prefect.yaml is *text*.

    Raises:
        ConfigError: There is one that `threadmill deploy` did not write.
    """
    if not FILE.is_file():
        return False
    found = FILE.read_text(encoding="utf-8", errors="replace")
    if not found.startswith(_HEAD.partition("\n")[0]):
        raise ConfigError(
            f"{FILE} was not written by `threadmill deploy`, which writes its own there",
            "rename it (`prefect deploy --prefect-file NAME` reads it), or run `threadmill deploy` in another folder",
        )
    return found == text


def write(text: str) -> None:
    """Bring prefect.yaml up to date; a file that is, or that is not ours, stays as it is.

    Raises:
        ConfigError: There is one that `threadmill deploy` did not write.
    """
    if not is_current(text):
        FILE.write_text(text, encoding="utf-8")


def register(pool: str, *, notify: str | None) -> None:
    """Let Prefect's own command read prefect.yaml; then the automations, with *notify* the name of a Webhook block.

    Raises:
        ConfigError: No server is chosen, it refuses, or there is no such block.
    """
    needs_server(os.environ)
    from flows.automations import register_automations
    from flows.work_pool import make_pool

    make_pool(pool)
    done = subprocess.run([sys.executable, *_DEPLOY], check=False, capture_output=True, text=True)  # noqa: S603  # our own words
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip()[-_LAST_WORDS:]
        raise ConfigError(f"Prefect did not take the deployments: {told}", "see whether its server answers")
    register_automations(notify=notify)


def needs_server(env: Mapping[str, str]) -> None:
    """Raise ConfigError unless *env* or a profile of Prefect names a server: an embedded one keeps no schedule."""
    if not _chooses_server(env):
        hint = "start one with `prefect server start` and set PREFECT_API_URL to it"
        raise ConfigError("schedules need a Prefect server, and none is chosen", hint)


def _chooses_server(env: Mapping[str, str]) -> bool:
    return names_server({"PREFECT_HOME": str(Path.home() / ".prefect"), **env})


def _entry(one: Deployment, pool: str) -> dict[str, Any]:
    return {
        "name": one.source,
        "description": one.description,
        "entrypoint": ENTRYPOINT,
        "parameters": one.parameters,
        "schedules": [one.rule] if one.rule else [],
        "tags": one.tags,
        "concurrency_limit": one.concurrency,
        "work_pool": {"name": pool, "job_variables": {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}}},
    }
