"""Pieces of HTML that the sections of a run's page are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

_NUMBER = ' class="number"'


def section(title: str, inside: str) -> str:
    """A heading and what belongs to it."""
    return f"<section><h2>{escape(title)}</h2>{inside}</section>"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells that are HTML already, without columns that say nothing.

    On a phone each row becomes a block, each cell with its title.
    """
    rows = list(rows)
    told = [place for place in range(len(titles)) if not rows or any(row[place] for row in rows)]
    titles, rows = [titles[place] for place in told], [[row[place] for place in told] for row in rows]
    numeric = {title for place, title in enumerate(titles) if any(row[place][:1].isdigit() for row in rows)}
    head = "".join(f"<th{_NUMBER if title in numeric else ''}>{escape(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(_cells(titles, row))}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(titles: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    for title, cell in zip(titles, row, strict=True):
        number = _NUMBER if cell[:1].isdigit() else ""
        yield f'<td data-title="{escape(title)}"{number}>{cell}</td>'


def size(size_bytes: float) -> str:
    """*size_bytes* as people say it."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"
