"""A long span of time read again in windows: one commit each, and those that are done are not read twice.

Windows of one source go one after the other, each with as many requests in
flight as its API allows: side by side they would only wait for the same limits
and for the source's lock. Sources go side by side. That a window is done is part
of its commit, so it is true exactly as long as its rows are there. One that is not
over yet is read as far as it goes, and is not done by that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from pipelines.config.settings import Settings
from pipelines.config.source import Source
from pipelines.errors import ConfigError, CursorError
from pipelines.extract.zones import instant
from pipelines.load.lake import Lake
from pipelines.load.log import Commit
from pipelines.planning import Planned, plan_of
from pipelines.report.spans import Span, asked_for_spans, windows_done

Every = Literal["day", "week", "month"]


class Window(Struct, frozen=True):
    """One sub-run: its span, the requests it will take (None: nobody knows yet), and whether it is done already.

    What `settle` leaves out counts as what has not happened yet.
    """

    source: str
    span: Span
    requests: int | None
    is_done: bool
    basis: str = ""
    has_begun: bool = True
    is_over: bool = True

    @property
    def is_due(self) -> bool:
        """Whether there is something to read."""
        return self.has_begun and not self.is_done


def split(span: Span, every: Every) -> list[Span]:
    """*span* cut at each day, week or first of a month; the end of one is the start of the next.

    The days are those of each resource, by the zone of its bounds.

    Raises:
        ConfigError: A bound is no day or instant, or the span ends before it begins.
    """
    try:
        lower, upper = instant(span.start), instant(span.end)
    except CursorError as error:
        raise ConfigError(f"windows are spans of time: {error.message}", "write days, such as 2024-01-31") from None
    if lower >= upper:
        raise ConfigError(f"the span ends before it begins: {span.start} to {span.end}", "swap its ends")
    first, *others = _cut(lower, upper, every)
    *before, last = [replace(first, start=span.start), *others]
    return [*before, replace(last, end=span.end)]


def windows(source: Source, settings: Settings, span: Span, every: Every, *, again: bool = False) -> list[Window]:
    """The windows of *span*, oldest first; with *again* none counts as done.

    Raises:
        ConfigError: No resource of *source* can be asked for a span, or the span is none.
    """
    of = f"{span.start} to {span.end} by {every}, configuration {source.config_hash}"
    spans = [replace(one, part_of=of, again=again and index == 0) for index, one in enumerate(split(span, every))]
    now = datetime.now(UTC)
    head = Lake(settings.data, source.name, settings.remote).head()
    names = list(span.endpoints(source.resources))
    done = set() if again else windows_done(head, names, of)
    past = {one.name.partition(".")[2]: one for one in plan_of(source, settings, now)}
    found = []
    for one in spans:
        requests, basis = _requests(source, one, past, head=head, now=now)
        has_begun, is_over = _reached(source, one, now)
        found.append(Window(source.name, one, requests, one.start in done, basis, has_begun, is_over))
    return found


def not_over(found: Sequence[Window]) -> str:
    """What is to be said of those windows of a source that are not over, oldest first; nothing where all are."""
    left = [one for one in found if not (one.is_over or one.is_done)]
    if not left:
        return ""
    when = f"{left[0].span.start} to {left[-1].span.end}"
    return f"{left[0].source}: {when} is not over, or not settled, and stays to be done: run the same backfill later"


def _reached(source: Source, span: Span, now: datetime) -> tuple[bool, bool]:
    """Whether *span* has begun for any resource, and whether it is over for all."""
    asked = asked_for_spans(source.resources).values()
    return any(one.reaches(span.start, now) for one in asked), all(one.reaches(span.end, now) for one in asked)


def _cut(lower: datetime, upper: datetime, every: Every) -> Iterator[Span]:
    while lower < upper:
        end = min(_next(lower, every), upper)
        yield Span(_written(lower), _written(end))
        lower = end


def _next(moment: datetime, every: Every) -> datetime:
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if every == "month":
        return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=7 - day.weekday() if every == "week" else 1)


def _written(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat()
    return text.removesuffix("T00:00:00+00:00")


def _requests(
    source: Source, span: Span, past: Mapping[str, Planned], *, head: Commit | None, now: datetime
) -> tuple[int | None, str]:
    """What a window takes: its chains, each with as many pages as the chains of the last run had."""
    total, basis = 0, ""
    for name, endpoint in span.endpoints(source.resources).items():
        chains = len(endpoint.incremental.windows(None, now)) if endpoint.incremental else 1
        if endpoint.for_each:
            parent = head.datasets.get(endpoint.for_each.resource or "") if head else None
            if endpoint.for_each.resource and parent is None:
                return None, f"{endpoint.for_each.resource} has no rows yet"
            chains *= parent.rows if parent else len(list(endpoint.for_each.scopes()))
        known = past[name]
        pages = known.requests / known.chains if known.requests and known.chains else 1
        basis = basis or ("at least" if pages == 1 else f"as {known.basis}")
        total += round(chains * pages)
    return total, basis
