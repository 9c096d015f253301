"""One source in one run: lock, extract, mill, merge, and one commit for all its resources."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import replace

from pipelines.config.loading import Resource, Source
from pipelines.config.settings import Settings
from pipelines.errors import PipelineError, StoreError
from pipelines.extract.client import Client
from pipelines.extract.daily import counts_folder
from pipelines.extract.events import Event, EventKind
from pipelines.extract.extraction import Extraction
from pipelines.extract.limits import Budgets
from pipelines.extract.spool import Spool, kept_folder
from pipelines.extract.tokens import keepsake_file
from pipelines.fetching import fetch_and_mill
from pipelines.left_over import of_left_over
from pipelines.load.lake import Committed, Lake
from pipelines.milled import Recipe
from pipelines.milling import Ledger
from pipelines.pool import Engine
from pipelines.recipes import recipe_of
from pipelines.report.result import Problem, ResourceReport, SourceReport
from pipelines.report.spans import Span, all_endpoints, is_ahead, mark_backfilled, mark_done, watermark_of
from pipelines.settling import Settling
from pipelines.spools import (
    asked_again,
    built_on,
    failed_parents,
    forget_pages,
    open_spool,
    spool_folder,
    told_of_pages,
    worth_keeping,
)
from pipelines.version import CODE_VERSION

log = logging.getLogger(__name__)

Listener = Callable[[str, Event], None]


class Shared(Struct, frozen=True):
    """What all sources of a run share; `listen` is told of every event with the source's name."""

    run_id: str
    now: datetime
    settings: Settings
    engine: Engine
    listen: Listener = lambda source, event: None
    stop: threading.Event = field(default_factory=threading.Event)
    budgets: Budgets = field(default_factory=Budgets)
    origin_map: Mapping[str, str] = field(default_factory=dict)


def run_source(source: Source, shared: Shared, span: Span | None = None) -> SourceReport:
    """Bring *source* up to date, or read *span* again; what goes wrong is in the report, no other source is touched."""
    lake = Lake(shared.settings.data, source.name, shared.settings.remote)
    foreign: tuple[str, ...] = ()
    try:
        with lake.lock(shared.run_id):
            foreign = lake.recover().foreign
            report = SourceRun(source, lake, shared, span).run()
            return replace(report, foreign=foreign).hiding(source.secrets.hide)
    except PipelineError as error:
        resources = tuple(ResourceReport(source.name, name) for name in source.resources)
        report = SourceReport(source.name, None, False, resources, Problem.of(error), foreign=foreign)
        return report.hiding(source.secrets.hide)


