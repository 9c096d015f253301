"""Looking before and after: `threadmill plan | preview | show | sql | doctor | new`."""

from __future__ import annotations

import sys
import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.lakes import hidden, print_json, settings_of, shown_errors
from pipelines.commands.names import RESOURCE, SOURCE
from pipelines.commands.options import on_data
from pipelines.commands.running import console_on, project_of
from pipelines.config.redact import escape
from pipelines.errors import EXIT_FAILED, ConfigError
from pipelines.tables import print_table

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.config.project import Project

_WIDEST = 32


@click.command(epilog="\b\nExample:\n  threadmill plan usgs")
@click.argument("sources", nargs=-1, type=SOURCE)
@click.option("--probe", is_flag=True, help="Ask the first two pages of each resource for better numbers.")
@on_data
def plan(sources: tuple[str, ...], probe: bool, as_json: bool, **given: Any) -> None:
    """Say what a run of SOURCES (all by default) would ask and rewrite.

    Requests come from the configuration and the watermarks, sizes and times from
    past runs, folders that would be rewritten from past commits. --probe asks two
    pages of each resource for better numbers and columns that would change;
    without it no API is asked.
    """
    from msgspec import to_builtins

    from pipelines.planning import budget_of, plan_of, seconds_of

    now = datetime.now(UTC)
    found: dict[str, dict[str, Any]] = {}
    with shown_errors():
        project = project_of(sources, given, needs="secrets" if probe else "names")
        for source in project.sources:
            planned = plan_of(source, project.settings, now)
            planned = _probed(source, project, planned, now) if probe else planned
            found[source.name] = {
                "in_flight": source.limits.in_flight,
                "daily": source.limits.daily,
                "seconds": seconds_of(planned, source.limits),
                "budget": budget_of(planned, source.limits),
                "resources": to_builtins(planned),
            }
    if as_json:
        print_json(found)
        return
    rows = [_plan_row(one) for told in found.values() for one in told["resources"]]
    titles = ("resource", "chains", "requests", "MB", "since", "basis")
    print_table(console_on(sys.stdout), titles, rows, figures=range(1, 4))
    for name, told in found.items():
        click.echo(textwrap.fill(f"{name}: {_duration(told)}", 79, subsequent_indent="  "))
        for one in told["resources"]:
            _show_impact(one["name"], one["impact"])


@click.command(epilog="\b\nExample:\n  threadmill preview usgs.events")
@click.argument("name", metavar="SOURCE.RESOURCE", type=RESOURCE)
@click.option("--rows", type=click.IntRange(1), default=10, show_default=True, help="Show at most so many rows.")
@on_data
def preview(name: str, rows: int, as_json: bool, **given: Any) -> None:
    """Ask page 1 of SOURCE.RESOURCE and show its rows, typed, transformed, checked.

    No row is written, and no watermark is used or moved.
    """
    from pipelines.asking import asking
    from pipelines.preview import preview as look

    now = datetime.now(UTC)
    with shown_errors():
        source_name, _, resource = name.partition(".")
        project = project_of((source_name,), given)
        (source,) = project.sources
        with asking(source, project.settings, now) as asked:
            found = look(source, resource, asked, settings=project.settings, now=now)
    aside = sum(len(table) for table in found.aside)
    if as_json:
        columns = {field.name: str(field.type) for field in found.table.schema}
        shown = found.table.slice(0, rows).to_pylist()
        print_json({
            "request": found.request, "columns": columns, "rows": len(found.table), "sample": _plain(shown),
            "aside": aside, "broken": found.broken,
        })  # fmt: skip
        return
    click.echo(f"{found.request}: {len(found.table):,} rows, {aside:,} set aside\n")
    _show_rows(found.table.slice(0, rows))
    for sentence in found.broken:
        click.echo(f"check: {sentence}")


