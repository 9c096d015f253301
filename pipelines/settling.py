"""What came of the pages of a resource, merged with what there is, checked, and named in the draft."""

from __future__ import annotations

import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from pipelines.batch import Part
from pipelines.config.source import Source
from pipelines.errors import Defect, ExpectationFailed, Interrupted, PipelineError
from pipelines.extract.extraction import Extraction
from pipelines.extract.watermark import Watermark
from pipelines.inspection import inspect, to_inspect
from pipelines.load.casting import of_older
from pipelines.load.deletes import of_kept
from pipelines.load.draft import Draft
from pipelines.load.lake import Lake
from pipelines.load.log import Dataset
from pipelines.load.masked import covered, of_uncovered
from pipelines.load.merge import Change, Place, work
from pipelines.load.target import Target
from pipelines.milled import REJECTS, Recipe, rejects_of
from pipelines.milling import Ledger
from pipelines.pool import Engine
from pipelines.report.looked_at import looked_at, reasons_of
from pipelines.report.result import Expected, ResourceReport
from pipelines.report.spans import parents_of, waiting_for
from pipelines.schemas import of_renamed
from pipelines.transform.checks import Expectations
from pipelines.transform.restored import declared_otherwise
from pipelines.watermarks import of_unasked

log = logging.getLogger(__name__)


class _Outcome(Struct, frozen=True):
    """What became of a resource: files to name in the draft, or none where something failed."""

    report: ResourceReport
    change: Change | None = None
    rejects: Change | None = None
    watermark: Watermark | None = None


