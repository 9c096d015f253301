"""The marts of one run: each is made again when what it is made from has changed."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pipelines.batch import digest
from pipelines.config.project import target_of
from pipelines.config.settings import Settings
from pipelines.errors import PipelineError
from pipelines.extract.events import Event
from pipelines.inspection import EXPECTATIONS, inspect
from pipelines.left_over import of_left_over
from pipelines.load.changes import Change
from pipelines.load.lake import Draft, Lake
from pipelines.load.log import Commit
from pipelines.load.merge import Place, work
from pipelines.load.schema import decode_schema, unify, with_known_types
from pipelines.marts.model import MARTS, Mart, Marts
from pipelines.marts.units import plan as divide
from pipelines.milled import MAKE_MART, Milled
from pipelines.milling import batch_event
from pipelines.report.looked_at import looked_at
from pipelines.report.result import Expected, Problem, ResourceReport, SourceReport
from pipelines.source_run import Shared, not_shown, sweep
from pipelines.transform.checks import Expectation, Expectations
from pipelines.version import CODE_VERSION

if TYPE_CHECKING:
    import pyarrow as pa


def run_marts(marts: Marts, shared: Shared) -> SourceReport | None:
    """Bring all marts up to date in one commit; None where there are none."""
    if not marts.marts:
        return None
    lake = Lake(shared.settings.data, MARTS, shared.settings.remote)
    try:
        with lake.lock(shared.run_id):
            lake.recover()
            return _MartRun(marts, lake, shared).run()
    except PipelineError as error:
        reports = tuple(ResourceReport(MARTS, name) for name in marts.marts)
        return SourceReport(MARTS, None, False, reports, Problem.of(error))


class _MartRun:
    """The steps of all marts, in the order of their inputs; the lock is held."""

    def __init__(self, marts: Marts, lake: Lake, shared: Shared) -> None:
        self._marts, self._lake, self._shared = marts, lake, shared
        config_hash = digest(marts.model_dump_json(exclude_defaults=True).encode())
        self._draft: Draft = lake.begin(shared.run_id, config_hash=config_hash, code_version=CODE_VERSION)
        self._heads, self._files, self._schemas = _committed(marts, shared.settings)
        self._wanted = marts.fingerprints({source: f"{head.n} {head.run}" for source, head in self._heads.items()})
        self._failed: dict[str, list[str]] = {}
        """The marts that failed, for each mart that failed or waits for one of them."""

    def run(self) -> SourceReport:
        """Make what is stale, then commit."""
        reports = [self._settled(name) for name in self._marts.in_order()]
        began = time.monotonic()
        committed = self._lake.commit(self._draft)
        number = committed.head.n if committed.head else None
        self._tell(Event("committed", "", time.monotonic(), time.monotonic() - began, size=number or 0))
        if not committed.pending:
            sweep(self._lake, self._shared)
        changed = committed.changed and bool(self._draft.changed)
        return SourceReport(
            MARTS,
            number,
            changed,
            tuple(reports),
            warnings=(
                *not_shown(self._lake, committed),
                *of_left_over(MARTS, self._draft.commit.datasets, self._marts.marts),
            ),
        )

    def _tell(self, event: Event) -> None:
        self._shared.listen(MARTS, event)

    def _settled(self, name: str) -> ResourceReport:
        self._tell(Event("planned", name, time.monotonic()))
        report = self._bring(name)
        rows = report.rows_written
        self._tell(Event("settled", name, time.monotonic(), seconds=report.seconds, size=rows, note=report.verdict))
        return report

    def _bring(self, name: str) -> ResourceReport:
        mart, started = self._marts.marts[name], time.monotonic()
        checks = tuple(map(Expected.of, EXPECTATIONS.validate_python(mart.expect)))
        report = ResourceReport(MARTS, name, verdict="complete", expected=checks)
        missing = [dataset for dataset in mart.inputs.values() if not self._is_known(dataset)]
        if missing:
            return replace(report, verdict="skipped", evidence=self._waits_for(name, missing))
        try:
            if self._draft.state(name) == {"inputs": self._wanted[name]}:
                report = self._left(name, mart, report)
            else:
                report = self._make(name, mart, report)
        except PipelineError as error:
            self._failed[f"{MARTS}.{name}"] = [f"{MARTS}.{name}"]
            return replace(report.failed(error), seconds=time.monotonic() - started)
        return replace(report, seconds=time.monotonic() - started)

    def _waits_for(self, name: str, missing: list[str]) -> str:
        """What mart *name* lacks: the marts that failed, else the inputs that never had rows."""
        failed = sorted({mart for dataset in missing for mart in self._failed.get(dataset, ())})
        if not failed:
            return f"no rows yet in {', '.join(missing)}"
        self._failed[f"{MARTS}.{name}"] = failed
        return f"{', '.join(failed)} failed"

    def _left(self, name: str, mart: Mart, report: ResourceReport) -> ResourceReport:
        """Leave the rows of a mart as they are; they may be too old by now."""
        dataset = self._draft.dataset(name)
        self._note_files(name)
        checks = EXPECTATIONS.validate_python(mart.expect)
        aging = tuple(one for one in checks if one.freshness is not None)
        return replace(
            report,
            unchanged=dataset.rows,
            warnings=self._inspect(name, aging, Change(dataset.files)),
            evidence="its inputs have not changed",
            expected=looked_at(checks, aging),
        )

    def _is_known(self, dataset: str) -> bool:
        """Whether its columns are known: all its rows may be gone, which is not the same as not loaded yet."""
        return bool(self._files.get(dataset)) or dataset in self._schemas

    def _make(self, name: str, mart: Mart, report: ResourceReport) -> ResourceReport:
        target = target_of(mart)
        self._fetch_inputs(mart)
        units = divide(name, mart, self._files, self._shared.engine.workers, self._schemas)
        made: list[Milled] = self._shared.engine.map(partial(MAKE_MART, store=self._lake.store, target=target), units)
        for milled in made:
            self._tell(batch_event(name, milled))
        began = time.monotonic()
        place = Place(self._lake.store, self._lake.tmp, name, target)
        parts = [part for milled in made for part in milled.parts]
        change = self._lake.merge(
            place, self._draft.dataset(name), parts, lambda steps: self._shared.engine.map(work, steps)
        )
        if not parts:  # no file tells its columns
            columns = unify(decode_schema(milled.columns) for milled in made)
            change = replace(change, schema=with_known_types(columns, self._draft.dataset(name).schema))
        warnings = self._inspect(name, _checks(mart), change)
        self._draft.set_files(name, change, target)
        self._draft.set_state(name, {"inputs": self._wanted[name]})
        self._note_files(name)
        self._tell(Event("merged", name, time.monotonic(), time.monotonic() - began))
        return replace(
            report,
            rows_read=sum(milled.rows_read for milled in made),
            new=change.counts.get("new", 0),
            unchanged=change.counts.get("unchanged", 0),
            files_written=len(change.added),
            warnings=warnings,
            evidence=f"{len(units)} {'unit' if len(units) == 1 else 'units'} of rows",
        )

    def _fetch_inputs(self, mart: Mart) -> None:
        """Bring the rows of a mart's inputs to this machine, if they are kept in a bucket."""
        settings = self._shared.settings
        for source, _, name in (dataset.partition(".") for dataset in mart.inputs.values() if settings.remote):
            if source == MARTS:
                self._lake.files(self._draft.dataset(name))
            else:
                Lake(settings.data, source, settings.remote).files(self._heads[source].datasets[name])

    def _inspect(self, name: str, checks: Expectations, change: Change) -> tuple[str, ...]:
        """Check what the mart would become; what only deserves a warning is returned."""
        paths = [*(file.path for file in change.kept), *(part.path for part in change.added)]
        files = [self._lake.store / path for path in paths]
        if not checks:
            return ()
        self._lake.home.bring(change.kept)
        return self._shared.engine.call(inspect, files, checks, f"{MARTS}.{name}", self._shared.now)

    def _note_files(self, name: str) -> None:
        """What a later mart reads: the files of the draft, committed or just made."""
        dataset, known_as = self._draft.dataset(name), f"{MARTS}.{name}"
        self._files[known_as] = [self._lake.store / file.path for file in dataset.files]
        if not dataset.files and dataset.schema is not None:
            self._schemas[known_as] = dataset.schema


