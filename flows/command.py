"""The command behind `make run`: the flow `sync` with progress, result table and what Prefect cost.

Prefect takes seconds to import and its API takes more, so the API is started
first and imports of both happen meanwhile.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.embedded import embedded_api
from pipelines.errors import EXIT_FAILED, EXIT_INTERRUPTED

if TYPE_CHECKING:
    from types import FrameType

    from flows.terminal import Terminal

HOME = Path(".prefect")
_RECORDING_S = 5.0
_ENDING_S = 8.0
"""How long an interrupted run may take to tell Prefect that it ends; workers end with this process in any case."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only this source; may be repeated.")
@click.option("--profile", help="Which [profiles] table of settings.toml applies.")
@click.option("--on-problem", type=click.Choice(["fail", "warn"]), default="fail", show_default=True)
def sync(sources: tuple[str, ...], profile: str | None, on_problem: str) -> None:
    """Bring all sources up to date as one Prefect flow run, then the marts."""
    started = time.monotonic()
    signal.signal(signal.SIGINT, _interrupted)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")  # the table below says it better
    try:
        with embedded_api(os.environ, HOME) as own:
            terminal = _flow_run(sources, profile, on_problem)
            if own and terminal.flow_run:
                _recorded(terminal)
    except KeyboardInterrupt:
        click.echo("stopped; what was fetched is kept for the next run", err=True)
        sys.stderr.flush()
        os._exit(EXIT_INTERRUPTED)  # a thread may still wait for an answer, as long as its deadline allows
    _show(terminal, started, "embedded API" if own else "your Prefect server")
    sys.exit(_exit_code(terminal))


def _interrupted(number: int, frame: FrameType | None) -> None:
    """As Python has it, KeyboardInterrupt; but whatever then waits, in Prefect or here, does not wait for long."""
    last = threading.Timer(_ENDING_S, os._exit, [EXIT_INTERRUPTED])
    last.daemon = True
    last.start()
    signal.default_int_handler(number, frame)


def main() -> None:
    """Run the command."""
    sync(prog_name="python -m flows")


def _flow_run(sources: tuple[str, ...], profile: str | None, on_problem: str) -> Terminal:
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("Starting Prefect ...") as status:
        from httpx import HTTPError
        from prefect import tags

        from flows.sync import sync as flow
        from flows.terminal import TERMINAL, Terminal
        from pipelines.commands.running import prepare_workers

        prepare_workers(None, sources)  # the API needs seconds more, of one core
        terminal = Terminal(console, status)
        TERMINAL.set(terminal)
        try:
            with tags("threadmill"):
                state = flow(list(sources) or None, profile=profile, on_problem=on_problem, return_state=True)
        except HTTPError:
            if terminal.report is None and terminal.error is None:
                raise
            terminal.unreported.append("how the run ended")
        else:
            terminal.flow_run = state.state_details.flow_run_id
    return terminal


def _recorded(terminal: Terminal) -> None:
    """Wait until the API has written down the end of every task: it hears of them by events, later."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all()
    flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[terminal.flow_run]))
    deadline = time.monotonic() + _RECORDING_S
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            runs = client.read_task_runs(flow_run_filter=flow_run)
            if sum(run.state is not None and run.state.is_final() for run in runs) >= terminal.tasks:
                return
            time.sleep(0.1)


def _show(terminal: Terminal, started: float, api: str) -> None:
    """The result table or the error, then what was Prefect's and what was ours."""
    from rich.console import Console

    from pipelines.report.result import show

    if terminal.report:
        show(terminal.report, Console())
    elif terminal.error:
        click.echo(f"{click.style(terminal.error.kind, fg='red')}: {terminal.error}", err=True)
    else:
        click.echo("the flow run failed before it began; .prefect/embedded-api.log may say why", err=True)
    if terminal.unreported:
        missed = ", ".join(dict.fromkeys(terminal.unreported))
        click.echo(f"Prefect's server did not answer: it could not be told {missed}; the data is there", err=True)
    ended = time.monotonic()
    if terminal.ran is None:
        click.echo(f"Prefect ({api}): {ended - started:.1f} s; no run began")
        return
    run_began, run_ended = terminal.ran
    start_s, rest_s, run_s = run_began - started, ended - run_ended, run_ended - run_began
    click.echo(f"Prefect ({api}): {start_s:.1f} s to start, {rest_s:.1f} s to record; the run itself: {run_s:.1f} s")


def _exit_code(terminal: Terminal) -> int:
    if terminal.report:
        return terminal.report.exit_code
    return terminal.error.exit_code if terminal.error else EXIT_FAILED
