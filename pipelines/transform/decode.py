"""Pages of JSON, lines or CSV into one Arrow table: fast where it can, exact always.

A page is first tried by a decoder made for the columns known so far
(`fast.py`). What that refuses is read value by value (`exact.py`), which
defines the result, and whatever it teaches widens the plan for the pages after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from pipelines.batch import Json
from pipelines.errors import DecodeError, PipelineError
from pipelines.transform.alike import Buffer
from pipelines.transform.columns import Shape
from pipelines.transform.exact import ExactPage, Reject, columns_of, read_exactly, records_of, type_of
from pipelines.transform.exact_json import exact, json_text, parse_json
from pipelines.transform.fast import decoder_for
from pipelines.transform.places import Form
from pipelines.transform.plan import Plan, Reading, first_plan
from pipelines.transform.settle import array_of, emitted

REJECTS = pa.schema([("record", pa.string()), ("column", pa.string()), ("reason", pa.string())])
_BOM = b"\xef\xbb\xbf"
_EMPTY = b"[]"
_SAMPLE = 100
_TOGETHER_BYTES = 1_000_000
"""Pages are read together until they have so much: more would not fit beside their values into a processor's cache."""


class Decoded(Struct, frozen=True):
    """The rows, the records set aside (None where there are none), and which path the pages took."""

    table: pa.Table
    rejects: pa.Table | None
    fast_pages: int
    exact_pages: int


class _Pages(Struct):
    """What has been read of a slice so far."""

    columns: list[tuple[dict[str, pa.Array], int]] = field(default_factory=list)
    """Those of a page, or of some that were read together, and how many rows they have."""
    rows: list[int] = field(default_factory=list)
    """Of each page."""
    rejects: list[Reject] = field(default_factory=list)
    fast: int = 0
    form: Form | None = None
    """How the records of the last page were written, if they were all alike."""

    def add(self, columns: dict[str, pa.Array], rows: list[int], *, fast: bool = False) -> None:
        """Note what was read of one page, or of several together."""
        self.columns.append((columns, sum(rows)))
        self.rows += rows
        self.fast += len(rows) * fast


class _Wider(Exception):
    """Pages read before a column widened have lost what the wider type would have kept."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan


def decode(
    pages: Sequence[tuple[bytes, Mapping[str, Json]]],
    shape: Shape,
    known: pa.Schema | None = None,
    *,
    fast: bool = True,
) -> Decoded:
    """The records of *pages* as one table, in order; each page's carry becomes columns.

    *known* is the dataset's schema of the last commit: undeclared columns start
    from its types. The result is the same with *fast* and without. Errors of one page
    tell in `page` which of *pages* it was.

    Raises:
        DecodeError: A page is not what `format` says, or its text is broken.
        RecordsMissing: A page has no records where `records` points.
        TypeConflict: A value does not fit its column, and the policy says fail.
        SchemaError: Two fields would share a column, or a new field is to fail.
        ConfigError: A time names no zone, and its column declares none.
    """
    names = list(dict.fromkeys(name for _, carry in pages for name in carry))
    parents = _parents([carry for _, carry in pages], names, shape)
    plan = first_plan(shape, known, frozenset(names))
    bodies = [b"" if page in parents.rejects else body for page, (body, _) in enumerate(pages)]
    while True:
        try:
            read, final = _read(bodies, shape, plan, fast=fast)
            table = _joined(read, final)
        except _Wider as wider:
            plan = wider.plan
            continue
        except RecursionError:
            raise DecodeError("a record is nested too deeply", "point `records` at the rows") from None
        table = _with_carry(table, read.rows, parents, names)
        rejects = [*read.rejects, *_of_parents_set_aside(pages, shape, final, parents)]
        return Decoded(table, _rejected(rejects), read.fast, len(pages) - read.fast)


def _read(bodies: Sequence[bytes], shape: Shape, plan: Plan, *, fast: bool) -> tuple[_Pages, Plan]:
    read = _Pages()
    waiting: list[tuple[bytes, Buffer]] = []
    for body in bodies:
        array = _array_of_records(body, shape) if fast else None
        if array is None:
            plan = _read_waiting(waiting, shape, plan, read)
            plan = _read_exactly(body, shape, plan, read)
            continue
        waiting.append((body, array))
        if sum(len(one) for _, one in waiting) >= _TOGETHER_BYTES:
            plan = _read_waiting(waiting, shape, plan, read)
    return read, _read_waiting(waiting, shape, plan, read)


def _read_waiting(waiting: list[tuple[bytes, Buffer]], shape: Shape, plan: Plan, read: _Pages) -> Plan:
    """Read pages that *waiting* holds beside their arrays, all at once if that works, and let it be empty."""
    arrays = [array for _, array in waiting]
    taken = not arrays or _read_together(arrays, plan, read)
    guess = plan
    if not taken and not read.rows:
        guess = _sampled(arrays[0], shape, plan)
        taken = _read_together(arrays, guess, read)
        plan = guess if taken else plan
    if not taken:
        for body, array in waiting:
            guess = plan = _read_one(body, array, shape, plan, read, guess=guess)
    waiting.clear()
    return plan


def _read_together(arrays: list[Buffer], plan: Plan, read: _Pages) -> bool:
    """Read several pages at once; False where they must be read one by one."""
    decoder = decoder_for(plan)
    if decoder is None:
        return False
    alike = decoder.read_alike(arrays, read.form) or (decoder.read_alike(arrays) if read.form else None)
    read.form = alike and alike.form
    together = alike or (decoder.read_together(list(map(bytes, arrays))) if len(arrays) > 1 else None)
    if together is None:
        return False
    read.add(together[0], together[1], fast=True)
    return True


def _read_one(  # noqa: PLR0913  # a page in both forms, and by what it is read
    body: bytes, array: Buffer, shape: Shape, plan: Plan, read: _Pages, *, guess: Plan
) -> Plan:
    """Read a page by *guess*; if it does not hold for the whole page, exactly, by what the pages before taught."""
    decoder = decoder_for(guess)
    taken = decoder.read(bytes(array)) if decoder else None
    if taken is None:
        return _read_exactly(body, shape, plan, read)
    read.add(taken[0], [taken[1]], fast=True)
    return guess


def _read_exactly(body: bytes, shape: Shape, plan: Plan, read: _Pages) -> Plan:
    try:
        page = read_exactly(body, shape, plan)
    except PipelineError as error:
        error.page = len(read.rows)
        raise
    read.add(page.columns, [page.rows])
    read.rejects += page.rejects.values()
    return page.plan


def _sampled(array: Buffer, shape: Shape, plan: Plan) -> Plan:
    """What the first records teach, so that not even the first page need be read exactly."""
    try:
        texts = msgspec.json.decode(array, type=list[msgspec.Raw])[:_SAMPLE]
        records = [parse_json(bytes(text), unique=plan.unique) for text in texts]
        if not all(isinstance(record, dict) for record in records):
            return plan
        return columns_of(records, shape.on_mismatch, plan).plan
    except (msgspec.MsgspecError, RecursionError, PipelineError):
        return plan  # the exact path meets it again, and says what is wrong


def _array_of_records(body: bytes, shape: Shape) -> Buffer | None:
    """The page as one raw JSON array, where it has one."""
    body = body.removeprefix(_BOM)
    if shape.format == "json":
        return shape.records.slice(body) if body.strip() else _EMPTY
    if shape.format == "ndjson" and shape.records.path == "@":
        return b"[" + b",".join(line for line in body.split(b"\n") if line.strip()) + b"]"
    return None


def _joined(read: _Pages, plan: Plan) -> pa.Table:
    """The pages' columns one below the other, each in its final type."""
    arrays = []
    readings = [reading for reading in plan.readings if not _opened(reading, plan)]
    for reading in readings:
        kind = type_of(reading)
        chunks = [
            _as_final(columns.get(reading.name), rows, kind, plan, reading.name) for columns, rows in read.columns
        ]
        arrays.append(pa.chunked_array(chunks, kind))
    return pa.Table.from_arrays(arrays, names=[reading.name for reading in readings])