def _checks(mart: Mart) -> Expectations:
    """Those of `expect`, and that no two rows have one `key`, unless `expect` says how severe that is."""
    checks = EXPECTATIONS.validate_python(mart.expect)
    is_told = any(one.unique and {*one.unique} <= {*mart.key} for one in checks)
    return checks if is_told or not mart.key else (*checks, Expectation(unique=mart.key))


def _committed(
    marts: Marts, settings: Settings
) -> tuple[dict[str, Commit], dict[str, list[Path]], dict[str, pa.Schema]]:
    """The head of every source that a mart reads, the live files of its datasets, columns that files do not tell."""
    heads: dict[str, Commit] = {}
    schemas: dict[str, pa.Schema] = {}
    files: dict[str, list[Path]] = {}
    for source in {dataset.split(".", 1)[0] for mart in marts.marts.values() for dataset in mart.inputs.values()}:
        if source == MARTS:
            continue
        lake = Lake(settings.data, source, settings.remote)
        head = lake.head()
        if head is not None:
            heads[source] = head
            paths = {name: [lake.store / file.path for file in one.files] for name, one in head.datasets.items()}
            files.update({f"{source}.{name}": found for name, found in paths.items()})
            untold = {name: one.schema for name, one in head.datasets.items() if one.is_mixed or not one.files}
            schemas.update({f"{source}.{name}": schema for name, schema in untold.items() if schema is not None})
    return heads, files, schemas
