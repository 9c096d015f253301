"""When a source is due: `{cron: "15 * * * *", timezone: Europe/Madrid}`.

Kept as text for the scheduler; only checked here, so that a mistake shows at
`check` and not when a deployment is made.
"""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from pipelines.values import Seconds, Value

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_ITEM = re.compile(r"^(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?$")


class Schedule(Value):
    """Exactly one of `cron`, `interval` and `rrule`, read in `timezone`."""

    cron: str | None = Field(None, description="five fields: minute, hour, day of month, month, day of week")
    interval: Seconds | None = Field(None, description="time from one start to the next, such as 6h", gt=0)
    rrule: str | None = Field(None, description="an iCalendar rule, such as FREQ=WEEKLY;BYDAY=MO")
    timezone: str = Field("UTC", description="IANA name, such as Europe/Madrid")

    @field_validator("cron")
    @classmethod
    def _cron_is_valid(cls, text: str | None) -> str | None:
        if text is not None:
            check_cron(text)
        return text

    @field_validator("rrule")
    @classmethod
    def _rrule_is_valid(cls, text: str | None) -> str | None:
        from dateutil.rrule import rrulestr  # type: ignore[import-untyped]  # ships no types

        try:
            rrulestr(text or "FREQ=DAILY")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ValueError(f"{text!r} is not an iCalendar rule, such as FREQ=WEEKLY;BYDAY=MO") from None
        return text

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (LookupError, ValueError, OSError):
            raise ValueError(f"{name!r} is no IANA time zone, such as Europe/Madrid") from None
        return name

    @model_validator(mode="after")
    def _one_of_three(self) -> Schedule:
        if sum(rule is not None for rule in (self.cron, self.interval, self.rrule)) != 1:
            raise ValueError("needs exactly one of cron, interval and rrule")
        return self


def check_cron(text: str) -> None:
    """Raise ValueError with the reason when *text* is no five-field cron rule."""
    parts = text.lower().split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"{text!r} needs five fields: minute, hour, day of month, month, day of week")
    for part, (name, low, high, words) in zip(parts, _FIELDS, strict=True):
        for item in part.split(","):
            if not _item_fits(item, low, high, list(words)):
                raise ValueError(f"{item!r} is no {name} of a cron rule ({low} to {high})")


def _item_fits(item: str, low: int, high: int, words: list[str]) -> bool:
    match = _ITEM.match(item)
    if match is None or match[3] == "0":
        return False
    # names start at the lowest value: jan is 1, sun is 0
    numbers = [words.index(text) + low if text in words else text for text in match.groups()[:2] if text]
    if not all(str(number).isdigit() for number in numbers):
        return False
    values = [int(number) for number in numbers]
    return all(low <= value <= high for value in values) and values == sorted(values)
