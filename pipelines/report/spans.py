"""What a pass over a source asks: all that is new, or one span of time again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from pipelines.batch import Json
from pipelines.config.source import Resource
from pipelines.errors import ConfigError, CursorError
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.placeholders import names
from pipelines.extract.watermark import Incremental, Watermark, comparable
from pipelines.load.draft import Draft
from pipelines.load.log import Commit
from pipelines.milling import Ledger
from pipelines.report.result import ResourceReport


class Span(Struct, frozen=True):
    """From `start` to `end`, as a cursor has them: days, instants or numbers.

    `part_of` names the backfill that it is a window of: its commit says that it
    is done; with `again` what was done before no longer counts.
    """

    start: str
    end: str
    part_of: str = ""
    again: bool = False

    def endpoints(self, resources: Mapping[str, Resource]) -> dict[str, Endpoint]:
        """The resources that can be asked for a span, within this one, and the parents they need.

        Raises:
            ConfigError: There are none, or a bound is not what their cursors are.
        """
        found: dict[str, Endpoint] = {}
        for name, incremental in asked_for_spans(resources).items():
            within = self._within(name, incremental)
            found[name] = resources[name].endpoint().model_copy(update={"incremental": within})
        if not found:
            hint = "`incremental: {since_param: ...}` or a {window.start} placeholder makes it possible"
            raise ConfigError("no resource can be asked for a span", hint)
        for name in tuple(found):
            for parent in parents_of(name, resources):
                found.setdefault(parent, resources[parent].endpoint())
        return {name: found[name] for name in resources if name in found}

    def _within(self, name: str, incremental: Incremental) -> Incremental:
        try:
            lower, upper = comparable(self.start, incremental.kind), comparable(self.end, incremental.kind)
        except CursorError as error:
            raise ConfigError(f"{name}: {error.message}", "write the bounds as the cursor of the resource is") from None
        if lower > upper:  # type: ignore[operator]  # one kind, so one type
            raise ConfigError(f"the span ends before it begins: {self.start} to {self.end}", "swap its ends")
        return incremental.model_copy(update={"start": self.start, "end": self.end, "lag": 0.0})


def asked_for_spans(resources: Mapping[str, Resource]) -> dict[str, Incremental]:
    """How those are incremental that can be asked for a span, with the zone of their bounds."""
    able = {name: one.endpoint().incremental for name, one in resources.items() if takes_spans(one)}
    return {name: incremental for name, incremental in able.items() if incremental}


def all_endpoints(resources: Mapping[str, Resource]) -> dict[str, Endpoint]:
    """Every resource, as configured."""
    return {name: resource.endpoint() for name, resource in resources.items()}


def zones_of(resources: Mapping[str, Resource]) -> dict[str, str]:
    """The zones of the bounds that name none, by resource."""
    asked = {name: one.incremental for name, one in all_endpoints(resources).items()}
    return {name: one.zone for name, one in asked.items() if one and one.zone}


def watermark_of(draft: Draft, name: str) -> Watermark | None:
    """How far the resource *name* has been committed."""
    state = draft.state(name) or {}
    return Watermark.from_json(state.get("watermark"))


def is_ahead(draft: Draft, name: str) -> bool:
    """Whether rows of the resource *name* are committed that its watermark does not cover."""
    state, watermark = draft.state(name) or {}, watermark_of(draft, name)
    return bool(state.get("ahead") or _without_mark(state.get("backfilled", ()), watermark))


def windows_done(head: Commit | None, names: Iterable[str], part_of: str) -> set[str]:
    """Where the windows of the backfill *part_of* begin that are committed for each of the resources *names*."""
    done = []
    for name in names:
        dataset = head.datasets.get(name) if head else None
        done.append(set(_done(dataset.state if dataset else None, part_of)))
    return set.intersection(*done) if done else set()


def mark_backfilled(
    draft: Draft,
    span: Span | None,
    reports: Sequence[ResourceReport],
    resources: Mapping[str, Resource],
    ledgers: Mapping[str, Ledger],
) -> None:
    """Let the commit name the parents without a watermark of whom *span* appended rows."""
    for report in reports if span else ():
        name, resource = report.resource, resources[report.resource]
        state = draft.state(name) or {}
        read = {parent for milled in ledgers[name].milled for parent in milled.cursors}
        found = _without_mark({*state.get("backfilled", ()), *read}, watermark_of(draft, name))
        if found and resource.write == "append" and resource.for_each and report.rows_written:
            draft.set_state(name, {**state, "backfilled": sorted(found)})


def _without_mark(parents: Iterable[str], watermark: Watermark | None) -> set[str]:
    return set(parents) - set(watermark.parents if watermark else ())


def mark_done(
    draft: Draft,
    span: Span | None,
    reports: Sequence[ResourceReport],
    resources: Mapping[str, Resource],
    clock: Callable[[str], datetime],
) -> None:
    """Let the commit say that *span*, if it is a window of a backfill, is done for the resources that are whole.

    One of which a child is not whole is not done either, nor one that by its *clock* was asked before the span ended.
    """
    if span is None or not span.part_of:
        return
    cut = {name for name, one in asked_for_spans(resources).items() if not one.reaches(span.end, clock(name))}
    waiting = waiting_for(reports, resources)
    whole = [one.resource for one in reports if one.verdict in ("complete", "unproved")]
    for name in (one for one in whole if one not in waiting and one not in cut):
        state = draft.state(name) or {}
        done = [] if span.again else _done(state, span.part_of)
        told = {"of": span.part_of, "done": sorted({*done, span.start})}
        draft.set_state(name, {**state, "backfill": told})


def _done(state: Json, part_of: str) -> list[str]:
    known = (state or {}).get("backfill") or {}
    return list(known["done"]) if known.get("of") == part_of else []


def takes_spans(resource: Resource) -> bool:
    """Whether *resource* can be asked for the records of a span."""
    placed = names([resource.path, resource.params, resource.headers, resource.payload])
    incremental = resource.incremental
    return incremental is not None and (incremental.since_param is not None or "window.start" in placed)


def waiting_for(
    reports: Iterable[ResourceReport], resources: Mapping[str, Resource]
) -> dict[str, list[ResourceReport]]:
    """For each resource whose records are needed again: its children, and theirs, that failed or are incomplete."""
    found: dict[str, list[ResourceReport]] = {}
    for report in reports:
        if report.verdict in ("failed", "incomplete"):
            for parent in parents_of(report.resource, resources):
                found.setdefault(parent, []).append(report)
    return found


def parents_of(name: str, resources: Mapping[str, Resource]) -> list[str]:
    """The resources whose records *name* needs, the nearest first."""
    found: list[str] = []
    each = resources[name].for_each
    while each and each.resource and each.resource not in found:
        found.append(each.resource)
        each = resources[each.resource].for_each
    return found
