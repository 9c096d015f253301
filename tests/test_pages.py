"""The documentation site: pages from the code are fresh, links and anchors lead somewhere, what they show works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import unicodedata
from pathlib import Path

import pytest
import yaml

from docs.pages import commands, python
from pipelines.config.loading import load
from pipelines.config.source import Source
from tests.shop import environment

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("benchmarks/*.md"), ROOT / "pipelines" / "demo" / "SOURCES.md"]
)
_BUNDLED = {"THREADMILL_BUNDLED_APIS": "true", "THREADMILL_BUNDLED_LATENCY": "0ms", "THREADMILL_WORKERS": "1"}
_CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in *language*."""
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    return found


def anchors(page: Path) -> set[str]:
    """What headings can be linked to, as the site names them."""
    titles = re.findall(r"^#+ (.+)$", _CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = [re.sub(r"[`*]|\]\([^)]*\)|\[", "", title) for title in titles]
    ascii_only = [unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode() for title in plain]
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in ascii_only}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_their_anchors_lead_somewhere(page: Path) -> None:
    links = _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8")))

    missing = [path for path, _ in links if path and not (page.parent / path).exists()]
    dead = [
        f"{path}#{anchor}"
        for path, anchor in links
        if anchor and path not in missing and anchor not in anchors(page.parent / path if path else page)
    ]

    assert (missing, dead) == ([], [])


def test_every_test_that_a_page_names_exists() -> None:
    named = {name for page in DOCS.rglob("*.md") for name in re.findall(r"`(test_\w+)`", page.read_text("utf-8"))}
    there = {
        name
        for file in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))
    }

    assert len(named) > 100
    assert named - there == set()


def test_the_site_shows_every_page() -> None:
    """A new page of docs/ has a line under `nav` in mkdocs.yml."""
    shown = re.findall(r"[\w/.-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2])

    assert {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - set(shown) == set()


def test_the_site_asks_the_network_for_nothing() -> None:
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    assert "  font: false" in settings
    assert "//" not in re.sub(r"#.*", "", settings)


def test_the_environment_of_the_site_is_the_extra_of_the_project() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    needed = (DOCS / "requirements.in").read_text(encoding="utf-8").splitlines()

    assert [line for line in needed if not line.startswith("#")] == extra["docs"]


def test_the_page_of_commands_is_what_the_code_says() -> None:
    """Stale? `make reference`."""
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == commands()


def test_the_signatures_in_the_page_about_python_are_those_of_the_code() -> None:
    """Stale? `make reference`."""
    page = (DOCS / "python.md").read_text(encoding="utf-8")

    assert page == python(page)


@pytest.mark.timeout(300)
def test_the_tutorial_works_from_its_first_command_to_its_last(tmp_path: Path) -> None:
    """In one shell, in an empty folder; its source file is written before the first command that needs it."""
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    (source,) = [block for block in blocks("tutorial.md", "yaml") if "base_url" in block]
    before, after = page.split(source)
    steps = [
        *re.findall(r"^```sh\n(.*?)^```", before, re.MULTILINE | re.DOTALL),
        f"cat > config/usgs.yaml <<'END'\n{source}END\n",
        *re.findall(r"^```sh\n(.*?)^```", after, re.MULTILINE | re.DOTALL),
    ]

    done = bash("\n".join(steps), tmp_path)

    assert done.returncode == 0, done.stderr
    assert re.search(r"usgs\.events +6 +1,707 +1,707 +1,707 .*complete", done.stdout)
    assert "nothing new: no file was rewritten" in done.stdout
    assert "no defects" in done.stdout
    ran = bash(
        f"python -c '{blocks('tutorial.md', 'python')[0]}\nassert strongest.mag.tolist()[0] == 6.4'",
        tmp_path / "quakes",
    )
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_schedule_of_the_tutorial_is_valid() -> None:
    (line,) = [block for block in blocks("tutorial.md", "yaml") if "base_url" not in block]

    source = Source.model_validate(
        {"source": "usgs", "base_url": "https://a.example", "resources": {"r": {"path": "/"}}, **yaml.safe_load(line)}
    )

    assert source.schedule is not None


def test_the_examples_of_the_pages_about_python_and_the_catalog_run(tmp_path: Path) -> None:
    """In one notebook, as it were; the data are written elsewhere."""
    examples = blocks("python.md", "python") + blocks("catalog.md", "python")
    shown = "\n".join(block for block in examples if "def " not in block or "def folders" in block)
    check = (
        "\nassert verdicts['usgs.events'] == 'complete' and problems == [] and new_rows > 50_000"
        "\nassert paths['countries'] == '/country' and report.rows == 812"
        "\nassert len(quakes) == len(earlier) == 1707 and strongest.mag.max() == 6.4"
        "\nassert strong.num_rows == 5 and by_day.quakes.sum() == 1707"
        "\nassert frame.mag.max() == 6.4 and len(frame) == len(pipelines.read('usgs.events'))"
        "\nassert told.startswith('ConfigError: ') and 'evnts' in told\n"
    )
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "pipelines").symlink_to(ROOT / "pipelines")

    done = subprocess.run(
        [sys.executable, "-c", shown + check],
        cwd=tmp_path, env=environment(**_BUNDLED), capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("shell", "says"), [("bash", "complete -o nosort"), ("zsh", "#compdef"), ("fish", "complete ")]
)
def test_each_shell_gets_its_completion(tmp_path: Path, shell: str, says: str) -> None:
    page = (DOCS / "completion.md").read_text(encoding="utf-8")

    done = bash(f"threadmill completion {shell}", tmp_path)

    assert f"threadmill completion {shell}" in page
    assert (done.returncode, says in done.stdout) == (0, True)


def test_a_tab_completes_a_command(tmp_path: Path) -> None:
    typed = "COMP_WORDS='threadmill stat' COMP_CWORD=1 _THREADMILL_COMPLETE=bash_complete threadmill"

    done = bash(typed, tmp_path)

    assert done.stdout.split() == ["plain,state", "plain,status"]


def test_the_source_file_of_the_tutorial_has_no_warning(tmp_path: Path) -> None:
    (tmp_path / "usgs.yaml").write_text(next(one for one in blocks("tutorial.md", "yaml") if "base_url" in one))

    assert load(tmp_path, env={}).warnings == ()


def bash(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """*script* in a shell that stops at the first command that fails; `threadmill` is this checkout's."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=environment(PATH=path, **_BUNDLED),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_source_file_of_the_page_about_the_catalog_is_valid(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(blocks("catalog.md", "yaml")[0])

    assert load(tmp_path, env={}).warnings == ()
