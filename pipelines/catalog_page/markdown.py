"""The catalog as Markdown, `CATALOG.md`: datasets, columns, sample rows, lineage."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.catalog_page.entries import Entry


def markdown(entries: list[Entry]) -> str:
    """The catalog for people."""
    lines = ["# Catalog", "", "| dataset | rows | newest commit | what one row is |", "| --- | ---: | --- | --- |"]
    for one in entries:
        anchor = one.dataset.replace(".", "")
        lines.append(f"| [{one.dataset}](#{anchor}) | {one.rows:,} | {one.committed_at} | {_cell(one.description)} |")
    for one in entries:
        lines += ["", *_section(one)]
    return "\n".join(lines) + "\n"


def _section(one: Entry) -> Iterator[str]:
    yield f"## {one.dataset}"
    yield ""
    if one.description:
        yield from (_cell(one.description), "")
    size = f"{one.rows:,} rows in {one.files:,} files, {one.size_bytes / 1e6:,.2f} MB"
    key = f", key {', '.join(one.key)}" if one.key else ""
    folders = f" Folders by {', '.join(one.partition_by)}." if one.partition_by else ""
    yield from (f"{size}; commit {one.commit}, {one.committed_at}. Written by {one.write}{key}.{folders}", "")
    if one.made_from:
        yield from (f"Made from {', '.join(f'`{_cell(name)}`' for name in one.made_from)}.", "")
    if one.used_by:
        yield from (f"Used by {', '.join(f'`{name}`' for name in one.used_by)}.", "")
    yield from ("| column | type | unit | least | greatest | what it says |", "| --- | --- | --- | --- | --- | --- |")
    for column in one.columns:
        texts = (column.name, column.type, column.unit, column.least, column.greatest, column.description)
        yield f"| {' | '.join(map(_cell, texts))} |"
    if one.sample:
        yield from ("", f"| {' | '.join(_cell(column.name) for column in one.columns)} |")
        yield f"| {' | '.join('---' for _ in one.columns)} |"
        yield from (f"| {' | '.join(map(_cell, row))} |" for row in one.sample)


def _cell(text: str) -> str:
    """*text* of an API as text of a table: no markup, no line ends."""
    for sign, safe in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "'"), ("[", "\\["), ("\r", " "), ("\n", " ")):
        text = text.replace(sign, safe)
    return text
