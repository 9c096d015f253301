"""Writes what the documentation takes from the code: `docs/commands.md`, and the signatures in `docs/python.md`.

`make reference` runs it; a test fails when a page is stale.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import pipelines
from flows.cli import app
from pipelines.report.result import ResourceReport, RunReport

FOLDER = Path(__file__).parent
_KEPT = re.compile(r"(?<=<!-- from the code: )(\w+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
_TITLE = """\
# Commands

Every command and option, from the code (`make reference` writes this page anew). `threadmill` is
`.venv/bin/threadmill`; `python -m pipelines` is the same without `deploy` and `serve`, which need Prefect.

Exit codes: 0 nothing is known to be missing (complete or unproved), 1 failed, 2 usage or configuration,
3 incomplete (something the API has was not read), 4 busy, 130 interrupted.
[Shell completion](completion.md) completes all of it.

## threadmill

Options that come before the command.
"""


def commands() -> str:
    """The page of all commands, as Markdown."""
    parts = [_TITLE, *_options(app)]
    for words, command in _walk(app, ()):
        parts += [f"## {' '.join(words)}\n", *_told(words, command)]
    return "\n".join(parts).rstrip() + "\n"


def python(page: str) -> str:
    """*page* with the signatures and promises of the code as they are now."""
    return _KEPT.sub(lambda found: f"{found[1]}{found[2]}{_described(found[1])}", page)


def _walk(group: click.Group, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _walk(command, (*above, name))
        elif not command.hidden:
            yield (*above, name), command


def _told(words: tuple[str, ...], command: click.Command) -> Iterator[str]:
    arguments = " ".join(one.make_metavar(click.Context(command)) for one in _of(command, click.Argument))
    yield f"{_prose(command.help)}\n"
    yield f"```text\nthreadmill {' '.join(words)} [OPTIONS] {arguments}".rstrip() + "\n```\n"
    example = (command.epilog or "").partition("Example:")[2]
    if example:
        yield f"```sh\n{inspect.cleandoc(example)}\n```\n"
    yield from _options(command)


def _options(command: click.Command) -> Iterator[str]:
    context = click.Context(command)
    rows = [record for one in _of(command, click.Option) if (record := one.get_help_record(context))]
    if rows:
        yield "| option | meaning |\n| --- | --- |"
        yield from (f"| `{_cell(names)}` | {_cell(meaning)} |" for names, meaning in rows)
        yield ""


def _of(command: click.Command, kind: type[click.Parameter]) -> list[Any]:
    return [one for one in command.params if isinstance(one, kind)]


def _prose(text: str | None) -> str:
    """Paragraphs of a help text, each on one line."""
    paragraphs = inspect.cleandoc(text or "").replace("\b\n", "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _described(name: str) -> str:
    kinds = {"RunReport": RunReport, "ResourceReport": ResourceReport}
    if name in kinds:
        return _value(kinds[name])
    function = getattr(pipelines, name)
    signature = str(inspect.signature(function))
    return f"\n```text\npipelines.{name}{_wrapped(signature)}\n```\n\n{_docstring(function)}\n\n"


def _value(kind: type[Any]) -> str:
    names = [f"`{name}`" for name in kind.__struct_fields__]
    names += [f"`{name}`" for name, one in vars(kind).items() if isinstance(one, property)]
    return f"\n`{kind.__name__}`: {_docstring(kind)}\n\nFields: {', '.join(names)}.\n\n"


def _wrapped(signature: str) -> str:
    """One parameter a line where all of them are longer than a line."""
    signature = re.sub(r"'|\"(?=[^,]*[,)])", "", signature)
    if len(signature) < 80:
        return signature
    inside, _, result = signature[1:].rpartition(") -> ")
    return "(\n    " + ",\n    ".join(re.split(r", (?![^\[]*\])", inside)) + f",\n) -> {result}"


def _docstring(what: Any) -> str:
    """A docstring as Markdown: names in italics stay, examples become blocks, errors a list."""
    text, _, raised = inspect.getdoc(what).partition("Raises:\n")  # type: ignore[union-attr] # all have one
    text = re.sub(r"\n\n((?:    .*\n?)+)", lambda found: f"\n\n```python\n{_example(found[1])}\n```\n", text)
    if not raised:
        return text.strip()
    errors = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", raised, re.MULTILINE)
    listed = [f"- [`{name}`](errors.md#{name.lower()}): {' '.join(why.split())}" for name, why in errors]
    return f"{text.strip()}\n\nRaises:\n\n" + "\n".join(listed)


def _example(text: str) -> str:
    """The lines of an example, those that import apart from the others."""
    return re.sub(r"^((?:(?:import|from) .*\n)+)", r"\1\n", inspect.cleandoc(text), flags=re.MULTILINE)


def main() -> None:
    """Write both pages."""
    (FOLDER / "commands.md").write_text(commands(), encoding="utf-8")
    page = FOLDER / "python.md"
    page.write_text(python(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