class SourceRun:
    """The steps of one source, in order; the lock is held."""

    def __init__(self, source: Source, lake: Lake, shared: Shared, span: Span | None = None, *, note: str = "") -> None:
        self._source, self._lake, self._shared, self._span = source, lake, shared, span
        fetches = not note
        note = f"backfill from {span.start} to {span.end}" if span else note
        self.draft = lake.begin(shared.run_id, config_hash=source.config_hash, code_version=CODE_VERSION, note=note)
        self._endpoints = span.endpoints(source.resources) if span else all_endpoints(source.resources)
        self._watermarks = {name: None if span else watermark_of(self.draft, name) for name in self._endpoints}
        self._recipes = {name: self._recipe(name, source.resources[name]) for name in self._endpoints}
        self.settling = Settling(
            source,
            lake,
            self.draft,
            recipes=self._recipes,
            watermarks=self._watermarks,
            engine=shared.engine,
            now=shared.now,
            moves=not note,
            fetches=fetches,
            tell=self._tell,
        )

    def run(self) -> SourceReport:
        """Extract and mill side by side, then commit what is whole."""
        shared = self._shared
        pages = open_spool(
            self._source, self._watermarks, self.draft, span=self._span, settings=shared.settings, now=shared.now
        )
        with pages as spool:
            extractions, ledgers = self._fetch_and_mill(spool)
            milled = {name: (told_of_pages(extractions[name], spool), ledgers[name]) for name in self._endpoints}
            reports = self.settling.settled(milled, spool.plan.clock_of)
            mark_backfilled(self.draft, self._span, reports, self._source.resources, ledgers)
            mark_done(self.draft, self._span, reports, self._source.resources, spool.plan.clock_of)
            began = time.monotonic()
            committed = self._lake.commit(self.draft)
            number = committed.head.n if committed.head else None
            # on a full disk it stays as it is, and the next run finds by its plan whether it still fits
            with suppress(OSError):
                keeps = committed.changed and number and shared.settings.spool_retention > 0
                keep = kept_folder(spool_folder(shared.settings, self._source.name), number or 0) if keeps else None
                base = built_on(number or 0, self._source, self._span)
                unfinished = worth_keeping(reports, milled, spool)
                again = asked_again(unfinished, reports, self._source.resources)
                failed = failed_parents(reports, self._source.resources)
                for report in reports:
                    if report.problem and report.resource not in (*unfinished, *failed):
                        spool.drop(report.resource)
                spool.settle(unfinished, commit=base, keep=keep, again=again, failed=failed)
        self._tell("committed", seconds=time.monotonic() - began, size=number or 0)
        if not committed.pending:
            sweep(self._lake, shared)
            forget_pages(shared.settings, self._lake, shared.now)
        return SourceReport(
            source=self._source.name,
            commit=number,
            changed=committed.changed and bool(self.draft.changed),
            resources=tuple(reports),
            warnings=(*not_shown(self._lake, committed), *self._left_over),
        )

    @property
    def _left_over(self) -> tuple[str, ...]:
        return of_left_over(self._source.name, self.draft.commit.datasets, self._source.resources)

    def _recipe(self, name: str, resource: Resource) -> Recipe:
        recipe = recipe_of(
            name,
            resource,
            source=self._source.name,
            asked=self._endpoints[name],
            watermark=self._watermarks[name],
            ahead=self._span is None and is_ahead(self.draft, name),
            dataset=self.draft.dataset(name),
            store=self._lake.store,
            settings=self._shared.settings,
        )
        self._lake.bring(self.draft.dataset(name), recipe.compared)
        return recipe

    def _fetch_and_mill(self, spool: Spool) -> tuple[Mapping[str, Extraction], Mapping[str, Ledger]]:
        shared = self._shared
        client = Client(
            self._source.connection(),
            origin_map=shared.origin_map,
            budgets=shared.budgets,
            keepsake=keepsake_file(shared.settings.data, self._source.name),
            conceal=self._source.secrets.add,
            refer=self._source.secrets.refer,
            counts=counts_folder(shared.settings.data),
        )
        with closing(client):
            return fetch_and_mill(
                self._source,
                self._endpoints,
                self._watermarks,
                self._recipes,
                spool=spool,
                client=client,
                engine=shared.engine,
                settings=shared.settings,
                listen=shared.listen,
                stop=shared.stop,
            )

    def _tell(
        self, kind: EventKind, resource: str = "", *, seconds: float = 0.0, size: int = 0, note: str = ""
    ) -> None:
        event = Event(kind, resource, time.monotonic(), seconds=seconds, size=size, note=note)
        self._shared.listen(self._source.name, event)


def sweep(lake: Lake, shared: Shared) -> None:
    """Remove what no kept commit needs; the run has committed, so a failure only leaves it for the next."""
    settings = shared.settings
    try:
        lake.vacuum(keep=settings.kept_commits, grace=timedelta(seconds=settings.grace), now=datetime.now(UTC))
    except StoreError as error:
        log.warning("vacuum failed source=%s: %s", lake.source, error.message)


def not_shown(lake: Lake, committed: Committed) -> tuple[str, ...]:
    """What a report says of a commit that cannot be seen yet: it stands all the same."""
    return (f"{lake.source}: {committed.unshown}; the next run shows it",) if committed.unshown else ()
