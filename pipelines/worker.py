"""What a worker process does with one batch: pages in, staged Parquet parts out.

A batch is read in slices, so that memory does not grow with its size. Nothing
a worker writes is visible before the parent commits it.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batch import Batch, Json, PageRef
from pipelines.cursors import Cursor, PageEnds, greatest, least, page_ends, reaches
from pipelines.errors import CursorError, PipelineError
from pipelines.load.boundary import as_type, at_or_after, typed, unseen
from pipelines.load.parquet import PartWriter
from pipelines.load.schema import decode_schema, encode_schema, unify
from pipelines.load.target import Target
from pipelines.marts.units import MartUnit, make
from pipelines.milled import REJECTS, Milled, Recipe, rejects_of
from pipelines.transform.checks import Expectations, enforce, set_aside, violations_by_rows
from pipelines.transform.columns import Shape
from pipelines.transform.decode import Decoded, decode
from pipelines.transform.frames import FOLDER, Transform, apply, resolve
from pipelines.transform.restored import restored

_PARENT = "__parent__"
_PAGE = "__page__"


def mill(batch: Batch, recipe: Recipe) -> Milled:
    """Decode, type, transform, partition and write the pages of *batch*.

    Raises:
        PipelineError: Of any kind that data can cause; whoever asked knows of which resource, and by `page` what asked
            for the page.
    """
    started, cpu = time.monotonic(), time.process_time()
    rows_read = rows_rejected = 0
    cursors: dict[str, str] = {}
    warnings: Counter[str] = Counter()
    reasons: Counter[tuple[str, str]] = Counter()
    ends: list[PageEnds] = []
    schemas: list[pa.Schema] = []
    filled: set[str] = set()
    seen = _Seen(recipe)
    transform = _transform(recipe)
    with _writer(recipe, batch) as writer, _rejects_writer(recipe, batch) as rejects:
        pages_before = 0
        for pages in _slices(batch.pages, recipe.slice_bytes):
            decoded = _decoded(pages, pages_before, recipe)
            pages_before += len(pages)
            table = decoded.table
            aside = [decoded.rejects]
            rows_read += len(table) + (len(decoded.rejects) if decoded.rejects else 0)
            warnings.update(_ignored(table, recipe))
            table = _in_order(table, recipe, pages, ends)
            table = _fresh(table, recipe, cursors)
            if transform:
                table = _transformed(table, transform, recipe)
            table = seen.unseen(table)
            table, more = checked(table, recipe.shape.checks, f"{recipe.source}.{recipe.resource}", warnings)
            for refused in filter(None, [*aside, more]):
                rows_rejected += len(refused)
                reasons.update(zip(refused["column"].to_pylist(), refused["reason"].to_pylist(), strict=True))
                rejects.write(refused)
            schemas.append(table.schema)
            filled.update(name for name in table.column_names if table[name].null_count < len(table))
            writer.write(table)
        parts, reject_parts = writer.close(), rejects.close()
    return Milled(
        sequence=batch.sequence,
        parts=parts,
        rejects=reject_parts,
        columns=tuple(encode_schema(unify(schemas))),
        rows_read=rows_read,
        rows_rejected=rows_rejected,
        cursors=cursors,
        cpu_s=time.process_time() - cpu,
        wall_s=time.monotonic() - started,
        warnings=dict(warnings),
        reasons=dict(reasons),
        ends=tuple(ends),
        filled=frozenset(filled),
        pid=os.getpid(),
        began=started,
    )


class _Seen:
    """The stored rows that a batch may have again; read when there are rows, and as far back as they reach."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._rows: pa.Table | None = None
        self._lowest = ""

    def unseen(self, table: pa.Table) -> pa.Table:
        """The rows of *table* that are not stored yet."""
        recipe = self._recipe
        if recipe.cursor is None or not recipe.compared or not len(table):
            return table
        lowest = self._reach(table, recipe.cursor)
        if not self._lowest or not reaches(lowest, self._lowest, recipe.cursor.kind):
            self._rows, self._lowest = self._read(lowest, recipe.cursor, table.schema), lowest
        return table if self._rows is None else unseen(table, self._rows, _told_by(table, self._rows, recipe))

    def _reach(self, table: pa.Table, cursor: Cursor) -> str:
        """From where on stored rows have to be known."""
        recipe = self._recipe
        low = least(table, cursor.name, cursor.kind) if recipe.reaches_back else ""
        return recipe.edge_floor if reaches(low, recipe.edge_floor, cursor.kind) else low

    def _read(self, lowest: str, cursor: Cursor, read: pa.Schema) -> pa.Table | None:
        recipe, kind = self._recipe, cursor.kind
        further = lowest != recipe.edge_floor
        older = [path for path, top in recipe.older if further and reaches(top, lowest, kind)]
        files, known, key = (*recipe.edge, *older), _known(recipe), recipe.target.key
        names = key if known is not None and set(key) <= set(known.names) else ()
        rows = at_or_after(files, cursor.name, lowest, kind=kind, names=names, schema=known)
        return None if rows is None else restored(rows, recipe.shape, read)


