"""What has been read, and reading it again: `threadmill state | backfill | replay`."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.lakes import cataloged, locked, print_json, run_id, shown_errors
from pipelines.commands.names import EITHER, RESOURCE, SOURCE
from pipelines.commands.options import on_data
from pipelines.commands.running import project_of, report_of, show_report, work_through
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.backfill import Window
    from pipelines.config.source import Source


@click.group()
def state() -> None:
    """Show or change how far each resource has been read: its watermark."""


@state.command(epilog="\b\nExample:\n  threadmill state show usgs")
@click.argument("name", metavar="SOURCE[.RESOURCE]", type=EITHER)
@on_data
def show(name: str, as_json: bool, **given: Any) -> None:
    """Print the watermarks of SOURCE: where its next run begins."""
    from pipelines.load.lake import Lake
    from pipelines.watermarks import chosen, watermarks

    source_name, _, resource = name.partition(".")
    with shown_errors():
        project = project_of((source_name,), given, needs="names")
        source = project.sources[source_name]
        lake = Lake(project.settings.data, source.name, project.settings.remote)
        found = watermarks(lake, chosen(source, resource))
    if as_json:
        print_json(found)
        return
    for one in found:
        click.echo(f"{one['resource']:<32} {one['watermark'] or '-'}")
        for parent, value in one["parents"].items():
            click.echo(f"  {parent:<30} {value}")


@state.command(name="set", epilog="\b\nExample:\n  threadmill state set usgs.events 2026-01-31")
@click.argument("name", metavar="SOURCE.RESOURCE", type=RESOURCE)
@click.argument("value")
@click.option("--parent", default="", help="The watermark of this parent only (`incremental: {per: ...}`).")
@on_data
def set_(name: str, value: str, parent: str, as_json: bool, **given: Any) -> None:
    """Let the next run begin at VALUE, earlier or later, in a commit of its own.

    Rows that are read again are not stored twice. What lies between an earlier
    watermark and a later VALUE is not read: `backfill` reads it.
    """
    with shown_errors():
        if not value.strip():
            raise ConfigError("VALUE is empty", "say where to begin; `threadmill state reset` takes the watermark away")
    _change(name, given, as_json=as_json, value=value, parent=parent)


@state.command(epilog="\b\nExample:\n  threadmill state reset usgs.events")
@click.argument("name", metavar="SOURCE[.RESOURCE]", type=EITHER)
@on_data
def reset(name: str, as_json: bool, **given: Any) -> None:
    """Let the next run read everything from `incremental: {start: ...}` on.

    A commit of its own; rows stay, and none is stored twice when it is read again.
    """
    _change(name, given, as_json=as_json)


@click.command(epilog="\b\nExample:\n  threadmill backfill usgs --from 2026-01-01 --to 2026-01-31 --dry-run")
@click.argument("source", type=SOURCE)
@click.option("--from", "start", required=True, metavar="WHEN", help="Where the span begins: a day, an instant.")
@click.option("--to", "end", required=True, metavar="WHEN", help="Where it ends.")
@click.option("--every", type=click.Choice(["day", "week", "month"]), help="A commit for each; done ones are left out.")
@click.option("--again", is_flag=True, help="With --every: read what is done again, from the first window on.")
@click.option("--dry-run", is_flag=True, help="Only print the windows that would be asked for.")
@on_data
def backfill(  # noqa: PLR0913  # a command has as many parameters as options
    source: str, start: str, end: str, *, every: Any, again: bool, dry_run: bool, as_json: bool, **given: Any
) -> None:
    """Read a span of time of SOURCE again, by windows, and commit what is new.

    The watermark stays where it is. Rows that are stored already are updated
    (upsert) or left out (append). Killed, the same command resumes.
    """
    from pipelines.report.spans import Span

    span = Span(start, end)
    with shown_errors():
        if every:
            sys.exit(_by_windows(source, span, given, every=every, again=again, dry_run=dry_run, as_json=as_json))
        if dry_run:
            project = project_of((source,), given, needs="names")
            _show_windows(project.sources[source], span, as_json=as_json)
            return
        from pipelines.source_run import run_source

        code = work_through((source,), given, as_json=as_json, work=partial(run_source, span=span))
    sys.exit(code)


@click.command(epilog="\b\nExample:\n  threadmill replay usgs")
@click.argument("name", metavar="SOURCE[.RESOURCE]", type=EITHER)
@on_data
def replay(name: str, as_json: bool, **given: Any) -> None:
    """Make the rows of SOURCE anew from kept pages, without network.

    For a change of types, checks or code. Pages are kept for `spool_retention`.
    Where they go back to the first row, a dataset is rebuilt. Else `upsert` writes
    their rows over those there are, `append` replaces the rows that came of them,
    and `replace`, or `deletes: {missing: true}`, takes the newest pages. Refused is
    a `history` without `version` or with `missing: true`, as pages do not tell when
    a row held. All of it is one commit, or nothing happens.
    """
    source_name, _, resource = name.partition(".")
    with shown_errors():
        from pipelines.replay import replay_source

        work = partial(replay_source, only=resource or None)
        code = work_through((source_name,), given, as_json=as_json, work=work, needs="variables")
    sys.exit(code)


def _change(name: str, given: dict[str, Any], *, as_json: bool, value: str = "", parent: str = "") -> None:
    """Commit *value* as the watermark of what *name* names, or none."""
    from pipelines.load.lake import Lake
    from pipelines.watermarks import chosen, move

    source_name, _, resource = name.partition(".")
    with shown_errors():
        project = project_of((source_name,), given, needs="names")
        source = project.sources[source_name]
        resources = chosen(source, resource, one=bool(value))
        lake = Lake(project.settings.data, source_name, project.settings.remote)
        with locked(lake, "state"):
            done = move(lake, resources, value, parent, run=run_id("state"), config_hash=source.config_hash)
    number = done.head.n if done.head else None
    if as_json:
        print_json({"source": source_name, "commit": number, "changed": done.changed})
    elif done.changed:
        click.echo(f"{name}: the next run begins at {value or 'its start'}, by commit {number}")
    else:
        click.echo(f"{name}: nothing to do")
    cataloged(project.settings)


def _by_windows(  # noqa: PLR0913  # as above
    name: str, span: Any, given: dict[str, Any], *, every: Any, again: bool, dry_run: bool, as_json: bool
) -> int:
    """Read the windows that are not done, one after the other, or only print them; the exit code."""
    from pipelines.backfill import not_over, windows

    project = project_of((name,), given, needs="names" if dry_run else "secrets")
    found = windows(project.sources[name], project.settings, span, every, again=again)
    code = 0
    if not dry_run:
        code = _read([one for one in found if one.is_due], given, as_json=as_json)
    elif as_json:
        print_json(found)
    else:
        for one in found:
            click.echo(f"{name}  {one.span.start} to {one.span.end}  {_told(one)}")
    if not code and (left := not_over(found)):
        click.echo(left, err=True)
    return code


def _read(due: list[Window], given: dict[str, Any], *, as_json: bool) -> int:
    """Read the windows until one has a problem; the exit code. Programs are told of all in one document."""
    from pipelines.source_run import run_source

    reports: list[dict[str, Any]] = []
    code = 0
    with shown_errors(reports):
        for window in due:
            report, code = report_of((window.source,), given, work=partial(run_source, span=window.span))
            reports.append(report.document())
            if not as_json:
                show_report(report)
            if code:
                break
    if as_json:
        print_json(reports)
    return code


def _told(window: Window) -> str:
    """What a plan says of *window*."""
    if window.is_done or not window.has_begun:
        return "done" if window.is_done else "not begun"
    told = "unknown" if window.requests is None else f"{window.requests:,} requests"
    return told + (f" ({window.basis})" if window.basis else "") + ("" if window.is_over else ", not over")


def _show_windows(source: Source, span: Any, *, as_json: bool) -> None:
    from datetime import UTC, datetime

    found = []
    for name, endpoint in span.endpoints(source.resources).items():
        windows = endpoint.incremental.windows(None, datetime.now(UTC)) if endpoint.incremental else []
        each = endpoint.for_each.resource if endpoint.for_each else None
        found.append({"resource": name, "for_each": each, "windows": [[one.start, one.end] for one in windows]})
    if as_json:
        print_json(found)
        return
    for one in found:
        click.echo(f"{source.name}.{one['resource']}" + (f", for each of {one['for_each']}" if one["for_each"] else ""))
        for start, end in one["windows"]:
            click.echo(f"  {start} to {end}")


COMMANDS = (state, backfill, replay)
