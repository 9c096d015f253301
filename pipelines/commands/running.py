"""What the commands that work on sources have in common: the project, its progress, and Ctrl-C."""

from __future__ import annotations

import codecs
import io
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import click

from pipelines.commands.lakes import print_json
from pipelines.commands.options import log_as
from pipelines.errors import EXIT_INTERRUPTED, PipelineError

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.config.project import Project
    from pipelines.config.redact import Redactor
    from pipelines.config.source import Source
    from pipelines.report.result import RunReport, SourceReport
    from pipelines.source_run import Listener, Shared

_SAID_TO_BE_TERMINALS = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
_STOPPING = (signal.SIGINT, signal.SIGTERM)
Needs = Literal["secrets", "variables", "names"]
"""What a command must know of secrets: all values, to ask an API; those of the environment; only their names."""


def project_of(only: tuple[str, ...], given: dict[str, Any], *, needs: Needs = "secrets") -> Project:
    """The project in the current folder, with those sources of it; from now on nothing prints or logs its secrets.

    A secret that the command does not need may be a block of Prefect, which only flows read, or not be set.
    """
    from pipelines.config.project import load_project
    from pipelines.config.references import unread

    project = load_project(
        os.environ,
        only=only or None,
        prefect_secret=None if needs == "secrets" else unread,
        unset_secret=unread if needs == "names" else None,
        **given,
    )
    log_as(project.settings)
    project.sources.secrets.guard(logging.getLogger())
    _guard_output(project.sources.secrets)
    return project


def console_on(stream: Any = None) -> Console:
    """A console on *stream*; on standard error by default."""
    from rich.console import Console

    return Console(file=stream or sys.stderr)


def prepare_workers(config: Path | None, only: tuple[str, ...] = ()) -> None:
    """Let the process that workers fork from start and import now, what the sources *only* (all by default) need."""
    from pipelines.pool import PRELOAD, warm_up

    # a look at the text of the files, long before they are read
    folder = Path(config or os.environ.get("THREADMILL_CONFIG", "config"))
    names = {"marts", *(name.partition(".")[0] for name in only)} if only else None
    files = [path for path in folder.glob("*.yaml") if names is None or path.stem in names]
    text = "".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    frames = ("pandas",) if "transform:" in text or "function:" in text else ()
    merges = ("polars",) if any(mode in text for mode in ("upsert", "history", "append")) else ()
    warm_up(("pipelines.rare_garbage", *frames, *PRELOAD, *merges))


def work_through(
    only: tuple[str, ...],
    given: dict[str, Any],
    *,
    as_json: bool,
    work: Callable[[Source, Shared], SourceReport] | None = None,
    needs: Needs = "secrets",
) -> int:
    """Run the project, print its report, and return the exit code; *work* is what is done with each source."""
    report, code = report_of(only, given, work=work, needs=needs)
    if as_json:
        print_json(report.document())
    else:
        show_report(report)
    return code


def report_of(
    only: tuple[str, ...],
    given: dict[str, Any],
    *,
    work: Callable[[Source, Shared], SourceReport] | None = None,
    needs: Needs = "secrets",
) -> tuple[RunReport, int]:
    """Run the project; its report, of which nothing is printed yet, and the exit code."""
    import pipelines.rare_garbage  # noqa: F401  # before all that is imported now

    # looking for plugins reads the metadata of every package there is
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # NumPy would start a thread for each CPU, for algebra that this process has none of
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    prepare_workers(given.get("config"), only)
    from pipelines.lean_arrow import put_off_compute

    put_off_compute()
    from pipelines.run import run
    from pipelines.source_run import run_source

    project = project_of(only, given, needs=needs)
    with stopping() as stop, progress_on(sys.stderr, project) as listen:
        report = run(project, listen=listen, stop=stop, work=work or run_source)
    return report, EXIT_INTERRUPTED if stop.is_set() else report.exit_code


def show_report(report: RunReport) -> None:
    """Print the table of *report* on standard output."""
    from pipelines.report.result import show

    show(report, console_on(sys.stdout))


def progress_on(stream: Any, project: Project) -> AbstractContextManager[Listener]:
    """The same on *stream*; where that is a file, Rich takes 30 ms to import before it says that it draws nothing."""
    if not stream.isatty() and not any(name in os.environ for name in _SAID_TO_BE_TERMINALS):
        return nullcontext(lambda source, event: None)
    return progress_of(project, console_on(stream))


def progress_of(project: Project, console: Console) -> AbstractContextManager[Listener]:
    """The progress of a run of *project*, drawn on *console*: its resources, then its marts."""
    from pipelines.marts.model import MARTS
    from pipelines.progress import progress
    from pipelines.run import worker_count

    resources = {source.name: list(source.resources) for source in project.sources}
    resources |= {MARTS: list(project.marts.marts)} if project.marts.marts else {}
    workers = worker_count(project.settings)
    return progress(console, resources, workers=workers, past=lambda: _pages_before(project))


def _pages_before(project: Project) -> dict[str, int]:
    """How many pages each resource will have, as its last run tells; what cannot be told is left out."""
    from datetime import UTC, datetime

    from pipelines.planning import plan_of

    found: dict[str, int] = {}
    for source in project.sources:
        with suppress(PipelineError):
            planned = plan_of(source, project.settings, datetime.now(UTC))
            found |= {one.name: one.requests for one in planned if one.requests}
    return found


def _guard_output(secrets: Redactor) -> None:
    """Hide *secrets* in all that is written to standard output and standard error, whatever command writes it."""
    from pipelines.config.redact import RedactingStream

    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, RedactingStream):
            stream = stream.stream
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name == "ascii":
            stream.reconfigure(encoding="utf-8", errors="replace")  # as click would, but past what hides secrets
        if stream is not None:  # a process may be started without
            setattr(sys, name, RedactingStream(stream, secrets))


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one ends the program at once.

    The system may hand a signal to any thread, and Python runs handlers in the
    main one, which may be waiting and never know. So a thread of its own reads
    the numbers of signals from a socket that they are written to at once.
    """
    stop = threading.Event()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)  # as set_wakeup_fd wants it

    def ask() -> None:
        while number := ours.recv(1):
            if number[0] not in _STOPPING:
                continue
            if stop.is_set():
                os._exit(EXIT_INTERRUPTED)
            click.echo("stopping; what was fetched is kept for the next run", err=True)
            stop.set()

    before = {number: signal.signal(number, _noted) for number in _STOPPING}
    descriptor = signal.set_wakeup_fd(theirs.fileno())
    asked = threading.Thread(target=ask, name="signals")
    asked.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        theirs.close()
        asked.join()
        ours.close()


def _noted(number: int, frame: FrameType | None) -> None:
    """A signal that has a handler neither ends the program nor raises KeyboardInterrupt."""
