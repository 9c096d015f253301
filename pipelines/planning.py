"""What the next run would ask: chains from configuration and watermarks, sizes and times from past runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from pipelines.asking import FirstPages
from pipelines.config.loading import Resource, Source
from pipelines.config.settings import Settings
from pipelines.errors import CursorError
from pipelines.extract.chains import Asker
from pipelines.extract.limits import Limits
from pipelines.extract.paginators import NoPages
from pipelines.extract.watermark import Watermark
from pipelines.impact import Impact, impact_of, with_rows
from pipelines.load.lake import Lake
from pipelines.load.log import Commit, Dataset
from pipelines.milled import describe
from pipelines.report.explain import Work, works
from pipelines.report.runs import Document, read_run, resources_of, run_ids

if TYPE_CHECKING:
    import pyarrow as pa

_HOUR_S = 3600.0
_A_REQUEST_S = 0.5
"""What a request takes while nothing is known of it."""
_RUNS_TO_READ = 20


class Planned(Struct, frozen=True):
    """What a run would ask of one resource; None where nothing tells it yet.

    `basis` says what the numbers rest on, `since` and `until` what is asked for.
    """

    name: str
    chains: int | None
    requests: int | None = None
    size_bytes: int | None = None
    request_s: float = _A_REQUEST_S
    since: str = ""
    until: str = ""
    basis: str = ""
    write: str = ""
    impact: Impact = field(default_factory=Impact)


class Past(Struct, frozen=True):
    """What the latest run that asked a resource tells of it."""

    run_id: str
    pages_per_chain: float
    page_bytes: float
    request_s: float


def plan_of(source: Source, settings: Settings, now: datetime) -> list[Planned]:
    """What the next run would ask of each resource of *source*; no API is asked."""
    lake = Lake(settings.data, source.name, settings.remote)
    head = lake.head()
    past = _past(settings, source)
    planned: dict[str, Planned] = {}
    for name, resource in source.resources.items():
        one = _with_past(_asked(source, name, head, now), past.get(name), resource)
        planned[name] = replace(one, impact=impact_of(name, resource.write, head, lake.log))
    return list(planned.values())


def with_probe(planned: Planned, found: FirstPages | None, rows: pa.Table | None, dataset: Dataset | None) -> Planned:
    """*planned*, with what the first pages of a chain told and what their *rows* would do to *dataset*."""
    if found is None or not found.pages:
        return replace(planned, requests=0, size_bytes=0, basis="probe, nothing new")
    page_bytes = sum(len(page.body) for page in found.pages) / len(found.pages)
    chains = planned.chains or 1
    per_chain = len(found.pages) + (found.more or 0)
    told = "all are known" if found.more is not None else "at least"
    if found.more is None and planned.requests and planned.chains:
        per_chain = max(per_chain, round(planned.requests / planned.chains))
    return replace(
        planned,
        requests=per_chain * chains,
        size_bytes=round(per_chain * chains * page_bytes),
        basis=f"probe, {told}",
        impact=with_rows(planned.impact, dataset, rows, write=planned.write),
    )


def budget_of(planned: list[Planned], limits: Limits) -> dict[str, float]:
    """What share of each budget of an hour or more a source would take, such as {"24,000 a day": 0.02}."""
    requests = sum(one.requests or 0 for one in planned)
    rates = [(rate.requests, rate.seconds) for rate in limits.rate if rate.seconds >= _HOUR_S]
    rates += [(limits.daily, 24.0 * _HOUR_S)] if limits.daily else []
    return {f"{most:,} {_span(seconds)}": requests / most for most, seconds in rates}


def _span(seconds: float) -> str:
    hours = seconds / _HOUR_S
    return {1.0: "an hour", 24.0: "a day"}.get(hours, f"in {hours:g} hours")


def seconds_of(planned: list[Planned], limits: Limits) -> float | None:
    """How long a source would take: its requests within what may be in flight, and within its rates."""
    known = [one for one in planned if one.requests is not None]
    if not known:
        return None
    requests = sum(one.requests or 0 for one in known)
    in_flight = sum((one.requests or 0) * one.request_s for one in known) / limits.in_flight
    rates = (max(requests - rate.requests, 0) / rate.requests * rate.seconds for rate in limits.rate)
    return float(max(in_flight, *rates, 0))


def watermark_of(head: Commit | None, name: str) -> Watermark | None:
    """How far *name* has been read."""
    dataset = head.datasets.get(name) if head else None
    state: Any = dataset.state if dataset else None
    return Watermark.from_json(state.get("watermark")) if isinstance(state, dict) else None


def _asked(source: Source, name: str, head: Commit | None, now: datetime) -> Planned:
    resource = source.resources[name]
    endpoint, watermark = resource.endpoint(), watermark_of(head, name)
    if endpoint.incremental:
        try:
            endpoint.incremental.refuse_other(watermark)
        except CursorError as error:
            raise describe(error, f"{source.name}.{name}") from None
    asker = Asker(source.connection(), endpoint, watermark, now)
    watermark = watermark and replace(watermark, value=watermark.lowest(), parents={})
    each, incremental = endpoint.for_each, endpoint.incremental
    chains: int | None = None
    if each is None or each.resource is None:
        chains = sum(1 for scope in (each.scopes() if each else [{}]) for _ in asker.questions(scope))
    elif head and (parent := head.datasets.get(each.resource)):
        windows = len(incremental.windows(watermark, now)) if incremental else 1
        chains = parent.rows * windows
    return Planned(
        f"{source.name}.{name}",
        chains,
        requests=chains if isinstance(endpoint.paginate, NoPages) else None,
        since=incremental.since(watermark) if incremental else "",
        until=(asker.upper_bound() or "") if incremental else "",
        basis="no run yet" if chains is not None else "parent has no rows",
        write=resource.write,
    )


def _with_past(planned: Planned, past: Past | None, resource: Resource) -> Planned:
    if past is None or planned.chains is None:
        return planned
    pages = 1.0 if isinstance(resource.paginate, NoPages) else max(past.pages_per_chain, 1.0)
    requests = round(planned.chains * pages)
    return replace(
        planned,
        requests=requests,
        size_bytes=round(requests * past.page_bytes),
        request_s=past.request_s,
        basis=f"run {past.run_id.rpartition('-')[2]}",
    )


def _past(settings: Settings, source: Source) -> dict[str, Past]:
    """For each resource the newest run that asked it."""
    found: dict[str, Past] = {}
    for run_id in run_ids(settings.data)[:_RUNS_TO_READ]:
        run = read_run(settings.data, run_id)
        done = {work.name: work for work in works(run)}
        for one in resources_of(run):
            if one["source"] == source.name and one["resource"] not in found and one["verdict"] != "failed":
                past = _told(run, one, done[one["name"]])
                found |= {one["resource"]: past} if past else {}
        if found.keys() >= source.resources.keys():
            break
    return found


def _told(run: Document, resource: Mapping[str, Any], work: Work) -> Past | None:
    totals = run.get("timeline", {}).get("totals", {}).get(work.name, {})
    pages, chains = totals.get("spooled", {}).get("count", 0), totals.get("planned", {}).get("size", 0)
    if not pages or not chains or resource["resumed"]:
        return None
    size = totals["spooled"]["size"] / pages
    return Past(run["run_id"], pages / chains, size, work.network_s / max(work.requests, 1))
