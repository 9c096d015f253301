"""How far a resource has been read, and what to ask for next time.

`Incremental` is what the YAML says, `Watermark` what a commit remembers. All
is pure: the run's clock comes in as an argument and is frozen for the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from msgspec import Struct, field
from msgspec.structs import asdict, replace
from pydantic import BeforeValidator, Field, model_validator

from pipelines.batch import Json
from pipelines.errors import CursorError
from pipelines.extract.zones import after_repeated, before_repeated, in_zone, instant, is_local, midnight, moved
from pipelines.values import Seconds, Value, Zone

Kind = Literal["instant", "number", "text"]
Comparable = datetime | Decimal | str
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_PER_SECOND = {"epoch_s": 1, "epoch_ms": 1000}


class Watermark(Struct, frozen=True):
    """The highest cursor value committed so far, as text; with parents there is one for each in `parents`.

    `cursor` is the field it is of, `start` where the first run began, and `asked` tells what was asked for; each is
    empty where nobody noted it.
    """

    value: str = ""
    kind: Kind = "instant"
    parents: Mapping[str, str] = field(default_factory=dict)
    cursor: str = ""
    start: str = ""
    asked: str = ""

    def for_parent(self, parent: str) -> Watermark:
        """The watermark of one parent, or else the resource's, which was set by hand; that for the empty name."""
        return replace(self, value=self.parents.get(parent, self.value), parents={}) if parent else self

    def advance(self, value: str, parent: str = "") -> Watermark:
        """The watermark after rows up to *value* were committed; it never goes back.

        Raises:
            CursorError: *value* cannot be compared.
        """
        old = self.parents.get(parent, "") if parent else self.value
        if not value or (old and not is_later(value, old, self.kind)):
            return self
        comparable(value, self.kind)
        return replace(self, parents={**self.parents, parent: value}) if parent else replace(self, value=value)

    def no_later_than(self, moment: datetime) -> Watermark:
        """The watermark that does not pass *moment*; what was changed meanwhile is then asked for again."""
        if self.kind != "instant":
            return self
        limit = moment.astimezone(UTC).isoformat()
        parents = {name: limit if instant(value) > moment else value for name, value in self.parents.items()}
        value = limit if self.value and instant(self.value) > moment else self.value
        return replace(self, value=value, parents=parents)

    def lowest(self) -> str:
        """The lowest value of all parents; of the resource where there are none."""
        values = [value for value in (self.value, *self.parents.values()) if value]
        return min(values, key=lambda value: comparable(value, self.kind), default="")

    def highest(self) -> str:
        """The highest value of all parents; of the resource where there are none."""
        values = [value for value in (self.value, *self.parents.values()) if value]
        return max(values, key=lambda value: comparable(value, self.kind), default="")

    def to_json(self) -> dict[str, Json]:
        """As the commit stores it."""
        return {name: value for name, value in asdict(self).items() if value or name in {"value", "kind"}}

    @staticmethod
    def from_json(stored: Mapping[str, Json] | None) -> Watermark | None:
        """The inverse of `to_json`; nothing stored, no watermark."""
        known = {name: value for name, value in (stored or {}).items() if name in Watermark.__struct_fields__}
        return Watermark(**known) if stored else None


class Window(Struct, frozen=True):
    """One slice of time to ask for; bounds as the API reads them, `order` from the oldest.

    `lower` and `upper` are the bounds as instants, where they are.
    """

    start: str
    end: str
    order: int = 0
    lower: datetime = _EPOCH
    upper: datetime = _EPOCH


def _as_text(value: object) -> object:
    return value.isoformat() if isinstance(value, date) else str(value) if isinstance(value, int) else value


