"""Pages read by a decoder made for their columns: as bytes where records are alike, else msgspec checks each type.

The decoder takes a page only if every field is known and every value is of its
column's kind; anything else is refused, and `exact.py` reads the page. Nothing
is rounded, cut or made null on the way: strictness is why `alike.py` and msgspec
and not Polars or pyarrow.json, which are measured in `benchmarks/decode.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from msgspec import UNSET, Raw, Struct
from msgspec.structs import astuple

from pipelines.errors import DecodeError, SchemaError
from pipelines.transform.alike import Buffer, read_alike
from pipelines.transform.convert import Misfit, converter
from pipelines.transform.exact import array_for, fields_in, values_of
from pipelines.transform.exact_json import parse_json
from pipelines.transform.finish import Refused, carrier, finished
from pipelines.transform.packing import plain_array
from pipelines.transform.places import Form, Unlike
from pipelines.transform.plan import Plan, Reading
from pipelines.transform.settle import settle
from pipelines.transform.times import Zoneless
from pipelines.transform.words import word_of

_KEY_END = int.from_bytes(b'":', "little")
_ODD = re.compile(r'[\x00-\x1f"\\]')
_REFUSALS = (
    Refused,
    Misfit,
    Zoneless,
    DecodeError,
    SchemaError,
    pa.ArrowException,
    OverflowError,
    UnicodeError,
    RecursionError,
)


class _Node(Struct, frozen=True):
    """An object's fields: scalar columns, objects with columns in them, or raw JSON for several columns."""

    names: tuple[str, ...]
    fields: tuple[_Node | Reading | tuple[Reading, ...], ...]


class _Scalars(Struct, frozen=True):
    """By the path of its field: what its values are to be, and the column with its type before times are read."""

    words: Mapping[tuple[str, ...], Any]
    columns: Mapping[tuple[str, ...], tuple[Reading, pa.DataType]]


class Alike(NamedTuple):
    """Pages whose records are written alike: their columns, the rows of each, and how they are written."""

    columns: dict[str, pa.Array]
    rows: list[int]
    form: Form


class Decoder(Struct, frozen=True):
    """The decoders of one plan; cached, because making them takes about a millisecond."""

    plan: Plan
    root: _Node
    whole: msgspec.json.Decoder[list[Any]]
    """For pages where each record has each field."""
    gaps: msgspec.json.Decoder[list[Any]]
    """For pages where records leave fields out."""
    several: msgspec.json.Decoder[list[Any]]
    """For pages one after the other, a null between two, where each record has each field."""
    scalars: _Scalars | None
    """None where a column takes more of a record than one scalar."""

    def read_alike(self, pages: Sequence[Buffer], form: Form | None = None) -> Alike | None:
        """Several JSON arrays whose records are all written alike (of *form*, if it is known), or None."""
        if self.scalars is None:
            return None
        try:
            found, rows, form = read_alike(pages, self.scalars.words, form)
            columns = {
                one.name: finished(one, _cast(found[path], kind)) for path, (one, kind) in self.scalars.columns.items()
            }
        except (Unlike, *_REFUSALS):
            return None
        return Alike(columns, rows, form)

    def read(self, page: bytes) -> tuple[dict[str, pa.Array], int] | None:
        """The columns and the number of records of a JSON array, or None: then read it exactly."""
        try:
            if not self.plan.unique and not page.isascii():
                page.decode()
            records, gaps = self._records(page)
            keys = _Keys(gaps)
            columns = dict(_columns(self.root, records, self.plan, keys))
            if self.plan.unique and keys.count != _keys_in(page):
                return None  # a field came twice in one object, or keys are not written as `"name":`
        except _REFUSALS:
            return None
        return columns, len(records)

    def read_together(self, pages: Sequence[bytes]) -> tuple[dict[str, pa.Array], list[int]] | None:
        """The columns of several JSON arrays and the records of each, or None: then read them one by one.

        The nulls between them must come out again where they were put: a page that
        is damaged, or has nulls of its own, is not healed by its neighbours.
        """
        inner = [page[1:-1] for page in map(bytes.strip, pages) if page[:1] + page[-1:] == b"[]"]
        joined = b"[%b]" % b",null,".join(inner)
        try:
            if len(inner) != len(pages) or not (self.plan.unique or joined.isascii()):
                return None
            found = self.several.decode(joined)
            between = [place for place, record in enumerate(found) if record is None]
            if len(between) != len(pages) - 1:
                return None
            ends = [*between, len(found)]
            rows = [end - begin for begin, end in zip([0, *(place + 1 for place in between)], ends, strict=True)]
            records = [record for record in found if record is not None]
            keys = _Keys(gaps=False)
            columns = dict(_columns(self.root, records, self.plan, keys))
            if self.plan.unique and keys.count != _keys_in(joined):
                return None
        except (*_REFUSALS, msgspec.MsgspecError):
            return None
        return columns, rows

    def _records(self, page: bytes) -> tuple[list[Any], bool]:
        """The records, and whether some leave fields out."""
        for decoder in (self.whole, self.gaps):
            try:
                return decoder.decode(page), decoder is self.gaps
            except msgspec.ValidationError:
                continue
            except (msgspec.MsgspecError, UnicodeError) as error:
                raise Refused from error
        raise Refused


@lru_cache(maxsize=64)
def decoder_for(plan: Plan) -> Decoder | None:
    """The decoder for the columns of *plan*; None where a field has a name that msgspec does not take."""
    if any(_ODD.search(str(step)) for reading in plan.readings for step in reading.path):
        return None
    root = _node(plan.readings)
    strict = not plan.ignores
    whole, gaps = _struct(root, strict, False), _struct(root, strict, True)
    one, other, several = (msgspec.json.Decoder(_list_of(item)) for item in (whole, gaps, whole | None))
    return Decoder(plan, root, one, other, several, _scalars_of(root))


