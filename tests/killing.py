"""Projects whose runs and commands are killed: in a child before a chosen moment, or as whole processes.

A child of a fork server does its workers' calls itself, so that a kill hits those as well.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.cli import app
from pipelines.config.project import load_project
from pipelines.extract.events import Event
from pipelines.load.disk import DISK
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.load.disks import SteppingDisk, die

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "tests.killing", "pipelines.worker", "pipelines.config.project"])


@dataclass
class Deadline:
    """Counts moments (durable steps or events) and ends the process at number *at*."""

    at: int = -1
    passed: int = 0

    def moment(self) -> None:
        """One more has come."""
        self.passed += 1
        if self.passed == self.at:
            die()


def run_here(folder: Path, data: Path, deadline: Deadline, *, by_step: bool = False) -> None:
    """All sources of the project, one after another, in this process."""
    project = load_project({}, root=folder, data=data)

    def listen(source: str, event: Event) -> None:
        if not by_step:
            deadline.moment()

    shared = Shared("r", datetime.now(UTC), project.settings, Here(), listen)
    for source in project.sources:
        report = run_source(source, shared)
        problems = [report.problem, *(resource.problem for resource in report.resources)]
        assert not any(problems), problems


def doomed_run(folder: Path, data: Path, at: int, by_step: bool = True) -> None:
    """In a child: a run that dies at moment *at*."""
    if by_step:
        _step(at)
    run_here(folder, data, Deadline(at), by_step=by_step)


def doomed_command(folder: Path, data: Path, at: int, *words: str) -> None:
    """In a child: `threadmill WORDS`, which dies before its durable step *at*."""
    _step(at)
    # a setting to the command line, and no known one
    os.environ.pop("THREADMILL_CRASH_ROUNDS", None)
    with redirect_stdout(io.StringIO()):
        app([*words, "--config", str(folder / "config"), "--data", str(data)], standalone_mode=False)


def signalled_command(folder: Path, data: Path, at: int, number: int, *words: str) -> None:
    """In a child: `threadmill WORDS`, which is sent signal *number* before its durable step *at*; ends as it does."""
    DISK.__class__ = SteppingDisk
    SteppingDisk.__init__(DISK, at, partial(_tell, os.getpid(), number))  # type: ignore[arg-type]  # it is one now
    os.environ.pop("THREADMILL_CRASH_ROUNDS", None)
    with redirect_stdout(io.StringIO()):
        app([*words, "--config", str(folder / "config"), "--data", str(data)])


def _tell(process: int, number: int) -> None:
    """Send the signal to *process*, from within: its workers have copies of its disk."""
    if os.getpid() == process:
        os.kill(process, number)


def child(work: Callable[..., None], *arguments: object) -> int | None:
    """The exit code of a process that does *work*."""
    process = CONTEXT.Process(target=work, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def counted_steps(work: Callable[..., None], folder: Path, data: Path, *words: str) -> int:
    """How many durable steps *work* takes, counted in a child of its own."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_count, args=(sender, work, folder, data, -1, *words))
    process.start()
    sender.close()
    steps = receiver.recv()
    process.join(60)
    return int(steps)


def _count(sender: Any, work: Callable[..., None], *arguments: Any) -> None:
    try:
        work(*arguments)
    except SystemExit as ended:
        if ended.code:
            raise
    sender.send(DISK.steps)  # type: ignore[attr-defined]  # it is one now


def _step(at: int) -> None:
    """Make the one disk of this process, which its lakes and its workers' calls share, die before step *at*."""
    DISK.__class__ = SteppingDisk
    SteppingDisk.__init__(DISK, at, die)  # type: ignore[arg-type]  # it is one now


def files(data: Path, pattern: str) -> set[Path]:
    """All files in the folders that match *pattern*."""
    return {Path(folder) / name for top in data.glob(pattern) for folder, _, names in os.walk(top) for name in names}
