"""Column types from all sampled records: what every value of a field fits, and why.

Nested objects become columns by their paths; lists of objects and fields whose
values are of several kinds are kept as JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from pipelines.batch import Json
from pipelines.init.located import joined
from pipelines.transform.columns import Path
from pipelines.transform.plan import column_name
from pipelines.transform.times import day_of, instant_of

_FRACTION = re.compile(r"T\d\d:\d\d:\d\d\.(\d+)")
_TIME_START = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d")
_ZONE = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DECIMAL = re.compile(r"-?(?:0|[1-9]\d*)\.(\d+)", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,17})", re.ASCII)
_REAL = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_TIMELY = re.compile(
    r"(time|date|_at$|At$|_on$|updated|created|modified|changed|timestamp|^ts$|_ts$|since|until|expires)", re.I
)
_EPOCHS = (("s", 10**8, 10**10), ("ms", 10**11, 10**13), ("us", 10**14, 10**16))
_ONE_KIND: dict[frozenset[type], str] = {
    frozenset({kind}): word for kind, word in ((str, "string"), (bool, "bool"), (int, "int64"), (float, "float64"))
}
_WORDS = {bool: "true and false", int: "numbers", float: "numbers", str: "text", dict: "objects", list: "lists"}
_DEEPEST = 3
_MOST_FIELDS = 60
_IN_COMMON = 0.5  # share of an object's fields that the objects of other records have, too
_DIGITS = 18


class Guess(Struct, frozen=True):
    """One column as the sample suggests it."""

    name: str
    path: Path
    type: str | None
    why: str
    values: Sequence[Json]
    zone: str | None = None
    question: str = ""

    @property
    def source(self) -> str | None:
        """What `from` has to say; None where the column's name finds the field."""
        if len(self.path) == 1 and column_name(str(self.path[0])) == self.name:
            return None
        text = ""
        for step in self.path:
            text = joined(text, step)
        return text

    @property
    def is_time(self) -> bool:
        """Whether it holds points in time."""
        return self.type is not None and self.type.startswith(("timestamp", "date"))

    @property
    def known(self) -> list[Json]:
        """The values that are not null."""
        return [value for value in self.values if value is not None and value != ""]


def guesses(records: Sequence[dict[str, Json]], *, as_text: bool = False) -> list[Guess]:
    """The columns of *records*; with *as_text* (CSV) every value is text and numbers are read from it."""
    found: list[Guess] = []
    taken: set[str] = set()
    for path, values in _fields(records, (), 0):
        name = column_name("_".join(map(str, path)))
        if name.casefold() in taken:
            continue
        taken.add(name.casefold())
        found.append(_guess(name, path, values, as_text=as_text))
    return found


def _fields(records: Sequence[dict[str, Json]], above: Path, depth: int) -> Iterator[tuple[Path, list[Json]]]:
    """Each field's path and its values, in the order of first appearance."""
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record.get(name) for record in records]
        objects = [value for value in values if isinstance(value, dict)]
        others = any(value is not None and not isinstance(value, dict) for value in values)
        inner = {key for value in objects for key in value}
        alike = sum(map(len, objects)) >= _IN_COMMON * len(inner) * len(objects)
        if inner and not others and depth < _DEEPEST and len(inner) <= _MOST_FIELDS and alike:
            yield from _fields([value or {} for value in values], (*above, name), depth + 1)
        else:
            yield (*above, name), values


def _guess(name: str, path: Path, values: list[Json], *, as_text: bool) -> Guess:
    known = [value for value in values if value is not None and not (as_text and value == "")]
    count = f"{len(known):,} of {len(values):,} records have it"
    kinds = frozenset(map(type, known))
    if not known:
        question = f"`{name}` is null in all {len(values):,} records: which type has it?"
        return Guess(name, path, None, count, values, question=question)
    guess = Guess(name, path, _ONE_KIND.get(kinds, "json"), count, values)
    if kinds == {str} and as_text:
        return _of_numbers_in_text(guess, known)
    of_kind = {str: _of_texts, int: _of_integers, list: _of_lists}
    if len(kinds) == 1 and (narrow := of_kind.get(next(iter(kinds)))):
        return narrow(guess, known)
    if kinds == {int, float}:
        whole = sum(isinstance(value, int) for value in known)
        return _typed(guess, "float64", f"{whole:,} whole numbers and {len(known) - whole:,} with fractions")
    if kinds == {dict}:
        return _typed(guess, "json", "objects, kept as they are")
    words = ", ".join(sorted(_WORDS[kind] for kind in kinds))
    return guess if kinds in _ONE_KIND else _typed(guess, "json", f"values of several kinds: {words}")


