"""What holds for every command: help that fits, an example that works, JSON for programs."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner, Result

from flows.cli import app as whole
from pipelines.cli import app
from tests.fake_api import FakeApi, say
from tests.shop import ROOT, Shop, environment

THEIRS = {"usgs": "shop", "frankfurter": "bank", "marts": "bank", " 41": " 1", " 42": " 2"}
"""What stands for the names and numbers of examples in the project of the tests."""
_STAYS = {"serve"}
"""It runs until it is told to end; a test of its own calls it."""


def leaves(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its words."""
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from leaves(command, (*above, name))
        else:
            yield " ".join((*above, name)), command


COMMANDS = dict(leaves(app))
ALL = dict(leaves(whole))
"""With those of Prefect, as `threadmill` has them."""


def last_drops(commands: dict[str, click.Command]) -> list[tuple[str, click.Command]]:
    """All of them; behind the one that takes their dataset away the others had nothing to look at."""
    return sorted(commands.items(), key=lambda one: one[0] == "drop")


def threadmill(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "80"}).invoke(whole, list(words), prog_name="threadmill")


def examples(command: click.Command) -> list[str]:
    """The lines of a command's example, those that go on joined."""
    text = (command.epilog or "").partition("Example:")[2].replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project in whose folder commands are called."""
    monkeypatch.chdir(tmp_path)
    shop = Shop(api, tmp_path)
    shop.write("settings.toml", f'workers = 2\ntransforms = "{tmp_path}/transforms"\n')
    return shop


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns_and_ends_with_an_example(name: str) -> None:
    told = threadmill(*name.split(), "--help").stdout

    assert max(map(len, told.splitlines())) <= 80
    assert told.startswith(f"Usage: threadmill {name} ")
    assert f"threadmill {name}" in told.partition("Example:")[2]
    assert "--json" in told
    assert "--log-format" not in told


@pytest.mark.timeout(240)
def test_every_example_works(shop: Shop) -> None:
    """One after the other, after two runs; `init` has tests of its own, its URLs lead nowhere here."""
    for shop.day in (1, 2):
        assert shop.run().code == 0
    failed: dict[str, str] = {}
    for name, command in last_drops(COMMANDS):
        for line in examples(command) if name != "init" else ():
            done = typed(line, shop.folder)
            failed |= {line: done} if done else {}

    assert failed == {}


@pytest.mark.timeout(240)
def test_every_command_gives_json(shop: Shop) -> None:
    """The first example of each, asked for JSON: one document on standard output, and nothing else."""
    for shop.day in (1, 2):
        assert shop.run().code == 0
    failed: dict[str, str] = {}
    for name, command in last_drops(ALL):
        if name in _STAYS | {"init"}:
            continue
        done = threadmill(*first_example(command), "--json")
        if not is_json(done.stdout) or "error" in orjson.loads(done.stdout):
            failed[name] = done.output

    assert failed == {}


@pytest.mark.parametrize("name", ALL)
def test_every_command_tells_of_words_it_does_not_know_in_json(name: str) -> None:
    done = threadmill(*name.split(), "--json", "--bogus")

    error = orjson.loads(done.stdout)["error"]
    assert (done.exit_code, error["exit_code"], error["kind"]) == (2, 2, "UsageError")
    assert "--bogus" in error["message"]
    assert error["hint"] == f"see `threadmill {name} --help`"


@pytest.mark.parametrize("name", sorted(set(ALL) - {"completion", "schema", "new transform"}))
def test_every_command_tells_of_errors_in_json(name: str, shop: Shop) -> None:
    """A setting that is none, or what these two look at first; people read the same on standard error."""
    shop.write("settings.toml", "wrkers = 2\n")
    done = threadmill(*first_example(ALL[name]), "--json")

    error = orjson.loads(done.stdout)["error"]
    assert (done.exit_code, error["exit_code"], error["kind"]) == (2, 2, "ConfigError")
    assert "wrkers" in error["message"] or name in {"init", "serve"}
    assert error["hint"]
    assert "ConfigError: " in done.stderr


def first_example(command: click.Command) -> list[str]:
    """Its words after `threadmill`, without what a shell does with them."""
    words = shlex.split(mine(examples(command)[0].removeprefix('eval "$(').removesuffix(')"')))
    return list(itertools.takewhile(lambda word: word not in "|>", words[words.index("threadmill") + 1 :]))


def is_json(text: str) -> bool:
    """Whether *text* is one JSON document."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def mine(line: str) -> str:
    """*line* of an example in the words of the test's project."""
    for word, here in THEIRS.items():
        line = line.replace(word, here)
    return line


def typed(line: str, folder: Path) -> str:
    """What went wrong with *line*, in the words of the test's project; through a shell where it needs one."""
    line = mine(line)
    if line.startswith("threadmill ") and ">" not in line and '"' not in line:
        done = threadmill(*line.split()[1:])
        too_wide = max(map(len, done.stdout.splitlines()), default=0) > 80 and str(folder) not in done.stdout
        return "" if done.exit_code == 0 and not too_wide else done.output
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment(PATH=path), capture_output=True, text=True, check=False
    )
    return "" if shell.returncode == 0 and not shell.stderr else shell.stderr


def test_check_online_asks_page_1_of_each_resource_and_tells_what_is_wrong(shop: Shop) -> None:
    """The exit code is that of the first failure; nothing is written, the line that repeats the request is there."""
    calls = sum(shop.api.calls.values())
    good = orjson.loads(threadmill("check", "--online", "--json").stdout)
    asked = sum(shop.api.calls.values()) - calls
    shop.api.answer("/bank/accounts", say({"error": "who are you?"}, status=401))

    bad = threadmill("check", "bank", "--online")

    assert {one["resource"]: one["problem"] for one in good["answers"]} == dict.fromkeys(
        ["bank.accounts", "shop.customers", "shop.orders", "shop.events"]
    )
    assert asked <= 5
    assert bad.exit_code == 1
    assert "repeat: curl --compressed" in bad.stdout
    assert "0 of 1 resources answer" in bad.stdout


def test_a_shell_completes_commands_and_the_names_of_sources_and_resources(shop: Shop) -> None:
    def completed(*words: str) -> list[str]:
        env = environment(
            _THREADMILL_COMPLETE="bash_complete", COMP_WORDS=" ".join(words), COMP_CWORD=str(len(words) - 1)
        )
        command = [sys.executable, "-m", "pipelines"]
        done = subprocess.run(command, cwd=shop.folder, env=env, capture_output=True, text=True, check=True)
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert completed("threadmill", "sta") == ["state", "status"]
    assert completed("threadmill", "run", "b") == ["bank"]
    assert completed("threadmill", "preview", "shop.") == ["shop.customers", "shop.events", "shop.orders"]
    assert "complete --no-files --command threadmill" in threadmill("completion", "fish").stdout


def test_starting_takes_less_than_half_a_second() -> None:
    """0.15 s on a machine that has nothing else to do: the CPU that help needs, which waiting does not change."""
    code = (
        "import time, sys; sys.argv = ['threadmill', '--help']\n"
        "from pipelines.cli import app\n"
        "try: app()\nexcept SystemExit: print(time.process_time())"
    )
    env = environment(PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)

    assert float(done.stdout.splitlines()[-1]) < 0.5
