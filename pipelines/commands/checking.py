"""Is the configuration right, and do the APIs answer as it says: `threadmill check`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.lakes import print_json, shown_errors
from pipelines.commands.names import SOURCE
from pipelines.commands.options import on_project
from pipelines.commands.running import project_of

if TYPE_CHECKING:
    from pipelines.config.project import Project


@click.command(epilog="\b\nExample:\n  threadmill check\n  threadmill check usgs --online")
@click.argument("sources", nargs=-1, type=SOURCE)
@click.option("--online", is_flag=True, help="Ask page 1 of each resource, with its credentials. Writes no row.")
@on_project
def check(sources: tuple[str, ...], online: bool, as_json: bool, **given: Any) -> None:
    """Read the configuration and list all that is wrong with it.

    Asks no API without --online, which leaves with the code of the first
    resource that fails.
    """
    with shown_errors():
        project = project_of(sources, given, needs="secrets" if online else "variables")
        answers = _asked(project) if online else []
    if as_json:
        told: dict[str, Any] = {
            "sources": {source.name: list(source.resources) for source in project.sources},
            "marts": list(project.marts.marts),
            "warnings": list(project.warnings),
        }
        print_json({**told, "answers": answers} if online else told)
    else:
        _show(project, answers)
    if failed := [one for one in answers if one["problem"]]:
        sys.exit(failed[0]["problem"]["exit_code"])


def _asked(project: Project) -> list[dict[str, Any]]:
    """What page 1 of each resource is like; what goes wrong with one stops no other."""
    from pipelines.asking import answers_of

    now = datetime.now(UTC)
    return [answer for source in project.sources for answer in answers_of(source, project.settings, now)]


def _show(project: Project, answers: list[dict[str, Any]]) -> None:
    found = {one["resource"]: one for one in answers}
    for source in project.sources:
        click.echo(f"{source.name:<14} {source.base_url}")
        for name, resource in source.resources.items():
            click.echo(f"  {name:<12} {resource.write:<8} {resource.path}")
            if answer := found.get(f"{source.name}.{name}"):
                _show_answer(answer)
    for warning in project.warnings:
        click.echo(f"warning: {warning}", err=True)
    counts = f"{len(project.sources)} sources and {len(project.marts.marts)} marts"
    failed = sum(1 for one in answers if one["problem"])
    asked = f", {len(answers) - failed} of {len(answers)} resources answer" if answers else ""
    click.echo(f"{counts}: no problem found{asked}" if not failed else f"{counts}{asked}")


def _show_answer(answer: dict[str, Any]) -> None:
    problem = answer["problem"]
    if not problem:
        click.echo(f"    {click.style('ok', fg='green')}: {answer['told']}")
        return
    click.echo(f"    {click.style(problem['kind'], fg='red')}: {problem['message']}")
    for word, text in (("hint", problem["hint"]), ("repeat", problem["curl"])):
        if text:
            click.echo(f"    {word}: {text}")


COMMANDS = (check,)
