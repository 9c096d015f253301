"""What mkdocs does besides: pages outside `docs/` join the site; links to files that do not become text."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
BROUGHT = {
    "benchmarks/RESULTS.md": "benchmarks/RESULTS.md",
    "benchmarks/NOTES.md": "benchmarks/NOTES.md",
    "benchmarks/results.svg": "benchmarks/results.svg",
    "pipelines/demo/SOURCES.md": "pipelines/demo/SOURCES.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "LICENSE": "LICENSE.md",
}
"""File of the checkout, and where the site has it."""
_ELSEWHERE = {"README.md": "index.md", "pipelines/demo/SOURCES.md": "pipelines/demo/SOURCES.md"}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the checkout that the site shows, too."""
    for origin, place in BROUGHT.items():
        text = (ROOT / origin).read_text(encoding="utf-8")
        content = f"# Licence\n\n```text\n{text}```\n" if origin == "LICENSE" else text
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Aim links at the site's pages; where the site has none, only their words stay."""
    here = page.file.src_uri
    brought = here in BROUGHT.values()

    def aimed(link: re.Match[str]) -> str:
        sign, words, path, anchor = link[1], link[2], link[3], link[4] or ""
        # a page in docs/ lies one folder deeper in the checkout than in the site
        origin = here if brought else f"docs/{here}"
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
        place = _place(target)
        if files.get_file_from_path(place) is None:
            return link[0] if target.startswith("docs/") else words
        return f"{sign}[{words}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return _LINK.sub(aimed, markdown)


def _place(target: str) -> str:
    """Where the site has the file *target* of the checkout."""
    return {**_ELSEWHERE, **BROUGHT}.get(target, target.removeprefix("docs/"))