def checked(
    table: pa.Table, expectations: Expectations, name: str, warnings: Counter[str]
) -> tuple[pa.Table, pa.Table | None]:
    """The rows that may stay, and those that a check of severity quarantine sets aside.

    Rows that a check of severity warn is about are counted in *warnings*.

    Raises:
        ExpectationFailed: A check of each row, of severity fail, does not hold.
    """
    if not len(table):
        return table, None
    table, aside = set_aside(table, expectations)
    found = violations_by_rows(table, expectations)
    enforce(found, name)
    warnings.update({one.message.partition(": ")[2]: one.rows for one in found if one.severity == "warn"})
    return table, aside


def make_mart(unit: MartUnit, store: Path, target: Target) -> Milled:
    """Make the rows of one unit of a mart and write them."""
    started, cpu = time.monotonic(), time.process_time()
    table = make(unit)
    with PartWriter(store, unit.mart, target, sequence=unit.sequence) as writer:
        writer.write(table)
        parts = writer.close()
    columns = tuple(encode_schema(unify([table.schema])))
    spent, passed = time.process_time() - cpu, time.monotonic() - started
    return Milled(unit.sequence, parts, (), columns, len(table), 0, {}, spent, passed, pid=os.getpid(), began=started)


def _transform(recipe: Recipe) -> Transform | None:
    name = recipe.shape.transform
    return resolve(name, (recipe.transforms or FOLDER,)) if name else None


def _transformed(table: pa.Table, transform: Transform, recipe: Recipe) -> pa.Table:
    """What *transform* makes of *table*; by their cursors appended rows are told from stored ones."""
    made = apply(table, transform)
    if recipe.cursor is not None and recipe.target.write == "append":
        recipe.cursor.refuse_changed(table, made)
    return made


def _writer(recipe: Recipe, batch: Batch) -> PartWriter:
    stats = (recipe.cursor.name,) if recipe.cursor else ()
    return PartWriter(recipe.store, recipe.resource, recipe.target, sequence=batch.sequence, stats=stats, staged=True)


def _rejects_writer(recipe: Recipe, batch: Batch) -> PartWriter:
    return PartWriter(recipe.store, rejects_of(recipe.resource), REJECTS, sequence=batch.sequence, staged=True)


def _slices(pages: tuple[PageRef, ...], size: int) -> Iterator[list[PageRef]]:
    """Runs of pages of about *size* bytes, at least one page each."""
    waiting = deque(pages)
    while waiting:
        taken = [waiting.popleft()]
        room = size - taken[0].raw_bytes
        while waiting and waiting[0].raw_bytes <= room:
            room -= waiting[0].raw_bytes
            taken.append(waiting.popleft())
        yield taken


def _decoded(pages: list[PageRef], before: int, recipe: Recipe) -> Decoded:
    """The records of *pages*, of which so many of the batch come *before*."""
    try:
        return decode(_bodies(pages, recipe), recipe.shape, _known(recipe))
    except PipelineError as error:
        if error.page is not None:
            error.page += before
        raise


