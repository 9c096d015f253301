"""The pages for operators: every block of `sh` is run, in order, against the bundled APIs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import app

ROOT = Path(__file__).parents[1]
PAGES = ("schedule", "production", "runbook")


def _text(page: str) -> str:
    return (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")


def _lines(page: str, language: str) -> list[str]:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", _text(page), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one commit of usgs."""
    return tmp_path_factory.mktemp("operations")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_the_page_does_what_it_says(page: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0, each after those above it, as an operator would type them."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("THREADMILL_DATA", str(data / page))
    monkeypatch.setenv("THREADMILL_BUNDLED_LATENCY", "0ms")
    runner, ended = CliRunner(), {}
    runner.invoke(app, ["run", "usgs"], catch_exceptions=False)

    for line in _lines(page, "sh"):
        program, *words = shlex.split(line)
        assert program == "threadmill"
        result = runner.invoke(app, words, catch_exceptions=False)
        ended[line] = (result.exit_code, result.output[-300:] if result.exit_code else "")

    assert {line: end for line, end in ended.items() if end[0]} == {}
    assert len(ended) > 3


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_need_a_server_are_known(page: str) -> None:
    """Which were run by hand: their programs and first words are those that exist."""
    known = {
        *("prefect server start", "prefect deployment run", "prefect deployment ls", "prefect deployment schedule"),
        *("prefect worker start", "prefect flow-run ls", "prefect flow-run cancel", "prefect --no-prompt deploy"),
        *("threadmill deploy", "threadmill serve", "export"),
    }

    unknown = [line for line in _lines(page, "console") if not any(line.startswith(one) for one in known)]

    assert unknown == []