def _opened(reading: Reading, plan: Plan) -> bool:
    """Whether it is only the place of an object whose fields are the columns."""
    empty = reading.declared is None and pa.types.is_null(type_of(reading)) and reading.name not in plan.declared
    depth = len(reading.path)
    return empty and any(path[:depth] == reading.path and len(path) > depth for path in plan.paths)


def _as_final(array: pa.Array | None, rows: int, kind: pa.DataType, plan: Plan, name: str) -> pa.Array:
    """One page's column in its final type; `_Wider` where only reading the page again can give it."""
    if array is None or (array.type != kind and array.null_count == rows):
        return pa.nulls(rows, kind)
    if array.type == kind:
        return array
    if emitted(array.type) == kind:
        return array_of(array.to_pylist(), kind)
    counted = pa.types.is_integer(array.type) or pa.types.is_boolean(array.type)
    if not counted or pa.types.is_nested(kind):
        raise _Wider(plan)
    try:
        return array.cast(kind, safe=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _Wider(plan.widen(name, pa.string())) from None


def _parents(carries: Sequence[Mapping[str, Json]], names: Sequence[str], shape: Shape) -> ExactPage:
    """The columns *names*, with a value for each page: what all its rows get from their parent."""
    declared = {name: column for name, column in shape.columns.items() if name in names and not column.source}
    plan = first_plan(Shape(columns=declared, on_mismatch=shape.on_mismatch), None)
    records = [{name: exact(value) for name, value in carry.items()} for carry in carries]
    return columns_of(records, shape.on_mismatch, replace(plan, rename=tuple((name, name) for name in names)))


def _with_carry(table: pa.Table, rows: Sequence[int], parents: ExactPage, names: Sequence[str]) -> pa.Table:
    """*table* with the columns *names* of *parents*, each value for all rows of its page."""
    if not names:
        return table
    kept = [count for page, count in enumerate(rows) if page not in parents.rejects]
    places = pa.array([place for place, count in enumerate(kept) for _ in range(count)], pa.int64())
    for name in names:
        table = table.append_column(name, pc.take(parents.columns[name], places))
    return table


def _of_parents_set_aside(
    pages: Sequence[tuple[bytes, Mapping[str, Json]]], shape: Shape, plan: Plan, parents: ExactPage
) -> Iterator[Reject]:
    """The records of pages whose parent has a value that does not fit."""
    for page, reject in parents.rejects.items():
        try:
            records = records_of(pages[page][0], shape, unique=plan.unique)
        except PipelineError as error:
            error.page = page
            raise
        yield from (replace(reject, record=json_text(record)) for record in records)


def _rejected(rejects: Sequence[Reject]) -> pa.Table | None:
    if not rejects:
        return None
    rows = [{name: _escaped(text) for name, text in asdict(one).items()} for one in rejects]
    return pa.Table.from_pylist(rows, schema=REJECTS)


def _escaped(text: str) -> str:
    """*text* with halves of surrogate pairs, which no UTF-8 has, as JSON writes them."""
    return text.encode("utf-8", "backslashreplace").decode()
