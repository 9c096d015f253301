"""Where a source's fetched pages are, what they depend on, and for how long they count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from pipelines.config.settings import Settings
from pipelines.config.source import Resource, Source
from pipelines.errors import Drift, PaginationLoop, PipelineError, StoreError
from pipelines.extract.extraction import Extraction
from pipelines.extract.spool import Plan, Spool, forget
from pipelines.extract.watermark import Watermark
from pipelines.load.draft import Draft
from pipelines.load.lake import Lake
from pipelines.milled import rejects_of
from pipelines.milling import Ledger
from pipelines.report.result import ResourceReport
from pipelines.report.spans import Span, is_ahead, parents_of, zones_of

_A_DAY_S = 86_400
_BAD_PAGES = frozenset(
    {"CursorError", "DecodeError", "Drift", "ExpectationFailed", "KeyMissing", "OrderViolation"}
    | {"PaginationLoop", "PartitionError", "RecordsMissing", "SchemaError", "StateTooLarge", "TypeConflict"}
)
"""What is wrong with the pages themselves: kept, they would fail the next run as well."""


def spool_folder(settings: Settings, source: str) -> Path:
    """Where the pages of *source* are, those that commits have taken in among them."""
    return settings.data / "spool" / source


def open_spool(  # noqa: PLR0913  # all that pages depend on, each by name
    source: Source,
    watermarks: Mapping[str, Watermark | None],
    draft: Draft,
    *,
    span: Span | None,
    settings: Settings,
    now: datetime,
) -> Spool:
    """The pages that an earlier run has fetched for the same questions, if there are any; more go there."""
    bounds = (span.start, span.end) if span else None
    asks = source.config_hash + "".join(f" {bound}" for bound in bounds or ())
    known = {name: mark.to_json() for name, mark in watermarks.items() if mark}
    held = (name for name in watermarks if draft.dataset(name).files or draft.dataset(rejects_of(name)).files)
    first = tuple(sorted({*watermarks} - {*held}))
    number = draft.head.n if draft.head else 0
    folder = spool_folder(settings, source.name)
    ahead = tuple(name for name in watermarks if span is None and is_ahead(draft, name))
    zones = zones_of(source.resources)
    plan = Plan(asks, built_on(number, source, span), now, known, first, bounds, ahead=ahead, zones=zones)
    oldest = now - timedelta(seconds=settings.spool_retention or _A_DAY_S)
    return Spool(folder.with_suffix(".backfill") if span else folder, plan, oldest=oldest)


def built_on(commit: int, source: Source, span: Span | None) -> int:
    """The commit that fetched pages go with; 0 for those that are right on top of any.

    What a span asks does not depend on what is committed. But where the last row read wins,
    its pages must not overwrite what another run has read since.
    """
    return 0 if span and not any(map(_last_read_wins, source.resources.values())) else commit


def _last_read_wins(resource: Resource) -> bool:
    return resource.incremental is not None and resource.write != "append" and resource.version is None


def forget_pages(settings: Settings, lake: Lake, now: datetime) -> None:
    """Remove kept pages that are too old, or whose commit is forgotten; what cannot be removed is left."""
    folder = spool_folder(settings, lake.source)
    with suppress(OSError, StoreError):
        forget(folder, lake.log.numbers(), before=now - timedelta(seconds=settings.spool_retention))


def worth_keeping(
    reports: Sequence[ResourceReport], milled: Mapping[str, tuple[Extraction, Ledger]], spool: Spool
) -> list[str]:
    """The failed resources whose fetched pages are worth keeping: pages that are no good are asked for again."""
    return [
        report.resource
        for report in reports
        if report.problem and _is_worth_keeping(report.problem.kind, *milled[report.resource], spool)
    ]


def _is_worth_keeping(kind: str, extraction: Extraction, ledger: Ledger, spool: Spool) -> bool:
    """An answer that is an error is none of the pages: those before it are as good as they were."""
    error = extraction.error
    if ledger.error is not None:
        return ledger.error.kind not in _BAD_PAGES
    if error is None or isinstance(error, PaginationLoop | Drift):
        return kind not in _BAD_PAGES
    return not _leads_nowhere(error, extraction, spool)


def _leads_nowhere(error: PipelineError, extraction: Extraction, spool: Spool) -> bool:
    """Whether pages of earlier runs only led to this *error* and will again, as where the token of a page has ended."""
    return error.lasting and not spool.grew(extraction.resource)


def told_of_pages(extraction: Extraction, spool: Spool) -> Extraction:
    """*extraction*, whose error says so where pages of earlier runs are of no use to the next."""
    error = extraction.error
    if error is None or not extraction.from_spool or not _leads_nowhere(error, extraction, spool):
        return extraction
    told = copy(error)
    told.args = (error.message, f"{error.hint}; asked from the start next time, as the pages that were kept lead here")
    return replace(extraction, error=told)


def asked_again(
    unfinished: Sequence[str], reports: Sequence[ResourceReport], resources: Mapping[str, Resource]
) -> list[str]:
    """The committed resources whose pages name again what *unfinished* children are to be asked for.

    Those of a parent that is read whole every time are not needed: it is asked anew.
    """
    parents = {parent for name in unfinished for parent in parents_of(name, resources)}
    whole = [one.resource for one in reports if one.problem is None and one.verdict != "incomplete"]
    return [name for name in whole if name in parents and _is_from_a_watermark(name, resources)]


def failed_parents(reports: Sequence[ResourceReport], resources: Mapping[str, Resource]) -> list[str]:
    """The resources that failed once all was read, so that children are committed: only their pages name these."""
    parents = {parent for one in reports if one.problem is None for parent in parents_of(one.resource, resources)}
    return [one.resource for one in reports if one.problem and one.resource in parents]


def _is_from_a_watermark(name: str, resources: Mapping[str, Resource]) -> bool:
    return any(resources[one].incremental for one in (name, *parents_of(name, resources)))