@click.command(epilog="\b\nExample:\n  threadmill show usgs.events")
@click.argument("name", metavar="DATASET", type=RESOURCE)
@click.option("--rows", type=click.IntRange(0), default=5, show_default=True, help="Show so many rows.")
@on_data
def show(name: str, rows: int, as_json: bool, **given: Any) -> None:
    """Show the columns, the size and some rows of DATASET, such as usgs.events."""
    from pipelines.catalog import meanings
    from pipelines.load.stored import read_errors
    from pipelines.reading import lakes_of, snapshot_in

    with shown_errors(), read_errors():
        settings = settings_of(given)
        found = snapshot_in(lakes_of(settings), name)
        count, sample = found.rows.count_rows(), found.rows.head(rows)
    told = meanings(settings.data, f"{found.source}.{found.name}")
    columns = [{"name": one.name, "type": str(one.type), "meaning": told.get(one.name, "")} for one in sample.schema]
    if as_json:
        print_json({"dataset": name, "rows": count, "columns": columns, "sample": _plain(sample.to_pylist())})
        return
    click.echo(f"{name}: {count:,} rows, {len(columns)} columns\n")
    print_table(console_on(sys.stdout), ("column", "type", "meaning"), [tuple(one.values()) for one in columns])
    if rows:
        click.echo()
        _show_rows(sample)


@click.command(epilog='\b\nExample:\n  threadmill sql "select count(*) from usgs.events"')
@click.argument("query")
@click.option("--rows", type=click.IntRange(1), default=50, show_default=True, help="Show at most so many rows.")
@on_data
def sql(query: str, rows: int, as_json: bool, **given: Any) -> None:
    """Run a DuckDB QUERY over all datasets: `usgs.events`, or `events` where that is clear.

    All tables of a source are of one commit, whatever a run does meanwhile.
    """
    import duckdb

    from pipelines.reading import answer_in, lakes_of

    with shown_errors():
        settings = settings_of(given)
        try:
            answer = answer_in(lakes_of(settings), query)
            table = _told_apart(answer.to_arrow_table()) if answer is not None else None
        except duckdb.Error as error:
            raise ConfigError(str(error), "`threadmill status` lists the datasets") from None
    if as_json:
        print_json(_plain(table.to_pylist()) if table is not None else [])
    elif table is not None:
        _show_rows(table.slice(0, rows))
        if len(table) > rows:
            click.echo(f"{rows:,} of {len(table):,} rows; --rows shows more, --json all")


@click.command(epilog="\b\nExample:\n  threadmill doctor")
@on_data
def doctor(as_json: bool, **given: Any) -> None:
    """Look whether this machine is fit for a run. Exit code 1 if it is not.

    Versions, processors, memory, disk, clock, and what the file system of the
    data folder can do. No API is asked.
    """
    from pipelines.doctor import examine

    with shown_errors():
        found = examine(settings_of(given), datetime.now(UTC))
    if as_json:
        print_json(found)
    colors = {"ok": "green", "warning": "yellow", "problem": "red"}
    for one in found if not as_json else ():
        click.echo(f"{click.style(f'{one.state:<8}', fg=colors[one.state])} {_beside(f'{one.what}: {one.found}')}")
        if one.hint:
            click.echo(f"{'':9}{_beside(f'hint: {one.hint}')}")
    if any(one.state == "problem" for one in found):
        sys.exit(EXIT_FAILED)


@click.group()
def new() -> None:
    """Write a file to begin with."""


@new.command(epilog="\b\nExample:\n  threadmill new transform clean_orders")
@click.argument("name")
@on_data
def transform(name: str, as_json: bool, **given: Any) -> None:
    """Write a module NAME with a function that gets and gives a DataFrame."""
    from pipelines.preview import new_transform

    with shown_errors():
        path = new_transform(name, settings_of(given).transforms)
    if as_json:
        print_json({"path": str(path), "transform": f"{name}:{name}"})
    else:
        click.echo(f"written to {path}; in the source file: transform: {name}:{name}")


