"""What a terminal shows while a run works: one line for each resource that moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.extract.events import Event
    from pipelines.source_run import Listener

_STATES = {"throttled": "waiting, the API asks for it", "retried": "trying again", "from_spool": "resuming"}


@contextmanager
def progress(console: Console, resources: Mapping[str, list[str]]) -> Iterator[Listener]:
    """Show a live line for each of *resources* (by source) until the block ends.

    Yields what a run's `listen` wants. Where the console is no terminal nothing
    is drawn.
    """
    if not console.is_terminal:
        yield lambda source, event: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=14),
        TextColumn("{task.fields[pages]:>5} pages {task.fields[size]:>8}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}", style="yellow"),
    )
    with Progress(*columns, console=console, transient=True, refresh_per_second=8) as display:
        board = _Board(display)
        for source, names in resources.items():
            for name in names:
                board.add(source, name)
        yield board.listen


class _Board:
    """Counts events into the lines of a display."""

    def __init__(self, display: Any) -> None:
        self._display, self._lock = display, threading.Lock()
        self._tasks: dict[tuple[str, str], Any] = {}
        self._pages: dict[tuple[str, str], int] = {}
        self._bytes: dict[tuple[str, str], int] = {}

    def add(self, source: str, resource: str) -> None:
        name = (source, resource)
        self._tasks[name] = self._display.add_task(f"{source}.{resource}", total=None, pages=0, size="", state="")
        self._pages[name] = self._bytes[name] = 0

    def listen(self, source: str, event: Event) -> None:
        """Take one event of one source into account."""
        name = (source, event.resource)
        if name not in self._tasks:
            return
        with self._lock:
            fields: dict[str, Any] = {"state": _STATES.get(event.kind, "")}
            if event.kind in ("spooled", "from_spool"):
                self._pages[name] += 1
                self._bytes[name] += event.size
                fields |= {"pages": self._pages[name], "size": f"{self._bytes[name] / 1e6:.1f} MB"}
            if event.kind == "finished":
                fields |= {"total": 1, "completed": 1, "state": event.note}
            self._display.update(self._tasks[name], **fields)
