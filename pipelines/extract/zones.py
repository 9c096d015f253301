"""What a written time names, and bounds in the time of a place for APIs that read times without zone.

Where a clock goes back, an hour comes twice and is written alike both times. Which
of the two an API means is unknown, so bounds keep out of that hour.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo

from pipelines.errors import CursorError

_NAMES_ZONE = re.compile(r"%:?z|Z|%s|UTC|GMT|[+-]\d\d:?\d\d$")
_SECOND = timedelta(seconds=1)


def instant(value: str, zone: tzinfo = UTC) -> datetime:
    """The instant that *value* names: a day begins at midnight, a time without zone is in *zone*.

    Raises:
        CursorError: *value* is no ISO date or time.
    """
    try:
        if value.isdigit() and len(value) != 8:
            raise ValueError
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return moment.replace(tzinfo=UTC)  # on the first and the last day of the calendar
    except ValueError:
        hint = "declare the cursor's column as timestamp, or set `incremental: {format: number}`"
        raise CursorError(f"the cursor value {value[:40]!r} is no ISO date or time", hint) from None


def is_local(layout: str) -> bool:
    """Whether a time in the format *layout* names no zone: a day, or a pattern without one."""
    return layout == "date" or ("%" in layout and _NAMES_ZONE.search(layout) is None)


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """*moment* by the clock of *zone*; by that of UTC on the first and the last day of the calendar."""
    try:
        return moment.astimezone(zone)
    except OverflowError:
        return moment.astimezone(UTC)


def before_repeated(moment: datetime, zone: tzinfo) -> datetime:
    """*moment*, or the last second before the times that come twice, where it is one of them."""
    found = _repeated(moment, zone)
    return found[0] - _SECOND if found else moment


def after_repeated(moment: datetime, zone: tzinfo) -> datetime:
    """*moment*, or the first after the times that come twice, where it is one of them."""
    found = _repeated(moment, zone)
    return found[1] if found else moment


def moved(moment: datetime, span: timedelta, zone: tzinfo) -> datetime:
    """*moment* moved on by *span* as the clock of *zone* shows it: by days to the same time of another day.

    Back to the first moment of the calendar at most.
    """
    try:
        return (in_zone(moment, zone) + span).astimezone(UTC)
    except OverflowError:
        if span > timedelta():
            raise
        return datetime.min.replace(tzinfo=UTC)


def midnight(moment: datetime, zone: tzinfo) -> datetime:
    """When the day of *moment* begins in *zone*; *moment*, where that is before the calendar."""
    try:
        return in_zone(moment, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)
    except OverflowError:
        return moment


def _repeated(moment: datetime, zone: tzinfo) -> tuple[datetime, datetime] | None:
    """From when to when the clock goes twice through the same times, where *moment* lies within."""
    local = in_zone(moment, zone)
    first, second = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    if first >= second:
        return None
    earlier, later, offset = first, second, first.astimezone(zone).utcoffset()
    while later - earlier > _SECOND:
        middle = earlier + (later - earlier) / 2
        if middle.astimezone(zone).utcoffset() == offset:
            earlier = middle
        else:
            later = middle
    turn = later.replace(microsecond=0)
    return turn - (second - first), turn + (second - first)
