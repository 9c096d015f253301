"""`threadmill deploy` and `threadmill serve` as commands: help, examples, what they refuse."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import orjson
import pytest
import yaml

from flows.cli import COMMANDS
from tests.shop import Ended, start

if TYPE_CHECKING:
    import click

THREADMILL = (sys.executable, "-m", "flows.cli")
SOURCE = "base_url: https://a.example\nschedule: {cron: '15 * * * *'}\nresources: {r: {path: /x}}\n"
SETTINGS = 'profile = "bundled"\n[profiles.bundled]\n[profiles.live]\n[profiles.staging]\n'
THEIRS = b"name: ours\ndeployments: [{name: nightly, entrypoint: 'flow.py:nightly'}]\n"


def call(folder: Path, *arguments: str, **env: str) -> Ended:
    return Ended.of(start(folder, *arguments, program=THREADMILL, **{"PREFECT_HOME": str(folder / "home"), **env}))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with one source and nothing of Prefect."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/a.yaml").write_text(SOURCE)
    (tmp_path / "config/settings.toml").write_text("[profiles.live]\n")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))
def test_help_fits_80_columns_and_its_examples_are_ones_that_the_command_takes(
    command: click.Command, tmp_path: Path
) -> None:
    told = call(tmp_path, str(command.name), "--help")

    examples = [line.split() for line in told.out.partition("Example:")[2].strip().splitlines()]
    assert (told.code, told.err) == (0, "")
    assert max(map(len, told.out.splitlines())) <= 80
    assert examples
    for example in examples:
        assert example[:2] == ["threadmill", command.name]
        command.make_context(command.name, shlex.split(" ".join(example[2:])))


def test_the_commands_stand_beside_those_of_the_library_and_load_no_prefect(tmp_path: Path) -> None:
    code = "import sys\nfrom flows.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\nprint(*sys.modules)"
    told = Ended.of(start(tmp_path, "-c", code, program=[sys.executable]))

    *lines, modules = told.out.splitlines()

    assert {"run", "check", "deploy", "serve"} <= {line.split()[0] for line in lines if line.startswith("  ")}
    assert not {"prefect", "pandas", "pyarrow"} & {name.partition(".")[0] for name in modules.split()}


def test_prefect_yaml_is_written_and_then_up_to_date_until_a_schedule_changes(project: Path) -> None:
    missing = call(project, "deploy", "--check")
    wrote = call(project, "deploy", "--write-only")
    current = call(project, "deploy", "--check")
    (project / "config/a.yaml").write_text(SOURCE.replace("15 *", "45 *"))
    stale = call(project, "deploy", "--check")

    assert (missing.code, wrote.code, current.code, stale.code) == (1, 0, 0, 1)
    assert "prefect.yaml is up to date" in current.out
    assert "stale: run `threadmill deploy --profile live --pool threadmill`" in stale.out
    assert "cron: 15 * * * *" in (project / "prefect.yaml").read_text()


def test_who_deploys_need_not_have_the_secrets_of_runs(project: Path) -> None:
    """They are named, for who starts the worker; anything else that is not set is a problem as ever."""
    (project / "config/a.yaml").write_text(SOURCE + "auth: {bearer: '${TOKEN}'}\n")
    (project / "config/b.yaml").write_text(SOURCE + "headers: {X-Api-Key: '${B_KEY}'}\n")

    wrote = call(project, "deploy", "--write-only")
    asked = call(project, "deploy", "--check", "--json", B_KEY="k")
    (project / "config/b.yaml").write_text(SOURCE.replace("https://a.example", "${B_URL}"))
    refused = call(project, "deploy", "--check")

    assert (wrote.code, wrote.out, wrote.err) == (0, "not set here, and needed where runs are: B_KEY, TOKEN\n", "")
    assert (asked.code, orjson.loads(asked.out)["unset"]) == (0, ["TOKEN"])
    assert refused.code == 2
    assert "${B_URL} is not set" in refused.err
    assert "TOKEN" not in refused.err


def test_a_stale_prefect_yaml_is_brought_up_to_date_by_the_command_that_is_named(project: Path) -> None:
    """It says what was looked at: without these options other deployments would come of it."""
    (project / "config/settings.toml").write_text(SETTINGS)

    stale = call(project, "deploy", "--check", "--profile", "staging", "--pool", "p", "--notify", "ops")
    named = stale.out.partition("`")[2].partition("`")[0]
    wrote = call(project, *shlex.split(named)[1:], "--write-only")
    current = call(project, "deploy", "--check", "--profile", "staging", "--pool", "p")

    assert named == "threadmill deploy --profile staging --pool p --notify ops"
    assert (stale.code, wrote.code, current.code) == (1, 0, 0), (stale, wrote, current)


@pytest.mark.parametrize(
    ("words", "env", "dotenv", "profile"),
    [
        pytest.param("", {}, "", "live", id="nobody-says-one"),
        pytest.param("", {}, "THREADMILL_PROFILE=staging\n", "staging", id="dotenv"),
        pytest.param("", {"THREADMILL_PROFILE": "staging"}, "", "staging", id="environment"),
        pytest.param("--profile live", {"THREADMILL_PROFILE": "staging"}, "", "live", id="command-line"),
    ],
)
def test_runs_have_the_profile_that_is_chosen_where_they_are_deployed(
    words: str, env: dict[str, str], dotenv: str, profile: str, project: Path
) -> None:
    """That of settings.toml is for commands typed by hand: no schedule asks the bundled APIs by it."""
    (project / "config/settings.toml").write_text(SETTINGS)
    (project / ".env").write_text(dotenv)

    wrote = call(project, "deploy", "--write-only", *words.split(), **env)

    (deployed,) = yaml.safe_load((project / "prefect.yaml").read_text())["deployments"]
    assert wrote.code == 0, wrote
    assert deployed["parameters"] == {"source": "a", "profile": profile}


@pytest.mark.parametrize(
    ("words", "theirs"),
    [
        pytest.param("", THEIRS, id="deploy"),
        pytest.param("--write-only", THEIRS, id="write-only"),
        pytest.param("--check", THEIRS, id="check"),
        pytest.param("--write-only", b"# nos r\xe9sum\xe9s\n" + THEIRS, id="latin-1"),
    ],
)
def test_a_prefect_yaml_of_somebody_else_is_refused_and_stays(words: str, theirs: bytes, project: Path) -> None:
    (project / "prefect.yaml").write_bytes(theirs)

    refused = call(project, "deploy", *words.split())

    assert refused.code == 2, refused
    assert "ConfigError: prefect.yaml was not written by `threadmill deploy`" in refused.err
    assert "prefect deploy --prefect-file NAME" in refused.err
    assert (project / "prefect.yaml").read_bytes() == theirs


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["a.yaml", "a.yml"])
def test_a_source_whose_value_is_a_prefect_variable_is_deployed(name: str, project: Path, server: str) -> None:
    """Without a server the variable is not known, and the one that is not set is named."""
    variable = {"name": "deploy_minute", "value": 45}
    httpx.post(f"{server}/variables/", json=variable, timeout=60)
    (project / "config/a.yaml").rename(project / "config" / name)
    (project / "config" / name).write_text(SOURCE.replace("15 *", "${DEPLOY_MINUTE} *"))

    alone = call(project, "deploy", "--write-only")
    deployed = call(project, "deploy", "--write-only", PREFECT_API_URL=server)

    assert (alone.code, deployed.code) == (2, 0), deployed
    assert "DEPLOY_MINUTE" in alone.err
    assert "cron: 45 * * * *" in (project / "prefect.yaml").read_text()


@pytest.mark.parametrize("command", ["deploy", "serve"])
def test_schedules_are_refused_where_no_server_is_chosen(command: str, project: Path) -> None:
    refused = call(project, command)

    assert refused.code == 2
    assert "schedules need a Prefect server, and none is chosen" in refused.err
    assert "PREFECT_API_URL" in refused.err


def test_programs_are_told_of_deployments_and_of_what_is_wrong_in_json(project: Path) -> None:
    stale = call(project, "deploy", "--check", "--json")
    wrote = call(project, "deploy", "--write-only", "--json")
    refused = call(project, "serve", "--json")

    deployment = {"name": "sync-source/a", "source": "a", "schedule": {"cron": "15 * * * *", "timezone": "UTC"}}
    told = {"deployments": [deployment], "pool": "threadmill", "was_current": False, "registered": False, "unset": []}
    assert (stale.code, wrote.code, refused.code) == (1, 0, 2)
    assert orjson.loads(stale.out) == orjson.loads(wrote.out) == told
    assert orjson.loads(refused.out)["error"]["kind"] == "ConfigError"
