"""What the documents say is what the code does: their blocks are run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from flows.cli import app
from pipelines.config.loading import load
from pipelines.config.project import load_project
from pipelines.run import run

ROOT = Path(__file__).parents[1]
_README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    """The fenced blocks of the README in *language*, without the indentation of their list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", _README, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def test_the_readmes_yaml_is_a_valid_source(tmp_path: Path) -> None:
    (block,) = _blocks("yaml")
    (tmp_path / "shop.yaml").write_text(block)

    sources = load(tmp_path, env={"SHOP_TOKEN": "a-token-of-the-test"})

    assert sources.names == ("shop",)
    assert sources.warnings == ()


def test_the_readmes_python_reads_what_a_run_has_written(tmp_path: Path) -> None:
    block = "\n".join(_blocks("python"))
    project = load_project({}, root=ROOT, data=tmp_path / "data")
    assert run(project).exit_code == 0
    check = (
        "\nassert len(near) == 3 and len(strongest) == 3 and strongest.mag[0] == 6.4"
        "\nassert len(quakes) == len(before) == 1707 and top.fetchall()[0][1] == 6.4\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", block + check], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_every_make_target_of_the_readme_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))

    assert set(re.findall(r"`?make ([a-z-]+)", _README)) <= targets


def test_every_command_of_the_readme_exists_and_all_are_told() -> None:
    told = set(re.findall(r"^threadmill ([a-z]+)", _README, re.MULTILINE))

    assert told <= set(app.commands)
    for command in app.commands:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
