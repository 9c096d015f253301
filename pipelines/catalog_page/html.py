"""The catalog as one HTML file for analysts, `catalog.html`: no network, light and dark, fit for a phone.

Whatever comes from a configuration or an API is escaped, and the page's policy
forbids browsers to load anything, or to run more than what draws the charts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from pipelines.catalog_page.charts import null_shares, rows_in_time, spark
from pipelines.catalog_page.entries import ColumnEntry, Entry
from pipelines.catalog_page.lineage import lineage
from pipelines.catalog_page.snippets import snippets
from pipelines.charts.page import chart, colours, policy, scripts

_NAMES = 150
"""Room for the names of columns beside a chart, in pixels."""
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    '<meta http-equiv="Content-Security-Policy" content="{policy}">'
)


def html(entries: Sequence[Entry], data: Path | None) -> str:
    """The whole page; *data* is the folder that its snippets read, None for a bucket."""
    style = colours() + files("pipelines.catalog_page").joinpath("catalog.css").read_text(encoding="utf-8")
    head = f"{_HEAD.format(policy=policy())}<title>Catalog</title><style>{style}</style></head>"
    if not entries:
        return f"{head}<body><main><h1>Catalog</h1><p>No dataset yet.</p></main></body></html>"
    known = {one.dataset for one in entries}
    sections = (
        _summary(entries),
        f"<section><h2>Datasets</h2>{_index(entries)}</section>",
        f'<section><h2>Where they come from</h2><div class="wide">{lineage(entries)}</div></section>',
        *(_dataset(one, data, known) for one in entries),
    )
    return f"{head}<body><main>{''.join(sections)}</main>{scripts()}</body></html>"


def _summary(entries: Sequence[Entry]) -> str:
    figures = (
        (f"{len(entries):,}", "datasets"),
        (f"{sum(one.rows for one in entries):,}", "rows"),
        (f"{sum(len(one.columns) for one in entries):,}", "columns"),
        (_size(sum(one.size_bytes for one in entries)), "of Parquet"),
    )
    tiles = "".join(f"<div><b>{value}</b><span>{what}</span></div>" for value, what in figures)
    newest = _time(max(one.committed_at for one in entries))
    return f'<header><h1>Catalog</h1><p>newest commit {newest}</p></header><div class="tiles">{tiles}</div>'


def _index(entries: Sequence[Entry]) -> str:
    rows = [
        (
            f'<a href="#{escape(one.dataset)}"><b>{escape(one.dataset)}</b></a>'
            f"<small>{escape(one.description)}</small>",
            f"{one.rows:,}",
            chart(spark(one.per_time), f"rows of {one.dataset} in time", left=0, right=0) if one.per_time else "",
            escape(_time(one.newest)),
            _time(one.committed_at),
        )
        for one in entries
    ]
    titles = ("dataset", "rows", "in time", "newest row", "committed")
    return _table("datasets", titles, rows, numbers=(1,))


def _dataset(one: Entry, data: Path | None, known: Collection[str]) -> str:
    parts = [f'<section class="dataset" id="{escape(one.dataset)}"><h2>{escape(one.dataset)}</h2>']
    if one.description:
        parts.append(f"<p>{escape(one.description)}</p>")
    parts.append(f'<p class="facts">{"<br>".join(_facts(one, known))}</p>')
    if one.per_time:
        length = {10: "day", 7: "month", 4: "year"}[len(one.per_time[0][0])]
        most = max(rows for _, rows in one.per_time)
        parts.append(
            f"<h3>Rows per {length} <small>of {escape(one.time)}, at most {most:,}</small></h3>"
            f"{chart(rows_in_time(one.per_time), f'rows of {one.dataset} per {length}')}"
        )
    parts.append(f"<h3>Columns</h3>{_columns(one.columns)}")
    if any(column.null_share for column in one.columns):
        drawn = chart(null_shares(one.columns), f"share of nulls in {one.dataset}", left=_NAMES)
        parts.append(f"<h3>Share of nulls <small>columns that have any</small></h3>{drawn}")
    if one.sample:
        titles = [column.name for column in one.columns]
        rows = [[escape(value) for value in row] for row in one.sample]
        shown = _table("sample", titles, rows)
        parts.append(f"<details open><summary>{len(rows)} rows</summary>{shown}</details>")
    if one.files:
        parts.append(f"<details><summary>Read it</summary>{_snippets(one.dataset, data)}</details>")
    return "".join(parts) + "</section>"


def _facts(one: Entry, known: Collection[str]) -> Iterator[str]:
    key = f", key {', '.join(one.key)}" if one.key else ""
    folders = f", folders by {', '.join(one.partition_by)}" if one.partition_by else ""
    yield escape(
        f"{one.rows:,} rows, {one.files:,} {'file' if one.files == 1 else 'files'}, {_size(one.size_bytes)}; "
        f"{one.write}{key}{folders}"
    )
    newest = f"; newest {one.time} {_time(one.newest)}" if one.newest else ""
    yield escape(f"commit {one.commit} at {_time(one.committed_at)}{newest}")
    if one.made_from:
        yield f"made from {', '.join(_named(name, known) for name in one.made_from)}"
    if one.used_by:
        yield f"used by {', '.join(_named(name, known) for name in one.used_by)}"


def _named(name: str, known: Collection[str]) -> str:
    """A link to the dataset, if it is on the page."""
    text = escape(name)
    return f'<a href="#{text}">{text}</a>' if name in known else f"<code>{text}</code>"


def _columns(columns: Iterable[ColumnEntry]) -> str:
    rows = [
        (
            f"<code>{escape(one.name)}</code>",
            f"<code>{escape(one.type)}</code>",
            escape(one.unit),
            escape(_time(one.least)),
            escape(_time(one.greatest)),
            _share(one.null_share),
            escape(one.description),
        )
        for one in columns
    ]
    return _table(
        "columns", ("column", "type", "unit", "least", "greatest", "null", "what it says"), rows, values=(3, 4)
    )


def _share(share: float | None) -> str:
    if not share:
        return ""
    return f"{share:.0%}" if share >= 0.01 else "under 1%"


def _snippets(dataset: str, data: Path | None) -> str:
    shown = "".join(
        f"<div><h3>{tool}</h3><pre>{escape(lines)}</pre></div>" for tool, lines in snippets(dataset, data).items()
    )
    return f'<div class="snippets">{shown}</div><small>A click selects a snippet.</small>'


def _table(
    name: str,
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    values: Sequence[int] = (),
) -> str:
    kinds = ["number" if place in numbers else "value" if place in values else "text" for place in range(len(titles))]
    head = "".join(f'<th class="{kind}">{escape(title)}</th>' for kind, title in zip(kinds, titles, strict=True))
    body = "".join(f"<tr>{''.join(_cells(titles, kinds, row))}</tr>" for row in rows)
    return f'<div class="wide"><table class="{name}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cells(titles: Sequence[str], kinds: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    for title, kind, cell in zip(titles, kinds, row, strict=True):
        yield f'<td data-title="{escape(title)}" class="{kind}">{cell}</td>'


def _time(text: str) -> str:
    """An instant as people read it; a day or another text as it is."""
    return text[:16].replace("T", " ") if len(text) > 16 and text[10] == "T" else text


def _size(size_bytes: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"