class Settling:
    """Settles the resources of one run of *source* in *draft*; *moves* says whether watermarks may.

    A run that *fetches* has its pages from the API, under the rules of now.
    """

    def __init__(  # noqa: PLR0913  # what a merge depends on, each by name
        self,
        source: Source,
        lake: Lake,
        draft: Draft,
        *,
        recipes: Mapping[str, Recipe],
        watermarks: Mapping[str, Watermark | None],
        engine: Engine,
        now: datetime,
        moves: bool,
        fetches: bool,
        tell: Callable[..., None],
    ) -> None:
        self._source, self._lake, self._draft, self._recipes, self._watermarks = (
            source,
            lake,
            draft,
            recipes,
            watermarks,
        )
        self._engine, self._now, self._moves, self._fetches, self._tell = engine, now, moves, fetches, tell

    def settled(
        self, milled: Mapping[str, tuple[Extraction, Ledger]], clock: Callable[[str], datetime]
    ) -> list[ResourceReport]:
        """What became of each resource, once what came of its pages is in the draft; several are merged at once.

        *clock* tells the moment up to which a resource was asked for.
        """
        with ThreadPoolExecutor(self._engine.workers, thread_name_prefix="settle") as threads:
            short = self._short(milled)
            settle = partial(self._outcome, short, clock)
            found = dict(zip(milled, threads.map(settle, milled, milled.values()), strict=True))
        waiting = waiting_for([outcome.report for outcome in found.values()], self._source.resources)
        return [self._in_draft(name, outcome, waiting.get(name, [])) for name, outcome in found.items()]

    def _short(self, milled: Mapping[str, tuple[Extraction, Ledger]]) -> frozenset[str]:
        """The resources that are known to lack records, and gave fewer rows than are committed."""
        return frozenset(
            name
            for name, (extraction, ledger) in milled.items()
            if extraction.verdict == "incomplete" and ledger.rows_made < self._draft.dataset(name).rows
        )

    def _outcome(
        self,
        short: frozenset[str],
        clock: Callable[[str], datetime],
        name: str,
        milled: tuple[Extraction, Ledger],
    ) -> _Outcome:
        began = time.monotonic()
        outcome = self._settle(name, *milled, short, clock(name))
        self._tell("merged", name, seconds=time.monotonic() - began)
        return outcome

    def _in_draft(self, name: str, outcome: _Outcome, unfinished: Sequence[ResourceReport]) -> ResourceReport:
        """Name its files in the draft; if anything failed, none. Its watermark waits for *unfinished* children."""
        report, target = outcome.report, self._recipes[name].target
        if outcome.change:
            known, rules = self._draft.dataset(name), self._source.resources[name].mask
            masked = covered(known, rules, anew=self._is_anew(name, outcome.change))
            self._draft.set_files(name, outcome.change, target, masked=masked)
        if outcome.rejects:
            aside, rules = self._draft.dataset(rejects_of(name)), self._source.resources[name].mask
            masked = covered(aside, rules, anew=self._fetches and not aside.files)
            self._draft.set_files(rejects_of(name), outcome.rejects, REJECTS, masked=masked)
        if outcome.watermark:
            is_whole = report.verdict != "incomplete"
            moves = is_whole and not unfinished
            self._set_state(name, outcome.watermark if moves else None, has_more=report.rows_written > 0)
            if is_whole and unfinished and outcome.watermark != self._watermarks[name]:
                report = replace(report, warnings=(*report.warnings, _stays(report.name, unfinished[0])))
        self._tell("settled", name, seconds=report.seconds, size=report.rows_written, note=report.verdict)
        return report

    def _is_anew(self, name: str, change: Change) -> bool:
        """Whether this run fetched all rows that the dataset has after *change*."""
        write = self._recipes[name].target.write
        rows = sum(file.rows for file in change.kept) + sum(part.rows for part in change.added)
        met = sum(change.counts.get(what, 0) for what in ("new", "updated", "unchanged"))
        is_whole = write == "replace" or not self._draft.dataset(name).files or (write == "upsert" and met == rows)
        return self._fetches and is_whole

    def _set_state(self, name: str, reached: Watermark | None, *, has_more: bool) -> None:
        """Let the watermark be where it *reached*, or stay; it is then told whether there are rows beyond it."""
        state = self._draft.state(name) or {}
        if reached:
            rest = {key: item for key, item in state.items() if key != "ahead"}
            self._draft.set_state(name, {**rest, "watermark": reached.to_json()})
        elif has_more:
            self._draft.set_state(name, {**state, "ahead": True})

    def _settle(
        self, name: str, extraction: Extraction, ledger: Ledger, short: frozenset[str], asked_at: datetime
    ) -> _Outcome:
        """Merge what came of a resource with what there is, and check it."""
        report = self._report(name, extraction, ledger)
        parts = [part for milled in ledger.milled for part in milled.parts]
        rejected = [part for milled in ledger.milled for part in milled.rejects]
        try:
            if error := extraction.error or ledger.error:
                raise error
            self._refuse_fewer(name, extraction, short)
            # a record that was set aside is there, though it is not stored: no read that has one tells what is gone
            full = extraction.verdict != "incomplete" and not rejected
            full = full and self._source.resources[name].incremental is None
            target = self._recipes[name].target.telling(ledger.filled)
            change = self._merge(name, parts, target, full=full)
            rejects = self._merge(rejects_of(name), rejected, REJECTS) if rejected else None
            warnings = (*_warnings(report.name, ledger), *self._inspect(name, change))
            warnings += self._of_stored(name, change, ledger.filled, is_whole=not rejected)
            watermark = self._reached(name, extraction, ledger, asked_at)
        except Exception as error:  # noqa: BLE001  # a defect with one resource stops no other
            self._lake.discard((*parts, *rejected))
            return _Outcome(report.failed(foreseen(error, report.name, self._source.secrets.hide)))
        report = replace(
            report,
            warnings=warnings,
            new=change.counts.get("new", 0),
            updated=change.counts.get("updated", 0),
            unchanged=change.counts.get("unchanged", 0),
            files_written=len(change.added),
            expected=self._looked_at(name, change),
        )
        return _Outcome(report, change, rejects, watermark)

    def _of_stored(self, name: str, change: Change, filled: Collection[str], *, is_whole: bool) -> tuple[str, ...]:
        """Warnings about rows that are stored already, and about those that nobody asked for."""
        where, resource, head = f"{self._source.name}.{name}", self._source.resources[name], self._draft.head
        before = head.datasets.get(name, Dataset()) if head else Dataset()
        stored = change.schema.names if change.schema else ()
        moved = {**resource.rename, **{one.source: column for column, one in resource.columns.items() if one.source}}
        told = of_older(where, change.kept)
        told += of_renamed(where, moved, before.schema.names if before.schema else (), stored, filled)
        told += of_uncovered(where, before, resource.mask, moved, anew=self._is_anew(name, change))
        aside = head.datasets.get(rejects_of(name), Dataset()) if head else Dataset()
        told += of_uncovered(rejects_of(where), aside, resource.mask, None, anew=False)
        told += self._of_older_parents(name) if name not in (head.datasets if head else {}) else ()
        if resource.incremental and self._moves:
            told += of_unasked(where, self._watermarks[name], resource, self._source.asked(name))
        return told + of_kept(where, self._recipes[name].target.deletes, filled, stored, is_whole=is_whole)

    def _of_older_parents(self, name: str) -> tuple[str, ...]:
        """A warning that a resource without any row before was read for the newest of its parents alone."""
        source, resources = self._source.name, self._source.resources
        marked = [
            one for one in parents_of(name, resources) if resources[one].incremental and self._watermarks.get(one)
        ]
        return tuple(
            f"{source}.{name}: only the newest records of {one!r} were parents of it, as it is new or was dropped; "
            f"`threadmill state reset {source}.{one}` and a run have those of all"
            for one in (marked[:1] if self._moves else ())
        )

    def _refuse_fewer(self, name: str, extraction: Extraction, short: frozenset[str]) -> None:
        """A whole read that is known to lack records, or all those of a parent, must not take the place of more."""
        rows = self._draft.dataset(name).rows
        replaces = self._recipes[name].target.write == "replace"
        if replaces and rows and not short.isdisjoint([name, *parents_of(name, self._source.resources)]):
            raise ExpectationFailed(
                f"{self._source.name}.{name}: {extraction.evidence}; the {rows:,} rows that are committed are kept",
                "run again; if the API counts wrongly, leave its total out of `paginate`, or its `count`",
            )

    def _merge(self, name: str, parts: Sequence[Part], target: Target, *, full: bool = False) -> Change:
        """What the write mode makes of the staged parts; workers do the work."""
        engine, recipe = self._engine, self._recipes.get(name)
        stats = (recipe.cursor.name,) if recipe and recipe.cursor else ()
        # what was read has obeyed `on_mismatch` already; what a transform made of it has not
        shape = recipe.shape if recipe else None
        declared = declared_otherwise(shape, self._draft.dataset(name).schema) if shape else ()
        place = Place(
            self._lake.store, self._lake.tmp, name, target, stats, now=self._now, full=full, declared=declared
        )
        policy = shape.on_mismatch if shape and shape.transform else None
        return self._lake.merge(
            place,
            self._draft.dataset(name),
            parts,
            lambda units: engine.map(work, units),
            policy or "widen",
        )

    def _inspect(self, name: str, change: Change) -> tuple[str, ...]:
        """Check what the dataset would become; what only deserves a warning is returned."""
        checks = self._to_inspect(name, change)
        if not checks:
            return ()
        self._lake.home.bring(change.kept)
        paths = [*(file.path for file in change.kept), *(part.path for part in change.added)]
        files = [self._lake.store / path for path in paths]
        write = self._recipes[name].target.write
        return self._engine.call(inspect, files, checks, f"{self._source.name}.{name}", self._now, write)

    def _to_inspect(self, name: str, change: Change) -> Expectations:
        whole = [one for one in self._source.resources[name].expect if not one.per_row]
        return to_inspect(whole, self._draft, name, change)

    def _looked_at(self, name: str, change: Change) -> tuple[Expected, ...]:
        """Its checks; those of each row were looked at with each batch."""
        checks = self._source.resources[name].expect
        return looked_at(checks, (*(one for one in checks if one.per_row), *self._to_inspect(name, change)))

    def _reached(self, name: str, extraction: Extraction, ledger: Ledger, asked_at: datetime) -> Watermark | None:
        """The watermark at the greatest cursor that was read; it never goes back, and reading again does not move it.

        It does not pass the moment of the first answer, by the server's clock or else *asked_at*: a record that was
        changed behind the reader's back is asked for again. Nor does it pass what had yet to `settle` then.
        """
        incremental = self._source.resources[name].incremental
        if incremental is None or not self._moves:
            return None
        reached = Watermark(kind=incremental.kind)
        for milled in ledger.milled:
            for parent, value in milled.cursors.items():
                reached = reached.advance(value, parent)
        settled = (extraction.server_time or asked_at) - timedelta(seconds=incremental.settle)
        reached = reached.no_later_than(settled)
        watermark = incremental.advanced(self._watermarks[name], reached, self._source.asked(name))
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
            reasons=reasons_of(ledger.reasons, self._source.resources[name].expect),
            seconds=max(extraction.ended_at, ledger.ended_at) - extraction.began_at,
        )


