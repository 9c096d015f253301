"""Times as text or numbers, to whole units since 1970 in UTC; nothing is guessed.

Text is ISO 8601 with its zone; text without one needs a declared zone. A local
time that a clock change skips is no time; one that comes twice is the first.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from pipelines.batch import Json, Real

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d(?::\d\d(?::\d\d)?)?)(?:(?<=:\d\d:\d\d)\.(\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - counted from without a zone, which is UTC here
FIRST_SECOND = int((datetime(1, 1, 1) - _EPOCH).total_seconds())  # noqa: DTZ001
LAST_SECOND = int((datetime(9999, 12, 31, 23, 59, 59) - _EPOCH).total_seconds())  # noqa: DTZ001


class Zoneless(ValueError):
    """The text names no zone and the column declares none."""


def day_of(text: str) -> int:
    """Days since 1970 of `2024-02-29`; raises ValueError."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError("is no date such as 2024-02-29")
    return (date.fromisoformat(text) - _EPOCH.date()).days


def instant_of(text: str, unit: str, zone: str | None) -> int:
    """Units since 1970 of an ISO time; raises ValueError for what is none or would lose digits."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("is no ISO time such as 2024-02-29T12:00:00Z")
    clock = match[2] or "00:00:00"
    local = datetime.fromisoformat(f"{match[1]}T{clock}")
    fraction = int((match[3] or "").ljust(9, "0"))
    seconds = int((local - _EPOCH).total_seconds()) - _offset(local, match[4], zone)
    return _in_unit(seconds * 10**9 + fraction, unit)


def instant_of_epoch(value: Json, epoch: str, unit: str) -> int:
    """Units since 1970 of a number of *epoch* units; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | Real):
        raise ValueError(f"is no number of {epoch} since 1970")
    if isinstance(value, Real) and abs(value) >= 1e21:  # before Decimal multiplies 1e1000000
        raise ValueError(f"is no instant in {epoch} since 1970")
    number = Decimal(value.text if isinstance(value, Real) else value) * (10**9 // PER_SECOND[epoch])
    if not number.is_finite() or abs(number) >= 10**21 or number != int(number):
        raise ValueError(f"is no instant in {epoch} since 1970")
    return _in_unit(int(number), unit)


def _offset(local: datetime, written: str | None, zone: str | None) -> int:
    if written == "Z":
        return 0
    if written:
        hours, minutes = int(written[1:3]), int(written[3:].lstrip(":") or 0)
        if hours > 23 or minutes > 59:
            raise ValueError("has an impossible offset")
        return (-1 if written[0] == "-" else 1) * (hours * 3600 + minutes * 60)
    if zone is None:
        raise Zoneless("names no time zone")
    try:
        aware = local.replace(tzinfo=ZoneInfo(zone))
        if aware.astimezone(UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None) != local:
            raise ValueError(f"does not exist in {zone}: the clock skips it")
    except OverflowError:
        raise ValueError("lies outside the years 1 to 9999") from None
    return int((aware.utcoffset() or timedelta()).total_seconds())


def _in_unit(nanoseconds: int, unit: str) -> int:
    if not FIRST_SECOND <= nanoseconds // 10**9 <= LAST_SECOND:
        raise ValueError("lies outside the years 1 to 9999")
    count, rest = divmod(nanoseconds, 10**9 // PER_SECOND[unit])
    if rest:
        raise ValueError(f"has more digits than {unit} hold")
    if not -(2**63) < count < 2**63:
        raise ValueError(f"lies outside what {unit} can count")
    return count
