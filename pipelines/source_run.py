"""One source in one run: lock, extract, mill, merge, and one commit for all its resources."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.batch import Batch, Part
from pipelines.config import Resource, Source
from pipelines.errors import PipelineError, StoreError
from pipelines.extract.channel import Backlog
from pipelines.extract.client import Client
from pipelines.extract.events import Event, EventKind
from pipelines.extract.extraction import Extraction
from pipelines.extract.extractor import Extractor
from pipelines.extract.limits import Budgets
from pipelines.extract.spool import Plan, Spool
from pipelines.extract.watermark import Watermark, comparable
from pipelines.inspection import inspect, to_inspect
from pipelines.load.lake import Draft, Lake
from pipelines.load.log import Dataset, LiveFile
from pipelines.load.merge import Change, Place, plan, resolve, work
from pipelines.load.target import Target
from pipelines.milling import Ledger, Milling, batch_event
from pipelines.pool import Engine
from pipelines.report import Problem, ResourceReport, SourceReport
from pipelines.settings import Settings
from pipelines.transform.mask import mask as mask_page
from pipelines.version import CODE_VERSION
from pipelines.worker import REJECTS, Milled, Recipe, rejects_of

log = logging.getLogger(__name__)

_BAD_PAGES = frozenset({"DecodeError", "RecordsMissing", "SchemaError"})
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


def run_source(source: Source, shared: Shared) -> SourceReport:
    """Bring *source* up to date; what goes wrong is in the report, and no other source is touched."""
    lake = Lake(shared.settings.data, source.name)
    try:
        with lake.lock(shared.run_id):
            foreign = lake.recover().foreign
            report = _SourceRun(source, lake, shared).run()
            return replace(report, foreign=foreign).hiding(source.secrets.hide)
    except PipelineError as error:
        resources = tuple(ResourceReport(source.name, name) for name in source.resources)
        return SourceReport(source.name, None, False, resources, Problem.of(error)).hiding(source.secrets.hide)


class _SourceRun:
    """The steps of one source, in order; the lock is held."""

    def __init__(self, source: Source, lake: Lake, shared: Shared) -> None:
        self._source, self._lake, self._shared = source, lake, shared
        self._draft = lake.begin(
            shared.run_id, config_hash=source.config_hash, code_version=CODE_VERSION, now=shared.now
        )
        self._watermarks = {name: _watermark(self._draft, name) for name in source.resources}
        self._recipes = {name: self._recipe(name, resource) for name, resource in source.resources.items()}
        self._started = time.monotonic()

    def run(self) -> SourceReport:
        """Extract and mill side by side, then commit what is whole."""
        with self._spool() as spool:
            extractions, ledgers = self._fetch_and_mill(spool)
            reports = [self._settled(name, extractions[name], ledgers[name]) for name in self._source.resources]
            began = time.monotonic()
            committed = self._lake.commit(self._draft)
            number = committed.head.n if committed.head else None
            # on a full disk it stays as it is, and the next run finds by its plan whether it still fits
            with suppress(OSError):
                spool.settle(_resumable(reports), commit=number or 0)
        self._tell("committed", seconds=time.monotonic() - began, size=number or 0)
        if not committed.pending:
            sweep(self._lake, self._shared)
        return SourceReport(
            source=self._source.name,
            commit=number,
            changed=committed.changed and bool(self._draft.changed),
            resources=tuple(reports),
            view_pending=bool(committed.pending),
        )

    def _spool(self) -> Spool:
        head = self._draft.head
        plan = Plan(self._source.config_hash, head.n if head else 0, self._shared.now)
        return Spool(self._shared.settings.data / "spool" / self._source.name, plan)

    def _recipe(self, name: str, resource: Resource) -> Recipe:
        dataset, incremental = self._draft.dataset(name), resource.incremental
        watermark = self._watermarks[name]
        floors = {"": watermark.value, **watermark.parents} if watermark else {}
        edge: list[Path] = []
        if incremental and watermark and resource.write == "append":
            edge = [self._lake.store / file.path for file in reaching(dataset, incremental.cursor, watermark)]
        return Recipe(
            source=self._source.name,
            resource=name,
            shape=resource.shape(),
            target=resource.target(),
            store=self._lake.store,
            columns=dataset.record_columns,
            cursor=incremental.cursor if incremental else None,
            cursor_kind=incremental.kind if incremental else "instant",
            floors={parent: floor for parent, floor in floors.items() if floor},
            edge=tuple(edge),
            transforms=self._shared.settings.transforms,
            slice_bytes=self._shared.settings.batch_size,
        )

    def _fetch_and_mill(self, spool: Spool) -> tuple[Mapping[str, Extraction], Mapping[str, Ledger]]:
        source, shared = self._source, self._shared
        endpoints = {name: resource.endpoint() for name, resource in source.resources.items()}
        backlog = Backlog(source.name, source.resources, workers=shared.engine.workers)

        def listen(event: Event) -> None:
            shared.listen(source.name, event)

        client = Client(source.connection(), origin_map=shared.origin_map, budgets=shared.budgets)
        with closing(client), Milling(shared.engine, backlog, self._recipes, self._on_batch) as milling:
            extractor = Extractor(
                source.connection(),
                endpoints,
                name=source.name,
                client=client,
                spool=spool,
                backlog=backlog,
                watermarks=self._watermarks,
                clock=spool.plan.clock,
                masks={name: mask for name in endpoints if (mask := _mask(source.resources[name]))},
                listen=listen,
                stop=shared.stop,
            )
            return extractor.run(), milling.ledgers

    def _tell(
        self, kind: EventKind, resource: str = "", *, seconds: float = 0.0, size: int = 0, note: str = ""
    ) -> None:
        event = Event(kind, resource, time.monotonic(), seconds=seconds, size=size, note=note)
        self._shared.listen(self._source.name, event)

    def _on_batch(self, batch: Batch, milled: Milled) -> None:
        self._shared.listen(self._source.name, batch_event(batch.resource, milled))

    def _settled(self, name: str, extraction: Extraction, ledger: Ledger) -> ResourceReport:
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
            full = extraction.verdict != "incomplete" and self._source.resources[name].incremental is None
            change = self._merge(name, parts, self._recipes[name].target, full=full)
            rejects = self._merge(rejects_of(name), rejected, REJECTS) if rejected else None
            warnings = (*_warnings(report.name, ledger), *self._inspect(name, change))
            watermark = self._reached(name, ledger)
        except PipelineError as error:
            self._lake.discard((*parts, *rejected))
            return report.failed(error)
        # nothing may fail from here on: the draft names the files
        self._draft.set_files(name, change, self._recipes[name].target)
        if rejects:
            self._draft.set_files(rejects_of(name), rejects, REJECTS)
        if watermark and extraction.verdict != "incomplete":
            self._draft.set_state(name, {"watermark": watermark.to_json()})
        counts = change.counts
        return replace(
            report,
            warnings=warnings,
            new=counts.get("new", 0),
            updated=counts.get("updated", 0),
            unchanged=counts.get("unchanged", 0),
            files_written=len(change.added),
        )

    def _merge(self, name: str, parts: Sequence[Part], target: Target, *, full: bool = False) -> Change:
        """What the write mode makes of the staged parts; workers do the work."""
        engine, recipe = self._shared.engine, self._recipes.get(name)
        stats = (recipe.cursor,) if recipe and recipe.cursor else ()
        place = Place(self._lake.store, self._lake.tmp, name, target, stats, now=self._shared.now, full=full)
        step = plan(place, self._draft.dataset(name), parts)
        return resolve(step, lambda units: engine.map(work, units))

    def _inspect(self, name: str, change: Change) -> tuple[str, ...]:
        """Check what the dataset would become; what only deserves a warning is returned."""
        whole = [one for one in self._source.resources[name].expect if not one.per_row]
        checks = to_inspect(whole, self._draft.dataset(name), change)
        if not checks:
            return ()
        paths = [*(file.path for file in change.kept), *(part.path for part in change.added)]
        where = f"{self._source.name}.{name}"
        return self._shared.engine.call(
            inspect, [self._lake.store / path for path in paths], checks, where, self._shared.now
        )

    def _reached(self, name: str, ledger: Ledger) -> Watermark | None:
        """The watermark at the greatest cursor that was read; it never goes back."""
        incremental = self._source.resources[name].incremental
        if incremental is None:
            return None
        watermark = self._watermarks[name] or Watermark(kind=incremental.kind)
        for milled in ledger.milled:
            for parent, value in milled.cursors.items():
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
            seconds=(ledger.ended_at or time.monotonic()) - self._started,
        )


def sweep(lake: Lake, shared: Shared) -> None:
    """Remove what no kept commit needs; the run has committed, so a failure only leaves it for the next."""
    settings = shared.settings
    try:
        lake.vacuum(keep=settings.kept_commits, grace=timedelta(seconds=settings.grace), now=shared.now)
    except StoreError as error:
        log.warning("vacuum failed source=%s: %s", lake.folder.name, error.message)


def _resumable(reports: Sequence[ResourceReport]) -> list[str]:
    """The failed resources whose fetched pages are worth keeping: pages that are no good are asked for again."""
    return [report.resource for report in reports if report.problem and report.problem.kind not in _BAD_PAGES]


def reaching(dataset: Dataset, cursor: str, watermark: Watermark) -> list[LiveFile]:
    """The files of *dataset* that may hold rows at or after the watermark."""
    floors = [floor for floor in (watermark.value, *watermark.parents.values()) if floor]
    lowest = min((comparable(floor, watermark.kind) for floor in floors), default=None)
    if lowest is None:
        return []

    def may_reach(file: LiveFile) -> bool:
        if cursor not in file.stats:
            return True
        return bool(comparable(str(file.stats[cursor][1]), watermark.kind) >= lowest)  # type: ignore[operator]  # one kind

    return [file for file in dataset.files if may_reach(file)]


def _warnings(name: str, ledger: Ledger) -> Iterator[str]:
    """A sentence for each check that some rows of the batches break, but that only warns."""
    rows: Counter[str] = Counter()
    for milled in ledger.milled:
        rows.update(milled.warnings)
    return (f"{name}: {broken} {'row' if broken == 1 else 'rows'}: {sentence}" for sentence, broken in rows.items())


def _watermark(draft: Draft, name: str) -> Watermark | None:
    state = draft.state(name)
    return Watermark.from_json(state["watermark"]) if state else None


def _mask(resource: Resource) -> Callable[[bytes], bytes] | None:
    """What covers the fields named by `mask` in a page, before anything of it is written."""
    if not resource.mask:
        return None
    rules, records, layout = resource.mask, resource.records, resource.format
    return lambda body: mask_page(body, layout, records, rules)