def _bodies(pages: list[PageRef], recipe: Recipe) -> list[tuple[bytes, dict[str, Json]]]:
    """The pages with what their rows carry: the parent's values, and where they are from."""
    numbered = recipe.cursor is not None and recipe.cursor.ordered is not None

    def carried(number: int, page: PageRef) -> dict[str, Json]:
        origin = {_PARENT: page.parent} if page.parent else {}
        return {**dict(page.carry), **origin, **({_PAGE: number} if numbered else {})}

    return [(_body(page, recipe.shape), carried(number, page)) for number, page in enumerate(pages)]


def _body(page: PageRef, shape: Shape) -> bytes:
    """The page, without what an earlier one has already."""
    return shape.records.leave_out(page.read(), page.without) if page.without else page.read()


def _known(recipe: Recipe) -> pa.Schema | None:
    return None if recipe.columns is None else decode_schema(recipe.columns)


def _told_by(table: pa.Table, seen: pa.Table, recipe: Recipe) -> list[str]:
    """The columns that tell a row that is stored: of its key, and the cursor, as a newer version is another row."""
    key, cursor = list(recipe.target.key), recipe.cursor
    if not key or cursor is None or cursor.name not in {*table.column_names} & {*seen.column_names}:
        return key
    return list(dict.fromkeys([*key, cursor.name]))


def _in_order(table: pa.Table, recipe: Recipe, pages: list[PageRef], ends: list[PageEnds]) -> pa.Table:
    """The rows without the number of their page; with a declared order, notes what each page begins and ends with."""
    if _PAGE not in table.column_names or recipe.cursor is None:
        return table
    numbers, table = table[_PAGE], table.drop_columns([_PAGE])
    ends += page_ends(recipe.cursor.column(table), numbers, pages, recipe.cursor) if len(table) else []
    return table


def _fresh(table: pa.Table, recipe: Recipe, cursors: dict[str, str]) -> pa.Table:
    """The rows at or after their floor; notes the greatest cursor of each parent in *cursors*."""
    parents = table[_PARENT] if _PARENT in table.column_names else None
    table = table.drop_columns([_PARENT]) if parents is not None else table
    if recipe.cursor is None or not len(table):
        return table
    column = recipe.cursor.column(table)
    for parent in [""] if parents is None else pc.unique(parents).to_pylist():
        values = column if parents is None else column.filter(pc.equal(parents, parent))
        if (top := greatest(cursors.get(parent), values)) is not None:
            cursors[parent] = top
    if recipe.target.write != "append" or not recipe.floors:
        return table
    if parents is None:
        floor = recipe.floors.get("")
        return table.filter(pc.greater_equal(column, as_type(floor, column.type))) if floor else table
    named = parents.combine_chunks().dictionary_encode()
    floors = [recipe.floors.get(parent, recipe.floors.get("")) for parent in named.dictionary.to_pylist()]
    typed_floors = pa.array([floor and as_type(floor, column.type).as_py() for floor in floors], column.type)
    return table.filter(pc.fill_null(pc.greater_equal(column, typed_floors.take(named.indices)), fill_value=True))


def _ignored(table: pa.Table, recipe: Recipe) -> dict[str, int]:
    """How many rows are a day and more older than what was asked for; zones and days account for less."""
    cursor = recipe.cursor
    if cursor is None or cursor.kind != "instant" or cursor.name not in table.column_names or not recipe.asked_from:
        return {}
    with suppress(CursorError, pa.ArrowInvalid, ValueError):
        column = typed(table[cursor.name], "instant")
        asked = datetime.fromisoformat(recipe.asked_from) - timedelta(days=1)
        old = pc.sum(pc.less(column, as_type(asked.isoformat(), column.type))).as_py()
        told = f"older than {recipe.asked_from}, which was asked for: does the API know `since_param`?"
        return {told: old} if old else {}
    return {}
