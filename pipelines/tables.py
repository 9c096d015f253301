"""Tables for people, on a terminal of any width: names fold where they have to, a figure keeps all its digits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.text import Text

_NARROWEST = 4
"""A column that folds keeps so much, even where the lines get too long for it."""


def print_table(
    console: Console,
    titles: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    figures: Sequence[int] = (),
    whole: Sequence[int] = (),
) -> None:
    """Print *rows* below *titles*; brackets in a text are no markup.

    Of the columns, counted from 0, *figures* are numbers; neither they nor those that are *whole* are ever cut or
    broken. Where there is no room, figures stand closer together, and the other columns fold.
    """
    from rich.table import Table
    from rich.text import Text

    cells = [[Text(one) if isinstance(one, str) else one for one in row] for row in rows]
    widths = [max([len(title), *(row[place].cell_len for row in cells)]) for place, title in enumerate(titles)]
    kept = {*figures, *whole}
    least = sum(width if place in kept else min(width, _NARROWEST) for place, width in enumerate(widths))
    gap = 1 if figures and sum(widths) + 2 * (len(widths) - 1) > console.width else 2
    least += gap * (len(widths) - 1)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, gap - 1))
    table.width = least if least > console.width else None
    for place, title in enumerate(titles):
        justify: JustifyMethod = "right" if place in figures else "left"
        table.add_column(Text(title), justify=justify, no_wrap=place in kept, overflow="fold")
    for row in cells:
        table.add_row(*row)
    console.print(table, crop=False)
