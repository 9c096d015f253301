"""Whether the API lets us ask for what is new: parameters that filter by time.

Only tried where records have times, with a value that some sampled records lie
before and some after.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from pipelines.batch import Json
from pipelines.extract.watermark import Incremental
from pipelines.init.answers import Answer, Trial
from pipelines.init.names_of_rows import Clock
from pipelines.init.totals import total_of
from pipelines.transform.columns import Path

_ALWAYS = (
    "since",
    "updated_since",
    "modified_since",
    "updated_after",
    "modified_after",
    "changed_since",
    "updatedafter",
)
_TIMES = ("start_date", "from", "start", "starttime", "start_time", "after", "date_from", "from_date", "startDate")
_MADE = ("created_since", "created_after", "created_from", "createdAfter")
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_CLOCKS = 2
_FEWEST_LEFT = 3


class Since(Struct, frozen=True):
    """A parameter that filters, the column it filters by, and what shows it."""

    clock: Clock
    param: str
    format: str
    start: str
    why_param: str
    why_start: str
    question: str = ""


def find_since(trial: Trial, clocks: Sequence[Clock], used: Collection[str]) -> Since | None:
    """The first parameter that left out the older records and no others; *used* are those of paging.

    Filters in bodies have a shape that cannot be guessed: the file asks for them.
    """
    if trial.subject.posts:
        return None
    for clock in clocks[:_MOST_CLOCKS]:
        moments = sorted(set(clock.instants([_at(row, clock.guess.path) for row in trial.base.rows])))
        if len(moments) < 2 or trial.prober.left < _FEWEST_LEFT:
            continue
        middle = moments[len(moments) // 2]
        names = [name for name in _names(clock) if name not in used]
        for style in _styles(clock)[: 1 if trial.is_strict else None]:
            if found := _filters(trial, clock, middle, names, style):
                return found
            if not trial.is_strict and style == "iso":
                break  # nobody minded the names; another form of the value changes nothing
    return None


def _filters(trial: Trial, clock: Clock, middle: datetime, names: list[str], style: str) -> Since | None:
    asked = Incremental(cursor=clock.guess.name, start="1970-01-01", format=style).write(middle)
    floor, bound = middle.replace(microsecond=0), middle  # a record of that very moment may be left out or not
    if style == "date":
        floor = middle.replace(hour=0, minute=0, second=0, microsecond=0)
        bound = floor + timedelta(days=1, microseconds=-1)

    def works(answer: Answer) -> bool:
        moments = clock.instants([_at(row, clock.guess.path) for row in answer.rows])
        before = clock.instants([_at(row, clock.guess.path) for row in trial.base.rows])
        if not (moments and min(moments) >= floor and min(before) < floor):
            return False
        # and no others: of a filter by another time, such as that of creation, some of those would be missing
        dated = [(_moment(clock, row), mark) for row, mark in zip(trial.base.rows, trial.base.marks, strict=True)]
        later = {mark for moment, mark in dated if moment is not None and moment > bound}
        return later <= {*answer.marks}

    if not _older(trial, clock, floor):
        return None
    param = trial.effective(names, asked, works)
    if param is None:
        return None
    answer = trial.ask({param: asked}, "does it filter?")
    total = total_of(trial, answer)
    left = f"a total of {total.number:,} and no" if total else f"{len(answer.rows):,} records and no"
    why = f"{param}={asked} gave {left} older one; {_older(trial, clock, floor):,} of {trial.size:,} are older"
    start, why_start, question = _start(trial, clock, param, style)
    return Since(clock, param, style, start, why, why_start, question)


def _moment(clock: Clock, row: Mapping[str, Json]) -> datetime | None:
    return next(iter(clock.instants([_at(row, clock.guess.path)])), None)


def _start(trial: Trial, clock: Clock, param: str, style: str) -> tuple[str, str, str]:
    """Where the first run begins: in 1970 if the API then gives what it gives without the filter."""
    asked = Incremental(cursor=clock.guess.name, start="1970-01-01", format=style).write(_LONG_AGO)
    answer = trial.ask({param: asked}, "may the first run begin in 1970?")
    if answer.is_like(trial.base) and total_of(trial, answer) == total_of(trial, trial.base):
        return "1970-01-01", f"{param}={asked} gave the same records as without", ""
    oldest = min(clock.instants([_at(row, clock.guess.path) for row in trial.sample()]))
    question = f"`start`: {param}={asked} {answer.outcome}; how far back does the API go?"
    return oldest.date().isoformat(), "the oldest of the sampled records", question


def _older(trial: Trial, clock: Clock, floor: datetime) -> int:
    return sum(moment < floor for moment in clock.instants([_at(row, clock.guess.path) for row in trial.base.rows]))


def _styles(clock: Clock) -> list[str]:
    """How the bound may be written: as the records write it, then as a plain day."""
    return {"date": ["date", "iso"], "iso": ["iso", "date"]}.get(clock.format, [clock.format, "iso"])


def _names(clock: Clock) -> list[str]:
    leaf = str(clock.guess.path[-1])
    stem = leaf.removesuffix("_at").removesuffix("_on").removesuffix("_date").removesuffix("At").removesuffix("Date")
    own = [
        f"{stem}_since",
        f"{stem}_after",
        f"{leaf}_after",
        f"{leaf}_gte",
        f"{leaf}[gte]",
        f"{leaf}_min",
        f"min_{leaf}",
    ]
    own += [f"{stem}After", f"{stem}Since", f"{stem}after", f"{leaf}_from", f"{leaf}_since", f"{stem}_from"]
    rest = (*_ALWAYS, *_TIMES) if clock.is_revised else (*_ALWAYS[:1], *_MADE, *_TIMES)
    first = [own[0], _ALWAYS[0], own[1]]
    return list(dict.fromkeys([*first, *own, *rest]))


def _at(row: Mapping[str, Json], path: Path) -> Json:
    value: Json = row
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value