class Incremental(Value):
    """Ask only for what is new since the last commit."""

    cursor: str = Field(description="field of a record that says how new it is")
    since_param: str | None = Field(None, description="query parameter for the lower bound")
    until_param: str | None = Field(None, description="query parameter for the upper bound")
    start: Annotated[str, BeforeValidator(_as_text)] = Field(description="where the first run begins")
    end: Annotated[str | None, BeforeValidator(_as_text)] = Field(None, description="never ask beyond; default: now")
    format: str = Field("iso", description="date, iso, epoch_s, epoch_ms, number, text or a strftime pattern")
    zone: Zone | None = Field(
        None,
        description="IANA time zone of the bounds, `start` and `end`, where `format` is date or a pattern that names"
        " none; by default that of the cursor's column, or UTC",
    )
    lag: Seconds = Field("0s", validate_default=True, description="read this much again, for late and revised records")
    settle: Seconds = Field(
        "0s", validate_default=True, description="leave out the newest this much, until it is final"
    )
    window: Seconds | None = Field(None, description="slices of this length, fetched side by side")
    most: int | None = Field(
        None, ge=1, description="most records that the API gives of one window; one with so many is halved"
    )
    bounds: Literal["closed", "half_open"] | None = Field(
        None, description="whether the upper bound is included: closed, or half_open, where it is not"
    )
    ordered: Literal["ascending", "descending"] | None = Field(
        None,
        description="order of the cursor that the API promises, ascending or descending; to break it is an error",
    )
    on_missing: Literal["fail", "include"] = Field(
        "fail",
        description="a record without cursor: fail, or include (with upsert and history) and go on from the others",
    )
    per: str | None = Field(
        None, description="the parent that has a watermark for each of its records; implied by `for_each`"
    )

    def refuse_other(self, watermark: Watermark | None) -> None:
        """See that *watermark* is of this cursor.

        Raises:
            CursorError: It is of another one: rows below it may never have been read by this one.
        """
        if watermark and watermark.cursor not in {"", self.cursor}:
            value = watermark.highest()
            raise CursorError(
                f"the watermark{' ' * bool(value)}{value} is one of {watermark.cursor!r}, "
                f"and `cursor` is {self.cursor!r} now",
                "`threadmill state reset SOURCE.RESOURCE` reads from `start` again; "
                "`threadmill state set` goes on from a value, as where the same field has another name",
            )

    def advanced(self, known: Watermark | None, reached: Watermark, asked: str) -> Watermark:
        """*known*, or a first watermark, after rows up to *reached* were committed, for which it was *asked*.

        Where nothing has moved, and nothing is to be noted but what nobody knew, it is *known* itself.

        Raises:
            CursorError: It is of another cursor.
        """
        self.refuse_other(known)
        before = known or Watermark(kind=self.kind)
        after = before.advance(reached.value)
        for parent, value in reached.parents.items():
            after = after.advance(value, parent)
        is_earlier = bool(before.start) and self.begins_before(before.start)
        if after == before and before.asked in {"", asked} and not is_earlier:
            return before
        start = before.start if before.start and not is_earlier else self.start
        return replace(after, cursor=self.cursor, start=start, asked=asked)

    def begins_before(self, start: str) -> bool:
        """Whether `start` is earlier than *start*, which was one of this resource; False where they do not compare."""
        with suppress(CursorError):
            if self.kind == "instant":
                return self._instant(self.start) < self._instant(start)
            return is_later(start, self.start, self.kind)
        return False

    @property
    def kind(self) -> Kind:
        """How cursor values compare."""
        if self.format in ("number", "text"):
            return "number" if self.format == "number" else "text"
        return "instant"

    @model_validator(mode="after")
    def _fits_together(self) -> Incremental:
        if self.format not in ("date", "iso", "number", "text", *_PER_SECOND) and "%" not in self.format:
            raise ValueError("`format` is date, iso, epoch_s, epoch_ms, number, text or a strftime pattern")
        if self.zone and not is_local(self.format):
            raise ValueError("`zone` is for bounds that name none: `format: date`, or a pattern without %z")
        if self.kind != "instant" and (self.window or self.lag or self.settle):
            raise ValueError(f"`window`, `lag` and `settle` are spans of time; `format: {self.format}` has none")
        try:
            comparable(self.start, self.kind)
            comparable(self.end or self.start, self.kind)
        except CursorError as error:
            raise ValueError(f"`start` and `end`: {error.message}") from None
        return self

    def with_zone(self, zone: str) -> Incremental:
        """The same with *zone*, where the bounds need one and none is said."""
        return self if self.zone or not is_local(self.format) else self.model_copy(update={"zone": zone})

    def since(self, watermark: Watermark | None) -> str:
        """The lower bound to ask for, written as the API wants it; it lies *lag* before the watermark."""
        known = watermark.value if watermark else ""
        if self.kind == "number" and known:
            return f"{Decimal(known).normalize():f}"  # 10, though the column has 10.000
        if self.kind != "instant":
            return known or self.start
        return self.write(self._since(known))

    def until(self, now: datetime) -> str:
        """The upper bound to ask for: `end`, or *now* less `settle`."""
        return (self.end or "") if self.kind != "instant" else self.write(self._until(now))

    def reaches(self, bound: str, now: datetime) -> bool:
        """Whether all that is older than *bound* can be asked for at *now*; `settle` leaves out the newest."""
        return self._instant(bound) <= now - timedelta(seconds=self.settle)

    def windows(self, watermark: Watermark | None, now: datetime) -> list[Window]:
        """The slices from the watermark to the frozen upper bound, oldest first; one without `window`.

        With `bounds: closed` and a format of days the slices do not share a day; otherwise the end of one
        is the start of the next, so that nothing lies between, and none is a time that comes twice.

        Raises:
            CursorError: The watermark is that of another cursor.
        """
        self.refuse_other(watermark)
        if self.kind != "instant":
            return [Window(self.since(watermark), self.until(now))]
        lower, upper = self._since(watermark.value if watermark else ""), self._until(now)
        if self._by_day:
            lower, upper = midnight(lower, self._place), midnight(upper, self._place)
        if lower > upper:
            return []
        if self.window is None:
            return [Window(self.write(lower), self.write(upper), 0, lower, upper)]
        return list(self._slices(lower, upper))

    def halves(self, window: Window) -> list[Window]:
        """*window* as two that leave nothing out; none where it cannot be halved."""
        lower, upper = window.lower, window.upper
        if self.format == "date":  # whatever the time of day: what is asked for are whole days
            lower, upper = midnight(lower, self._place), midnight(upper, self._place)
            step, length = _DAY, in_zone(upper, self._place) - in_zone(lower, self._place)
        else:
            step, length = timedelta(seconds=1), upper - lower
        middle = self._later(lower, length // 2 // step * step)
        after = self._later(middle, step) if self._by_day else middle
        if not (after <= upper if self._by_day else lower < middle < upper):
            return []
        return [
            Window(window.start, self.write(middle), 0, lower, middle),
            Window(self.write(after), window.end, 1, after, upper),
        ]

    def write(self, instant: datetime) -> str:
        """*instant* as the API reads it."""
        local = in_zone(instant, self._place)
        if self.format == "date":
            return local.date().isoformat()
        if self.format in _PER_SECOND:
            return str(
                (instant - _EPOCH) // timedelta(seconds=1) if self.format == "epoch_s" else _milliseconds(instant)
            )
        if self.format == "iso":
            return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds").replace("+00:00", "Z")
        return local.strftime(self.format)

    def plain(self, bound: str) -> Json:
        """A *bound* as a JSON body has it: a number, where the format is one."""
        if self.format in _PER_SECOND or (self.kind == "number" and bound):
            value = Decimal(bound)
            return int(value) if value == int(value) else float(value)
        return bound

    def floor(self, watermark: Watermark | None) -> str | None:
        """Rows with a cursor below this were committed before; None where nothing was.

        Rows equal to it may have been: a commit remembers digests of those.
        """
        return (watermark.value or None) if watermark else None

    @property
    def _by_day(self) -> bool:
        return self.bounds == "closed" and self.format == "date"

    @property
    def _place(self) -> tzinfo:
        return ZoneInfo(self.zone) if self.zone else UTC

    def _instant(self, value: str) -> datetime:
        return instant(value, self._place)

    def _since(self, known: str) -> datetime:
        start = self._instant(self.start)
        lower = self._instant(known) - timedelta(seconds=self.lag) if known else start
        return before_repeated(max(lower, start), self._place)

    def _until(self, now: datetime) -> datetime:
        settled = now.astimezone(UTC) - timedelta(seconds=self.settle)
        return min(settled, self._instant(self.end)) if self.end else settled

    def _later(self, moment: datetime, span: timedelta) -> datetime:
        """*moment* and *span*: by the calendar where bounds are days, else at a time that does not come twice."""
        if self.format != "date":
            return after_repeated(moment + span, self._place)
        later = moved(moment, span, self._place)
        return midnight(later, self._place) if self._by_day else later

    def _slices(self, lower: datetime, upper: datetime) -> list[Window]:
        length = timedelta(seconds=self.window or 0)
        if self._by_day:
            length = max(timedelta(days=length.days), _DAY)
        windows: list[Window] = []
        while lower <= upper and (self._by_day or lower < upper or not windows):
            end = self._later(lower, length)
            last = min(self._later(end, -_DAY) if self._by_day else end, upper)
            windows.append(Window(self.write(lower), self.write(last), len(windows), lower, last))
            lower = end
        return windows


def comparable(value: str, kind: Kind) -> Comparable:
    """*value* as something that orders rightly: `9` before `10`, offsets as instants.

    Raises:
        CursorError: *value* is not of that kind.
    """
    if kind == "text":
        return value
    if kind == "instant":
        return instant(value)
    try:
        return Decimal(value)
    except InvalidOperation:
        raise CursorError(
            f"the cursor value {value[:40]!r} is no number", "set `incremental: {format: text}`"
        ) from None


def is_later(value: str, old: str, kind: Kind) -> bool:
    """Whether *value* comes after *old*; `CursorError` where one is not of that kind."""
    older, newer = comparable(old, kind), comparable(value, kind)
    return bool(newer > older)  # type: ignore[operator]  # one kind, so one type


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
