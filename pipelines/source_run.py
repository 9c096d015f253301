"""One source in one run: lock, extract, mill, merge, and one commit for all its resources."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pipelines.batch import Part
from pipelines.config.loading import Resource, Source
from pipelines.config.settings import Settings
from pipelines.errors import Defect, ExpectationFailed, PipelineError, StoreError
from pipelines.extract.client import Client
from pipelines.extract.daily import counts_folder
from pipelines.extract.events import Event, EventKind
from pipelines.extract.extraction import Extraction
from pipelines.extract.limits import Budgets
from pipelines.extract.spool import Spool, kept_folder
from pipelines.extract.watermark import Watermark
from pipelines.fetching import fetch_and_mill
from pipelines.inspection import inspect, to_inspect
from pipelines.load.casting import of_older
from pipelines.load.lake import Lake
from pipelines.load.merge import Change, Place, work
from pipelines.load.target import Target
from pipelines.milling import Ledger
from pipelines.pool import Engine
from pipelines.recipes import recipe_of
from pipelines.report.result import Expected, Problem, ResourceReport, SourceReport
from pipelines.report.spans import Span, all_endpoints, mark_done, watermark_of
from pipelines.spools import built_on, forget_pages, open_spool, spool_folder, worth_keeping
from pipelines.version import CODE_VERSION
from pipelines.worker import REJECTS, Recipe, rejects_of

log = logging.getLogger(__name__)

Listener = Callable[[str, Event], None]


@dataclass(frozen=True)
class Shared:
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
    try:
        with lake.lock(shared.run_id):
            foreign = lake.recover().foreign
            report = SourceRun(source, lake, shared, span).run()
            return replace(report, foreign=foreign).hiding(source.secrets.hide)
    except PipelineError as error:
        resources = tuple(ResourceReport(source.name, name) for name in source.resources)
        return SourceReport(source.name, None, False, resources, Problem.of(error)).hiding(source.secrets.hide)


class SourceRun:
    """The steps of one source, in order; the lock is held."""

    def __init__(self, source: Source, lake: Lake, shared: Shared, span: Span | None = None, *, note: str = "") -> None:
        self._source, self._lake, self._shared, self._span = source, lake, shared, span
        note = f"backfill from {span.start} to {span.end}" if span else note
        self._moves = not note
        self.draft = lake.begin(
            shared.run_id, config_hash=source.config_hash, code_version=CODE_VERSION, now=shared.now, note=note
        )
        self._endpoints = span.endpoints(source.resources) if span else all_endpoints(source.resources)
        self._watermarks = {name: None if span else watermark_of(self.draft, name) for name in self._endpoints}
        self._recipes = {name: self._recipe(name, source.resources[name]) for name in self._endpoints}
        self._started = time.monotonic()

    def run(self) -> SourceReport:
        """Extract and mill side by side, then commit what is whole."""
        shared = self._shared
        pages = open_spool(
            self._source, self._watermarks, self.draft, span=self._span, settings=shared.settings, now=shared.now
        )
        with pages as spool:
            extractions, ledgers = self._fetch_and_mill(spool)
            reports = [self.settled(name, extractions[name], ledgers[name]) for name in self._endpoints]
            mark_done(self.draft, self._span, reports)
            began = time.monotonic()
            committed = self._lake.commit(self.draft)
            number = committed.head.n if committed.head else None
            # on a full disk it stays as it is, and the next run finds by its plan whether it still fits
            with suppress(OSError):
                keeps = committed.changed and number and shared.settings.spool_retention > 0
                keep = kept_folder(spool_folder(shared.settings, self._source.name), number or 0) if keeps else None
                base = built_on(number or 0, self._source, self._span)
                spool.settle(worth_keeping(reports), commit=base, keep=keep)
        self._tell("committed", seconds=time.monotonic() - began, size=number or 0)
        if not committed.pending:
            sweep(self._lake, shared)
            forget_pages(shared.settings, self._lake, shared.now)
        return SourceReport(
            source=self._source.name,
            commit=number,
            changed=committed.changed and bool(self.draft.changed),
            resources=tuple(reports),
            view_pending=bool(committed.pending),
        )

    def _recipe(self, name: str, resource: Resource) -> Recipe:
        recipe = recipe_of(
            name,
            resource,
            source=self._source.name,
            asked=self._endpoints[name],
            watermark=self._watermarks[name],
            dataset=self.draft.dataset(name),
            store=self._lake.store,
            settings=self._shared.settings,
        )
        self._lake.bring(self.draft.dataset(name), recipe.edge)
        return recipe

    def _fetch_and_mill(self, spool: Spool) -> tuple[Mapping[str, Extraction], Mapping[str, Ledger]]:
        shared = self._shared
        client = Client(
            self._source.connection(),
            origin_map=shared.origin_map,
            budgets=shared.budgets,
            keepsake=shared.settings.data / "auth" / f"{self._source.name}.json",
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

    def settled(self, name: str, extraction: Extraction, ledger: Ledger) -> ResourceReport:
        """What became of a resource, once what came of its pages is in the draft."""
        began = time.monotonic()
        report = self._settle(name, extraction, ledger)
        self._tell("merged", name, seconds=time.monotonic() - began)
        self._tell("settled", name, seconds=report.seconds, size=report.rows_written, note=report.verdict)
        return report

    def _settle(self, name: str, extraction: Extraction, ledger: Ledger) -> ResourceReport:
        """Put what came of a resource into the draft; if anything failed, nothing of it."""
        report = self._report(name, extraction, ledger)
        parts = [part for milled in ledger.milled for part in milled.parts]
        rejected = [part for milled in ledger.milled for part in milled.rejects]
        try:
            if error := extraction.error or ledger.error:
                raise error
            self._refuse_fewer(name, extraction, ledger)
            # a record that was set aside is there, though it is not stored: no read that has one tells what is gone
            full = extraction.verdict != "incomplete" and not rejected
            full = full and self._source.resources[name].incremental is None
            change = self._merge(name, parts, self._recipes[name].target, full=full)
            rejects = self._merge(rejects_of(name), rejected, REJECTS) if rejected else None
            warnings = (*_warnings(report.name, ledger), *self._inspect(name, change))
            warnings += of_older(report.name, change.kept)
            if rejected and (deletes := self._recipes[name].target.deletes) and deletes.missing:
                warnings += (f"{report.name}: as records were set aside, none that is missing is taken for gone",)
            watermark = self._reached(name, extraction, ledger)
        except Exception as error:  # noqa: BLE001  # a defect with one resource stops no other
            self._lake.discard((*parts, *rejected))
            return report.failed(foreseen(error, report.name, self._source.secrets.hide))
        # nothing may fail from here on: the draft names the files
        self.draft.set_files(name, change, self._recipes[name].target)
        if rejects:
            self.draft.set_files(rejects_of(name), rejects, REJECTS)
        if watermark and extraction.verdict != "incomplete":
            self.draft.set_state(name, {**(self.draft.state(name) or {}), "watermark": watermark.to_json()})
        return replace(
            report,
            warnings=warnings,
            new=change.counts.get("new", 0),
            updated=change.counts.get("updated", 0),
            unchanged=change.counts.get("unchanged", 0),
            files_written=len(change.added),
        )

    def _refuse_fewer(self, name: str, extraction: Extraction, ledger: Ledger) -> None:
        """A whole read that is known to lack records must not take the place of one that has more."""
        rows = self.draft.dataset(name).rows
        replaces = self._recipes[name].target.write == "replace"
        if replaces and extraction.verdict == "incomplete" and ledger.rows_read < rows:
            raise ExpectationFailed(
                f"{self._source.name}.{name}: {extraction.evidence}; the {rows:,} rows that are committed are kept",
                "run again; if the API counts wrongly, leave its total out of `paginate`, or its `count`",
            )

    def _merge(self, name: str, parts: Sequence[Part], target: Target, *, full: bool = False) -> Change:
        """What the write mode makes of the staged parts; workers do the work."""
        engine, recipe = self._shared.engine, self._recipes.get(name)
        stats = (recipe.cursor.name,) if recipe and recipe.cursor else ()
        place = Place(self._lake.store, self._lake.tmp, name, target, stats, now=self._shared.now, full=full)
        return self._lake.merge(place, self.draft.dataset(name), parts, lambda units: engine.map(work, units))

    def _inspect(self, name: str, change: Change) -> tuple[str, ...]:
        """Check what the dataset would become; what only deserves a warning is returned."""
        whole = [one for one in self._source.resources[name].expect if not one.per_row]
        checks = to_inspect(whole, self.draft.dataset(name), change)
        if not checks:
            return ()
        self._lake.home.bring(change.kept)
        paths = [*(file.path for file in change.kept), *(part.path for part in change.added)]
        files = [self._lake.store / path for path in paths]
        return self._shared.engine.call(inspect, files, checks, f"{self._source.name}.{name}", self._shared.now)

    def _reached(self, name: str, extraction: Extraction, ledger: Ledger) -> Watermark | None:
        """The watermark at the greatest cursor that was read; it never goes back, and reading again does not move it.

        It does not pass the moment of the first answer, by the server's clock: a
        record that was changed behind the reader's back is asked for again.
        """
        incremental = self._source.resources[name].incremental
        if incremental is None or not self._moves:
            return None
        reached = Watermark(kind=incremental.kind)
        for milled in ledger.milled:
            for parent, value in milled.cursors.items():
                reached = reached.advance(value, parent)
        reached = reached.no_later_than(extraction.server_time or self._shared.now)
        watermark = (self._watermarks[name] or Watermark(kind=incremental.kind)).advance(reached.value)
        for parent, value in reached.parents.items():
            watermark = watermark.advance(value, parent)
        return watermark if watermark.value or watermark.parents else None

    def _report(self, name: str, extraction: Extraction, ledger: Ledger) -> ResourceReport:
        return ResourceReport(
            source=self._source.name,
            resource=name,
            verdict=extraction.verdict,
            evidence=extraction.evidence,
            requests=extraction.requests,
            resumed=extraction.from_spool,
            retries=extraction.retries,
            rows_read=ledger.rows_read,
            rejected=sum(milled.rows_rejected for milled in ledger.milled),
            bytes_fetched=extraction.raw_bytes,
            expected=tuple(map(Expected.of, self._source.resources[name].expect)),
            seconds=(ledger.ended_at or time.monotonic()) - self._started,
        )


def foreseen(error: Exception, where: str, hide: Callable[[str], str] = str) -> PipelineError:
    """The *error* being handled as a kind that reports know; of a defect in *where* the log keeps the traceback."""
    cause = error.__cause__ if isinstance(error, Defect) else error
    if cause is not None and not isinstance(cause, PipelineError):
        log.error("defect in=%s\n%s", where, hide("".join(traceback.format_exception(cause))))
    return error if isinstance(error, PipelineError) else Defect.of(error, where)


def sweep(lake: Lake, shared: Shared) -> None:
    """Remove what no kept commit needs; the run has committed, so a failure only leaves it for the next."""
    settings = shared.settings
    try:
        lake.vacuum(keep=settings.kept_commits, grace=timedelta(seconds=settings.grace), now=shared.now)
    except StoreError as error:
        log.warning("vacuum failed source=%s: %s", lake.source, error.message)


def _warnings(name: str, ledger: Ledger) -> Iterator[str]:
    """A sentence for each check that some rows break, but that only warns, and for each mask that covered nothing."""
    rows: Counter[str] = Counter()
    for milled in ledger.milled:
        rows.update(milled.warnings)
    for sentence, broken in rows.items():
        yield f"{name}: {broken} {'row' if broken == 1 else 'rows'}: {sentence}"
    for path in ledger.unmet if ledger.rows_read else ():
        yield f"{name}: `mask` names {path!r}, which no record has: it covered nothing"
