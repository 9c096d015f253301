"""What a terminal shows while a run works, at any width: counted from events, drawn by a clock that stands still."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from pipelines.extract.events import Event, EventKind
from pipelines.progress import Board, Display, progress

RESOURCES = {"shop": ["orders", "events", "customers"], "bank": ["accounts"], "marts": ["sales"]}


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> Board:
    """Ten seconds into a run: orders are half read, events throttled, customers done, accounts computing."""
    board = Board(RESOURCES, {"shop.events": 40}, clock)

    def tell(source: str, resource: str, kind: EventKind, at: float, size: int = 0, **more: float | str) -> None:
        board.listen(source, Event(kind, resource, at, size=size, **more))  # type: ignore[arg-type]  # seconds or note

    for name in ("orders", "events", "customers"):
        tell("shop", name, "planned", 100.0, 1)
    tell("bank", "accounts", "planned", 100.0, 1)
    tell("shop", "orders", "expected", 101.0, 199)
    for number in range(100):
        tell("shop", "orders", "spooled", 101.0 + number * 0.09, 1_000)
    tell("shop", "orders", "busy", 105.0, 1)
    tell("shop", "orders", "batch", 106.0, 50_000, seconds=1.0)
    tell("shop", "events", "spooled", 104.0, 1_000)
    tell("shop", "events", "throttled", 109.0, seconds=30.0, note="RateLimited")
    tell("shop", "customers", "spooled", 101.0)
    tell("shop", "customers", "settled", 102.0, 4, note="complete")
    tell("bank", "accounts", "spooled", 103.0)
    tell("bank", "accounts", "finished", 104.0, note="unproved")
    tell("bank", "accounts", "busy", 104.0, 1)
    clock.now = 110.0
    return board


def drawn(board: Board, width: int, height: int = 24) -> list[str]:
    """The lines on a terminal of that size."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(Display(board, workers=2))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip("\n").split("\n")


def test_each_line_tells_pages_of_how_many_pace_time_left_and_state(board: Board) -> None:
    """200 pages by what the API told, 40 by what the last run had; half of them took ten seconds."""
    lines = [" ".join(line.split()) for line in drawn(board, 80)]

    assert lines == [
        "shop.orders ━━━━━╌╌╌╌╌ 100/200 pages 5k rows/s 10 s waiting",
        "shop.events ╌╌╌╌╌╌╌╌╌╌ 1/40 pages 6 min 30 s throttled",
        "shop.customers ━━━━━━━━━━ 1 page complete",
        "bank.accounts ━━━━━━━━━━ 1 page 0 s computing",
        "marts.sales queued",
        "10 s passed, about 6 min 30 s left, 2 of 2 workers busy",
    ]


@pytest.mark.parametrize("width", [28, 40, 63, 64, 80, 99, 100, 160])
def test_it_fits_terminals_of_any_width(board: Board, width: int) -> None:
    """Narrow ones keep name, pages and state; wide ones show rows, too."""
    lines = drawn(board, width)

    assert max(map(len, lines)) <= width
    assert [re.split(r"[. …]", line)[0] for line in lines[:5]] == ["shop", "shop", "shop", "bank", "marts"]
    assert [line.split()[-1] for line in lines[:2]] == ["waiting", "throttled"]
    assert "100/200" in lines[0]
    assert ("50,000 rows" in lines[0]) == (width >= 100)


def test_a_pause_is_over_when_its_time_is(board: Board, clock: Clock) -> None:
    clock.now = 140.0

    assert drawn(board, 80)[1].split()[-1] == "waiting"


def test_where_lines_are_more_than_the_terminal_has_those_that_are_done_give_way(board: Board) -> None:
    lines = drawn(board, 80, height=6)

    assert [line.split()[0] for line in lines[:3]] == ["shop.orders", "shop.events", "bank.accounts"]
    assert lines[-1].endswith("2 more")


def test_without_a_terminal_nothing_is_drawn_and_the_past_is_not_looked_up() -> None:
    console = Console(file=io.StringIO(), width=80)
    asked: list[str] = []

    def past() -> dict[str, int]:
        asked.append("past")
        return {}

    with progress(console, RESOURCES, past=past) as listen:
        listen("shop", Event("spooled", "orders", 1.0))

    assert isinstance(console.file, io.StringIO)
    assert (console.file.getvalue(), asked) == ("", [])
