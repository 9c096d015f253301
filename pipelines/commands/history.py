"""What past runs did: `threadmill runs | explain | report`. They need the data folder only."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.lakes import print_json, settings_of, shown_errors
from pipelines.commands.options import on_data
from pipelines.tables import print_table

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.report.runs import Document

_SHORT_S = 0.005
_LONG_S = 10_000
"""From here on hundredths of a second are left out: nine columns have to fit side by side."""


@click.command(epilog="\b\nExample:\n  threadmill runs")
@click.option("--most", type=click.IntRange(1), default=20, show_default=True, help="List at most so many.")
@on_data
def runs(most: int, as_json: bool, **given: Any) -> None:
    """List the runs that are kept, the newest first."""
    from itertools import islice

    from pipelines.report.runs import list_runs

    with shown_errors():
        found = list(islice(list_runs(settings_of(given).data), most))
    if as_json:
        print_json(found)
        return
    for one in found:
        failed = f"  failed: {', '.join(one['failed'])}" if one["failed"] else ""
        click.echo(
            f"{one['run']}  {one['seconds']:>7.1f} s  {one['requests']:>6,} requests  "
            f"{one['rows_written']:>11,} rows  exit {one['exit_code']}{failed}"
        )
    if not found:
        click.echo("no run yet")


@click.command(epilog="\b\nExample:\n  threadmill explain")
@click.argument("run_id", metavar="[RUN]", required=False)
@on_data
def explain(run_id: str | None, as_json: bool, **given: Any) -> None:
    """Say where the time of RUN (the newest) went, and what would make it faster.

    Waiting is told from computing by CPU time against wall time, for each
    resource and stage. RUN is an id of `threadmill runs`, or its last characters.
    """
    from pipelines.report.critical_path import critical_path, verdict
    from pipelines.report.explain import stages, works
    from pipelines.report.runs import read_run

    with shown_errors():
        run = read_run(settings_of(given).data, run_id)
    if as_json:
        from msgspec.structs import asdict

        print_json(
            {
                "run": run["run_id"],
                "seconds": run["seconds"],
                "verdict": verdict(run),
                "resources": [{**asdict(one), "wall_s": one.wall_s, "verdict": one.verdict} for one in works(run)],
                "stages": [{**asdict(stage), "use": stage.use, "verdict": stage.verdict} for stage in stages(run)],
                "critical_path": [{**asdict(step), "seconds": step.seconds} for step in critical_path(run)],
            }
        )
        return
    from rich.console import Console

    _show(run, Console(file=sys.stdout, highlight=False))


@click.command(epilog="\b\nExample:\n  threadmill report")
@click.argument("run_id", metavar="[RUN]", required=False)
@on_data
def report(run_id: str | None, as_json: bool, **given: Any) -> None:
    """Write the HTML report of RUN (the newest) anew and print its path.

    One file that needs no network: open it in a browser, mail it.
    """
    from pipelines.report.html_report import write
    from pipelines.report.runs import read_run

    with shown_errors():
        settings = settings_of(given)
        run = read_run(settings.data, run_id)
        path = write(run, settings.data, settings.remote)
    if as_json:
        print_json({"run": run["run_id"], "path": str(path), "bytes": path.stat().st_size})
    else:
        click.echo(path)


def _show(run: Document, console: Console) -> None:
    from pipelines.report.critical_path import critical_path, verdict

    console.print(f"run {run['run_id']}: {verdict(run)}\n", soft_wrap=False)
    if not run.get("timeline"):
        console.print("this run kept no timeline")
        return
    _show_resources(run, console)
    _show_stages(run, console)
    console.print("\n[bold]critical path[/] (what nothing else could have shortened)")
    for step in critical_path(run):
        if step.seconds < _SHORT_S:
            continue
        console.print(f"  {step.seconds:>6.2f} s  {step.what} {step.name}".rstrip())
        for text, sign in ((step.why, " "), (step.advice, ">")):
            _indented(text, sign, console)
    console.print("\nSeconds of threads and processes, summed; cpu is the share that computed.", style="dim")


def _indented(text: str, sign: str, console: Console) -> None:
    import textwrap

    lines = textwrap.wrap(text, 66)
    for number, line in enumerate(lines):
        console.print(
            f"           {sign if number == 0 else ' '} {line}", style="dim" if sign == " " else "", markup=False
        )


def _show_resources(run: Document, console: Console) -> None:
    from pipelines.report.explain import works

    titles = ("resource", "wall", "network", "turn", "pause", "behind", "mill", "cpu", "merge", "verdict")
    rows = []
    for one in works(run):
        seconds = (one.wall_s, one.network_s, one.turn_s, one.pause_s, one.blocked_s, one.mill_s)
        cpu = f"{one.mill_cpu_s / one.mill_s:.0%}" if one.mill_s >= _SHORT_S else "-"
        rows.append((one.name, *map(_seconds, seconds), cpu, _seconds(one.merge_s), one.verdict))
    print_table(console, titles, rows, figures=range(1, 9), whole=(9,))


def _show_stages(run: Document, console: Console) -> None:
    from pipelines.report.explain import stages

    console.print()
    rows = []
    for one in stages(run):
        cpu = f"{one.cpu_s / one.busy_s:.0%}" if one.cpu_s else "-"
        figures = (_seconds(one.wall_s), str(one.lanes), _seconds(one.busy_s), f"{one.use:.0%}", cpu)
        rows.append((one.name, *figures, one.verdict))
    titles = ("stage", "wall", "lanes", "busy", "use", "cpu", "verdict")
    print_table(console, titles, rows, figures=range(1, 6), whole=(6,))


def _seconds(seconds: float) -> str:
    if seconds >= _LONG_S:
        return f"{seconds:,.0f}"
    return f"{seconds:.2f}" if seconds >= _SHORT_S else "-"


COMMANDS = (runs, explain, report)
