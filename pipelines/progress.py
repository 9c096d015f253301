"""What a terminal shows while a run works: a line for each resource, and what is left to do.

`Board` counts the run's events; `Display` draws it, in as many columns as the
terminal has. Where there is no terminal the log tells how far a run is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from pipelines.extract.events import Event
    from pipelines.source_run import Listener

_NARROW, _WIDE = 64, 100
_BAR = 10
_COLORS = {"throttled": "yellow", "retrying": "yellow", "computing": "green", "merging": "cyan", "failed": "red"}
_VERDICTS = {"complete": "green", "unproved": "cyan", "incomplete": "yellow", "skipped": "dim"}


class Line(Struct):
    """How far one resource is; `total` is how many pages are known of, `past` how many it had the last time."""

    name: str
    past: int = 0
    total: int = 0
    known: bool = False
    pages: int = 0
    rows: int = 0
    busy: int = 0
    began: float = 0.0
    ended: float = 0.0
    state: str = "queued"
    until: float = 0.0
    verdict: str = ""

    def state_at(self, now: float) -> str:
        """What it does: a pause is over when its time is."""
        if self.verdict:
            return self.verdict
        return "waiting" if self.state in ("throttled", "retrying") and now > self.until else self.state

    @property
    def expected(self) -> int:
        """How many pages it will have, as the API tells or as the last run had; 0 where nothing tells."""
        return self.total if self.known else max(self.past, self.pages + 1) if self.past else 0

    @property
    def share(self) -> float | None:
        """How much of it is done, 0 to 1."""
        if self.verdict or self.state in ("computing", "merging"):
            return 1.0
        return min(self.pages / self.expected, 1.0) if self.expected else None

    def rows_per_s(self, now: float) -> float:
        """Rows that workers have made, a second."""
        return self.rows / max((self.ended or now) - self.began, 0.1) if self.began else 0.0

    def left_s(self, now: float) -> float | None:
        """How long its pages will still take at the pace so far."""
        if self.share == 1.0 or not self.pages or not self.expected:
            return 0.0 if self.share == 1.0 else None
        return (self.expected - self.pages) * (now - self.began) / self.pages


class Board:
    """Counts events into lines; call `listen` from any thread."""

    def __init__(
        self,
        resources: Mapping[str, list[str]],
        past: Mapping[str, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.began = clock()
        names = [f"{source}.{name}" for source, of in resources.items() for name in of]
        self.lines = {name: Line(name, (past or {}).get(name, 0)) for name in names}
        self._lock = threading.Lock()

    def listen(self, source: str, event: Event) -> None:
        """Take one event of one source into account."""
        line = self.lines.get(f"{source}.{event.resource}")
        if line is None:
            return
        with self._lock:
            line.began = line.began or event.at - event.seconds
            self._count(line, event)

    @property
    def busy(self) -> int:
        """How many workers compute now."""
        return sum(line.busy for line in self.lines.values())

    def left_s(self) -> float | None:
        """How long it will take until all pages are there; None while a resource does not tell."""
        now = self.clock()
        found = [line.left_s(now) for line in self.lines.values() if not line.verdict and line.began]
        return max((one for one in found if one is not None), default=None) if None not in found else None

    def _count(self, line: Line, event: Event) -> None:
        match event.kind:
            case "planned":
                line.total += event.size
                line.state = "waiting" if event.size else "computing"
            case "expected":
                line.total, line.known = line.total + event.size, True
            case "spooled" | "from_spool":
                line.pages += 1
                line.state = "waiting"
            case "throttled" | "retried":
                line.state = "throttled" if event.kind == "throttled" else "retrying"
                line.until = event.at + event.seconds
            case "busy":
                line.busy += event.size
            case "batch":
                line.rows += event.size
            case "finished":
                line.state = "computing"
            case "merged":
                line.state = "merging"
            case "settled":
                line.verdict, line.busy, line.ended = event.note, 0, event.at


class Display:
    """The lines of a board as a table that fits the terminal, whatever its size."""

    def __init__(self, board: Board, workers: int) -> None:
        self._board, self._workers = board, workers

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        now, width = self._board.clock(), options.max_width
        room = max((options.height or console.height) - 3, 3)
        lines = _chosen(list(self._board.lines.values()), room)
        yield self._table(lines, now, width)
        hidden = len(self._board.lines) - len(lines)
        yield Text(_cut(self._foot(now, hidden), width), style="dim")

    def _table(self, lines: list[Line], now: float, width: int) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0), width=width)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for _ in range(_columns(width)):
            table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="left", no_wrap=True, width=10)
        for line in lines:
            state = line.state_at(now)
            cells = [Text(text) for text in _cells(line, now, width)]
            style = _COLORS.get(state) or _VERDICTS.get(state) or ""
            table.add_row(Text(line.name), *cells, Text(state, style=style))
        return table

    def _foot(self, now: float, hidden: int) -> str:
        left = self._board.left_s()
        told = [f"{_clock(now - self._board.began)} passed"]
        told += [f"about {_clock(left)} left"] if left else []
        told += [f"{min(self._board.busy, self._workers)} of {self._workers} workers busy"]
        told += [f"{hidden} more"] if hidden else []
        return ", ".join(told)


@contextmanager
def progress(
    console: Console,
    resources: Mapping[str, list[str]],
    *,
    workers: int = 1,
    past: Callable[[], Mapping[str, int]] = dict,
) -> Iterator[Listener]:
    """Show a live line for each of *resources* (by source) until the block ends.

    Yields what a run's `listen` wants. *past* is asked how many pages resources had
    before. Where the console is no terminal nothing is drawn.
    """
    if not console.is_terminal:
        yield lambda source, event: None
        return
    from rich.live import Live

    board = Board(resources, past())
    with Live(Display(board, workers), console=console, transient=True, refresh_per_second=5):
        yield board.listen


def _chosen(lines: list[Line], room: int) -> list[Line]:
    """As many lines as there is room for, in their order: those that are done give way first, then those not begun."""
    if len(lines) <= room:
        return lines
    ranked = sorted(lines, key=lambda line: 2 if line.verdict else 0 if line.began else 1)
    kept = {line.name for line in ranked[:room]}
    return [line for line in lines if line.name in kept]


def _columns(width: int) -> int:
    return 1 if width < _NARROW else 4 if width < _WIDE else 5


def _cells(line: Line, now: float, width: int) -> list[str]:
    """What stands between name and state: pages alone where there is little room."""
    pages = f"{line.pages:,}/{line.expected:,}" if line.expected and not line.verdict else f"{line.pages:,}"
    pages = pages if line.pages or line.total else ""
    if width < _NARROW:
        return [pages]
    left = "" if line.verdict else _clock(line.left_s(now))
    rate = line.rows_per_s(now)
    cells = [
        _bar(line.share),
        f"{pages} {'page' if pages == '1' else 'pages'}" if pages else "",
        f"{_short(rate)} rows/s" if rate >= 1 else "",
        left,
    ]
    return cells if width < _WIDE else [*cells[:2], f"{line.rows:,} rows", *cells[2:]]


def _bar(share: float | None) -> str:
    full = round((share or 0.0) * _BAR)
    return "━" * full + ("╌" if share is not None else " ") * (_BAR - full)


def _short(number: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = max(round(seconds), 0)
    minutes, rest = divmod(whole, 60)
    return f"{whole} s" if whole < 100 else f"{minutes} min" if minutes >= 10 else f"{minutes} min {rest} s"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"