def _probed(source: Any, project: Project, planned: list[Any], now: datetime) -> list[Any]:
    from pipelines.asking import asking, rows_of
    from pipelines.load.lake import Lake
    from pipelines.planning import watermark_of, with_probe

    head = Lake(project.settings.data, source.name, project.settings.remote).head()
    probed = []
    with asking(source, project.settings, now) as asked:
        for (name, resource), one in zip(source.resources.items(), planned, strict=True):
            found = asked.first(name, watermark=watermark_of(head, name), pages=2)
            rows = rows_of(resource, found, project.settings)[0] if found else None
            probed.append(with_probe(one, found, rows, head.datasets.get(name) if head else None))
    return probed


def _show_impact(name: str, impact: dict[str, Any]) -> None:
    if impact["rewritten"]:
        named = ", ".join(impact["named"]).strip()
        more = ", ..." if impact["rewritten"] > len(impact["named"]) else ""
        told = f" ({impact['basis']}{f': {named}{more}' if named else ''})"
        click.echo(_wrapped(f"{name}: rewrites {impact['rewritten']:,} of {impact['partitions']:,} folders{told}"))
    for change in impact["schema_changes"]:
        click.echo(_wrapped(f"{name}: {change}"))


def _beside(text: str) -> str:
    """*text* in lines that leave room for nine characters to the left of it."""
    return textwrap.fill(text, 79, initial_indent=" " * 9, subsequent_indent=" " * 9).lstrip()


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 79, initial_indent="  ", subsequent_indent="    ")


def _plan_row(one: dict[str, Any]) -> tuple[str, ...]:
    numbers = [f"{one[name]:,}" if one[name] is not None else "?" for name in ("chains", "requests")]
    size = f"{one['size_bytes'] / 1e6:.1f}" if one["size_bytes"] is not None else "?"
    return one["name"], *numbers, size, one["since"][:10], one["basis"]


def _show_rows(table: pa.Table) -> None:
    """Rows as a table; where the columns do not fit into the terminal, each row as a list of its fields."""
    import shutil

    rows = [[_cell(value) for value in row.values()] for row in table.to_pylist()]
    widths = [max([len(name), *(len(row[place]) for row in rows)]) for place, name in enumerate(table.column_names)]
    if sum(widths) + 2 * len(widths) <= shutil.get_terminal_size().columns:
        print_table(console_on(sys.stdout), table.column_names, rows)
        return
    longest = max(map(len, table.column_names))
    for row in rows:
        for name, value in zip(table.column_names, row, strict=True):
            click.echo(f"{name:<{longest}}  {value}".rstrip())
        click.echo()


def _told_apart(table: pa.Table) -> pa.Table:
    """*table*, in which a column of a name that was there before gets a number, as in a DataFrame of DuckDB: `a_1`."""
    apart: dict[str, None] = {}
    for name in table.column_names:
        number, told = 0, name
        while told in apart:
            number += 1
            told = f"{name}_{number}"
        apart[told] = None
    return table.rename_columns(list(apart))


def _cell(value: Any) -> str:
    text = "" if value is None else escape(hidden(str(value)))
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """*rows* as JSON can hold them; decimals and bytes become text, so that nothing is rounded."""
    import orjson

    return list(orjson.loads(orjson.dumps(rows, default=str, option=orjson.OPT_NON_STR_KEYS)))


def _duration(told: dict[str, Any]) -> str:
    """How long a source takes, and what share of its daily limit that is."""
    seconds, in_flight = told["seconds"], told["in_flight"]
    if seconds is None:
        return "not known before a run or a --probe"
    length = "less than 1 s" if seconds < 1 else f"about {seconds:.0f} s"
    length = f"about {seconds / 60:.0f} minutes" if seconds > 90 else length
    share = "".join(
        f", {f'{share:.1%}' if share >= 0.001 else 'under 0.1%'} of {budget}"
        for budget, share in told["budget"].items()
    )
    return f"{length} with {in_flight} {'request' if in_flight == 1 else 'requests'} in flight{share}"


COMMANDS = (plan, preview, show, sql, doctor, new)