def _list_of(item: Any) -> Any:
    return list[item]


class _Keys:
    """How many keys the decoded part of a page must have."""

    def __init__(self, gaps: bool) -> None:
        self.gaps = gaps
        self.count = 0


def _node(readings: Sequence[Reading], depth: int = 0) -> _Node:
    groups: dict[str, list[Reading]] = {}
    for reading in readings:
        groups.setdefault(str(reading.path[depth]), []).append(reading)
    return _Node(tuple(groups), tuple(_field(group, depth + 1) for group in groups.values()))


def _field(group: list[Reading], depth: int) -> _Node | Reading | tuple[Reading, ...]:
    """One scalar, an object of scalars, or raw JSON that is taken apart value by value."""
    if len(group) == 1 and len(group[0].path) == depth and word_of(group[0]) is not Raw:
        return group[0]
    nested = all(
        len(one.path) > depth and word_of(one) is not Raw and not any(isinstance(step, int) for step in one.path)
        for one in group
    )
    node = _node(group, depth) if nested else None
    return node if node and not any(isinstance(below, tuple) for below in node.fields) else tuple(group)


def _scalars_of(root: _Node) -> _Scalars | None:
    if not _is_of_scalars(root):
        return None
    found = dict(_scalars(root))
    words = {path: word_of(one) for path, one in found.items()}
    return _Scalars(words, {path: (one, carrier(one)) for path, one in found.items()})


def _is_of_scalars(node: _Node) -> bool:
    return all(isinstance(one, Reading) or (isinstance(one, _Node) and _is_of_scalars(one)) for one in node.fields)


def _scalars(node: _Node, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Reading]]:
    for name, field in zip(node.names, node.fields, strict=True):
        if isinstance(field, Reading):
            yield (*above, name), field
        elif isinstance(field, _Node):
            yield from _scalars(field, (*above, name))


def _struct(node: _Node, strict: bool, optional: bool) -> Any:
    fields = []
    for index, field in enumerate(node.fields):
        word = _struct(field, strict, optional) if isinstance(field, _Node) else Raw
        word = word_of(field) if isinstance(field, Reading) else word
        word = word if word in (Raw, None) else word | None
        fields.append((f"c{index}", word, UNSET) if optional else (f"c{index}", word))
    names = {f"c{index}": name for index, name in enumerate(node.names)}
    return msgspec.defstruct("Fields", fields, forbid_unknown_fields=strict, rename=names, gc=False)


def _columns(node: _Node, records: list[Any], plan: Plan, keys: _Keys) -> Iterator[tuple[str, pa.Array]]:
    """The columns below *node*, one value for each of *records*."""
    keys.count += len(records) * len(node.names)
    width = len(node.names)
    flat = list(chain.from_iterable(map(astuple, records)))
    for index, (name, field) in enumerate(zip(node.names, node.fields, strict=True)):
        values = flat[index::width]
        if keys.gaps and (missing := values.count(UNSET)):
            if missing == len(values) and not plan.unique:
                raise Refused  # the field may go by another spelling, which only the exact path looks for
            keys.count -= missing
            values = [None if value is UNSET else value for value in values]
        if isinstance(field, Reading):
            yield field.name, _array(field, values)
        elif isinstance(field, _Node):
            yield from _below(field, values, plan, keys)
        else:
            yield from _taken_apart(name, field, values, plan, keys)


def _below(node: _Node, values: Sequence[Any], plan: Plan, keys: _Keys) -> Iterator[tuple[str, pa.Array]]:
    """The columns inside an object that some records may not have."""
    present = [value for value in values if value is not None]
    if len(present) == len(values):
        yield from _columns(node, present, plan, keys)
        return
    count = iter(range(len(values)))
    places = pa.array([None if value is None else next(count) for value in values], pa.int64())
    for name, array in _columns(node, present, plan, keys):
        yield name, array.take(places)


def _taken_apart(
    name: str, readings: tuple[Reading, ...], values: Sequence[Raw | None], plan: Plan, keys: _Keys
) -> Iterator[tuple[str, pa.Array]]:
    """The columns inside raw JSON, as the exact path reads them."""
    unique = plan.unique
    texts = [b"null" if value is None else bytes(value) for value in values]
    keys.count += sum(map(_keys_in, texts)) if unique else 0
    depth = next(index for index, step in enumerate(readings[0].path) if step == name)
    above = readings[0].path[:depth]
    records: list[Any] = [{name: parse_json(text, unique=unique)} for text in texts]
    for step in reversed(above):
        records = [{step: record} for record in records]
    whole = len(readings) == 1 and len(readings[0].path) == depth + 1 and not plan.flatten
    if not whole and plan.learn(fields_in(records, plan)) is not plan:
        raise Refused
    for reading in readings:
        found = values_of(records, reading, plan)
        if reading.declared is not None:
            found = list(map(converter(reading.declared, reading.zone), found))
        elif settle(reading.settled, found) != reading.settled:
            raise Refused
        yield reading.name, array_for(reading, found)


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type == kind else array.cast(kind)


def _array(reading: Reading, values: Sequence[Any]) -> pa.Array:
    """Values that msgspec has checked as the column's type; `Refused` or an Arrow error where they may not fit."""
    return finished(reading, plain_array(values, carrier(reading)))


def _keys_in(text: bytes) -> int:
    """How often `":` stands in *text*: once for each key, as long as no string holds it."""
    even = np.frombuffer(text, "<u2", len(text) // 2)
    odd = np.frombuffer(text, "<u2", (len(text) - 1) // 2, 1) if len(text) > 2 else even[:0]
    return int(np.count_nonzero(even == _KEY_END) + np.count_nonzero(odd == _KEY_END))