def _of_integers(guess: Guess, known: Sequence[Json]) -> Guess:
    lowest, highest = min(known), max(known)
    if not -(2**63) <= lowest <= highest < 2**63:
        return _typed(guess, "decimal(38,0)", "too large for int64")
    for unit, least, most in _EPOCHS:
        if least <= lowest and highest < most and _TIMELY.search(str(guess.path[-1])):
            return _typed(
                guess,
                f"timestamp({unit}) from epoch_{unit}",
                f"numbers of {len(str(highest))} digits: {unit} since 1970",
            )
    if _EPOCHS[1][1] <= lowest and highest < 4 * 10**12:
        question = f"`{guess.name}`: are these milliseconds since 1970? Then say `timestamp(ms) from epoch_ms`"
        return replace(guess, question=question)
    return guess


def _of_texts(guess: Guess, known: list[str]) -> Guess:
    if all(map(_is_day, known)):
        return _typed(guess, "date", "all are days such as 2024-02-29")
    if all(_TIME_START.match(text) for text in known) and (zoned := _zoned(known)) is not None:
        return _timed(guess, known, zoned=zoned)
    matches = [match for text in known if (match := _DECIMAL.fullmatch(text))]
    digits = max(len(text.strip("-")) - 1 for text in known)
    if len(matches) == len(known) and digits <= _DIGITS:
        scale = max(len(match[1]) for match in matches)
        return _typed(guess, f"decimal({_DIGITS},{scale})", f"text with at most {scale} digits behind the point")
    return guess


def _of_numbers_in_text(guess: Guess, known: list[str]) -> Guess:
    """The type of a CSV's column, whose values are all text."""
    if all(_INTEGER.fullmatch(text) for text in known):
        return _typed(guess, "int64", "all are whole numbers")
    if all(_REAL.fullmatch(text) for text in known):
        return _typed(guess, "float64", "all are numbers")
    return _of_texts(guess, known)


def _timed(guess: Guess, known: list[str], *, zoned: bool) -> Guess:
    digits = max((len(match[1]) for text in known if (match := _FRACTION.search(text))), default=0)
    unit = "timestamp" if digits <= 6 else "timestamp(ns)"
    timed = _typed(guess, unit, "ISO times" + (f" with {digits} digits of a second" if digits else ""))
    if zoned:
        return timed
    question = f"`{guess.name}` names no time zone: is it UTC?"
    return replace(timed, zone="UTC", question=question)


def _of_lists(guess: Guess, known: Sequence[Json]) -> Guess:
    items = [item for value in known for item in value if item is not None]
    kinds = {type(item) for item in items}
    word = {frozenset({str}): "string", frozenset({int}): "int64", frozenset({bool}): "bool"}.get(frozenset(kinds))
    if kinds and kinds <= {int, float} and not word:
        word = "float64"
    return (
        _typed(guess, f"list<{word}>", "lists of one kind")
        if word
        else _typed(guess, "json", "lists, kept as they are")
    )


def _typed(guess: Guess, kind: str, why: str) -> Guess:
    return replace(guess, type=kind, why=f"{guess.why}; {why}")


def _is_day(text: str) -> bool:
    try:
        return bool(_DATE.fullmatch(text)) and isinstance(day_of(text), int)
    except ValueError:
        return False


def _zoned(texts: list[str]) -> bool | None:
    """Whether all of *texts* name a zone; None where one is no time, or some do and some do not."""
    try:
        for text in texts:
            instant_of(text, "ns", "UTC")
    except ValueError:
        return None
    told = {bool(_ZONE.search(text)) for text in texts}
    return told.pop() if len(told) == 1 else None
