"""What tells one record from another, and what tells a new one from an old one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Literal

from msgspec import Struct

from pipelines.batch import Json
from pipelines.extract.zones import instant
from pipelines.init.types import Guess

_KEYS = ("id", "uuid", "guid", "_id", "key", "code", "sku", "number", "slug", "iso3", "iso2", "symbol", "name")
_REVISED = re.compile(r"(updated|modified|changed|revised|last_?(edit|mod|change|update))", re.I)
_MADE = re.compile(
    r"(created|added|inserted|published|ordered|placed|started|opened|occurred|time|date|timestamp|^ts$|_at$)", re.I
)
_PARTLY = re.compile(r"(_id|_code|id|code|date|day|year|month|currency|country|name|type|hour)$", re.I)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_OPTIONS = 8
_FEWEST = 3

Format = Literal["iso", "date", "epoch_s", "epoch_ms"]


class Key(Struct, frozen=True):
    """Columns that no two sampled records share; empty where there are none."""

    columns: tuple[str, ...]
    why: str
    others: tuple[str, ...] = ()


class Clock(Struct, frozen=True):
    """A column of times that may say how new a record is."""

    guess: Guess
    format: Format
    is_revised: bool
    why: str

    def instants(self, values: Sequence[Json]) -> list[datetime]:
        """*values* as instants; nulls are left out."""
        return [self.instant(value) for value in values if value not in (None, "")]

    def instant(self, value: Json) -> datetime:
        """One value as an instant."""
        if isinstance(value, int | float):
            per_second = {"epoch_s": 1, "epoch_ms": 1000}[self.format]
            return _EPOCH + timedelta(seconds=value / per_second)
        return instant(str(value))


def find_key(columns: Sequence[Guess], records: int, resource: str) -> Key:
    """The likeliest key: one column by its name, or else the fewest columns that differ together."""
    fit = [one for one in columns if _identifies(one)]
    unique = [one for one in fit if len({str(value) for value in one.values}) == records]
    ranked = sorted(unique, key=lambda one: _rank(one.name, resource))
    ranked = [one for one in ranked if _rank(one.name, resource) < len(_KEYS) + 2]
    if ranked:
        others = tuple(one.name for one in ranked[1:4])
        return Key((ranked[0].name,), f"{records:,} of {records:,} records have it, all different", others)
    partly = [one for one in fit if _PARTLY.search(one.name)][:_MOST_OPTIONS]
    for count in (2, 3):
        for some in combinations(partly, count):
            if records >= _FEWEST and len(set(zip(*(map(str, one.values) for one in some), strict=True))) == records:
                names = tuple(one.name for one in some)
                return Key(names, f"no column differs in all {records:,} records; these together do")
    if moments := [one for one in unique if one.is_time]:
        return Key((moments[0].name,), f"{records:,} of {records:,} records have it, all different")
    return Key((), f"no column is known and different in all {records:,} records")


def find_clocks(columns: Sequence[Guess]) -> list[Clock]:
    """Columns of times, the likeliest to say how new a record is first."""
    timed = [one for one in columns if one.is_time and len(one.known) == len(one.values) and one.known]
    ranked = sorted(timed, key=lambda one: (not _REVISED.search(one.name), not _MADE.search(one.name)))
    return [clock for one in ranked if (clock := _clock(one)) is not None]


def made_at(clocks: Sequence[Clock]) -> Clock | None:
    """The column of times that does not change later; by it files are partitioned."""
    return next((clock for clock in clocks if not clock.is_revised), None)


def _clock(guess: Guess) -> Clock | None:
    kind = guess.type or ""
    if kind.endswith("epoch_us"):
        return None
    style: Format = "epoch_s" if kind.endswith("epoch_s") else "epoch_ms" if kind.endswith("epoch_ms") else "iso"
    style = "date" if kind == "date" else style
    clock = Clock(guess, style, bool(_REVISED.search(guess.name)), "")
    moments = clock.instants(guess.values)
    order = "not in order"
    if moments == sorted(moments):
        order = "growing from record to record"
    elif moments == sorted(moments, reverse=True):
        order = "falling from record to record"
    return Clock(guess, style, clock.is_revised, f"{len(moments):,} times, {order}")


def _identifies(guess: Guess) -> bool:
    """Whether a column could be (part of) a key: known in every record, and no measurement."""
    if guess.type not in ("string", "int64", "date") and not (guess.type or "").startswith("decimal(38"):
        return guess.is_time and len(guess.known) == len(guess.values)
    return len(guess.known) == len(guess.values) and len(guess.path) <= 2


def _rank(name: str, resource: str) -> int:
    """How much a name sounds like a key; smaller is more."""
    if name in _KEYS[:3]:
        return _KEYS.index(name)
    single = resource.removesuffix("s")
    if name in (f"{single}_id", f"{resource}_id", f"{single}_key", f"{single}_code", f"{single}_uuid"):
        return 3
    if name in _KEYS:
        return 3 + _KEYS.index(name)
    return len(_KEYS) + (1 if re.search(r"_(id|uuid|key|code)$", name) else 9)