def foreseen(error: Exception, where: str, hide: Callable[[str], str] = str) -> PipelineError:
    """The *error* being handled as a kind that reports know; of a defect in *where* the log keeps the traceback."""
    cause = error.__cause__ if isinstance(error, Defect) else error
    if cause is not None and not isinstance(cause, PipelineError):
        log.error("defect in=%s\n%s", where, hide("".join(traceback.format_exception(cause))))
    return error if isinstance(error, PipelineError) else Defect.of(error, where)


def _stays(name: str, unfinished: ResourceReport) -> str:
    """Why the watermark of the resource *name* does not move."""
    return f"{name}: its watermark stays where it was, because {_became(unfinished)}; the next run goes on"


def _became(unfinished: ResourceReport) -> str:
    stopped = unfinished.problem is not None and unfinished.problem.kind == Interrupted.__name__
    how = "was stopped" if stopped else "failed" if unfinished.problem else "is incomplete"
    return f"{unfinished.resource} {how}"


def _warnings(name: str, ledger: Ledger) -> Iterator[str]:
    """A sentence for each check that some rows break, but that only warns, and for each mask that covered nothing."""
    rows: Counter[str] = Counter()
    for milled in ledger.milled:
        rows.update(milled.warnings)
    for sentence, broken in rows.items():
        yield f"{name}: {broken} {'row' if broken == 1 else 'rows'}: {sentence}"
    for path in ledger.unmet if ledger.rows_read else ():
        yield f"{name}: `mask` names {path!r}, which no record has: it covered nothing"
