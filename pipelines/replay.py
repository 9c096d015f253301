"""Make rows anew from kept pages, after a change of types, checks or code; no request is sent.

Each kept commit's questions are asked again, with its clock and watermarks,
and answered from its pages. All resources succeed, or nothing is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing

from msgspec.structs import replace

from pipelines.batch import Json, Part
from pipelines.config.source import Source
from pipelines.errors import ConfigError, PipelineError
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.extraction import Extraction
from pipelines.extract.offline import Offline
from pipelines.extract.spool import Plan, Spool, kept_folder
from pipelines.extract.watermark import Watermark
from pipelines.fetching import fetch_and_mill
from pipelines.kept_pages import KeptPages, replays_of
from pipelines.load.lake import Lake
from pipelines.load.log import Dataset, LiveFile
from pipelines.milled import rejects_of
from pipelines.milling import Ledger
from pipelines.recipes import recipe_of
from pipelines.report.result import Problem, ResourceReport, SourceReport
from pipelines.report.spans import Span, all_endpoints, parents_of, zones_of
from pipelines.source_run import Shared, SourceRun, not_shown

_PER_COMMIT = 10**9  # more batches than a commit has: parts of a later one sort after those of an earlier one


def replay_source(source: Source, shared: Shared, only: str | None = None) -> SourceReport:
    """Make the rows of *source*, or of *only* this resource, anew from kept pages; problems are in the report."""
    lake = Lake(shared.settings.data, source.name, shared.settings.remote)
    names = [only] if only else list(source.resources)
    try:
        if only and only not in source.resources:
            raise ConfigError(f"{source.name} has no resource {only!r}", f"known: {', '.join(source.resources)}")
        with lake.lock(shared.run_id):
            lake.recover()
            return _Replay(source, lake, shared, names).run().hiding(source.secrets.hide)
    except PipelineError as error:
        resources = tuple(ResourceReport(source.name, name) for name in source.resources if name in names)
        return SourceReport(source.name, None, False, resources, Problem.of(error)).hiding(source.secrets.hide)


class _Replay:
    """One replay; the lock is held."""

    def __init__(self, source: Source, lake: Lake, shared: Shared, names: list[str]) -> None:
        self._source, self._lake, self._shared = source, lake, shared
        self._run = SourceRun(source, lake, shared, note="replay")
        self._pages = KeptPages(source, lake, shared.settings.data / "spool" / source.name, names)
        self._commits = self._pages.commits

    def run(self) -> SourceReport:
        """Mill the kept pages of every commit in turn, and commit what all of them make."""
        draft = self._run.draft
        for name in self._commits:
            self._clear(name)
        ledgers = {name: Ledger() for name in self._commits}
        extractions: dict[str, Extraction] = {}
        for number in sorted({number for commits in self._commits.values() for number in commits}):
            for name, later in self._mill(number, ledgers).items():
                extractions[name] = _together(extractions.get(name, later), later)
        for name in filter(self._pages.drops_missing, self._commits):
            self._put_back(name, extractions[name], ledgers[name])
        milled = {name: (extractions[name], ledger) for name, ledger in ledgers.items()}
        reports = self._run.settling.settled(milled, lambda name: self._shared.now)
        if any(report.problem for report in reports):
            self._lake.discard((*draft.parts, *draft.dropped))
            return SourceReport(self._source.name, draft.head.n if draft.head else None, False, tuple(reports))
        for name, commits in self._commits.items():
            replays = {**replays_of(draft.state(name)), str(draft.commit.n): commits}
            draft.set_state(name, {**(draft.state(name) or {}), "replays": replays})
        committed = self._lake.commit(draft)
        told = tuple(replace(report, evidence=self._told(report.resource)) for report in reports)
        head = committed.head.n if committed.head else None
        return SourceReport(
            self._source.name,
            head,
            committed.changed,
            told,
            warnings=not_shown(self._lake, committed),
        )

    def _told(self, name: str) -> str:
        commits = self._commits[name]
        return f"made anew from the kept pages of commits {', '.join(map(str, commits))}"

    def _clear(self, name: str) -> None:
        """Take away the rows that the kept pages make again.

        Raises:
            StoreError: They cannot be told from other rows.
        """
        draft, resource = self._run.draft, self._source.resources[name]
        dataset = draft.dataset(name)
        if resource.write == "replace":
            return
        if resource.write == "history":
            self._pages.refuse_history(name)
        if self._pages.is_whole(name):
            draft.start_again(name)
            draft.drop(rejects_of(name))
        elif resource.write == "append":
            draft.start_again(name, self._pages.others(name, dataset), columns=dataset.columns)
        elif self._pages.drops_missing(name):
            draft.start_again(name)

    def _put_back(self, name: str, extraction: Extraction, ledger: Ledger) -> None:
        """Put back what the newest read of *name* lacks where that does not tell what is gone: then it is merged."""
        is_short = extraction.verdict == "incomplete" or any(milled.rejects for milled in ledger.milled)
        head = self._run.draft.head
        if head and not self._pages.is_whole(name) and (is_short or not ledger.rows_read):
            before = head.datasets.get(name, Dataset())
            self._run.draft.start_again(name, before.files, columns=before.columns)

    def _mill(self, number: int, ledgers: Mapping[str, Ledger]) -> dict[str, Extraction]:
        """Mill the pages of one commit; what comes of them goes to *ledgers*."""
        plan, source = self._pages.plans[number], self._source
        names = [name for name, commits in self._commits.items() if number in commits]
        endpoints = self._endpoints(plan, names)
        # the pages are those that this watermark asked for, whatever field it was of
        watermarks = {name: _of_any_cursor(plan.watermarks.get(name)) for name in endpoints}
        zones = zones_of(source.resources)
        recipes = {
            name: recipe_of(
                name,
                source.resources[name],
                source=source.name,
                asked=endpoint,
                # in another zone the same rows may lie before it
                watermark=watermarks[name] if plan.zones.get(name) == zones.get(name) else None,
                ahead=name in plan.ahead,
                dataset=self._so_far(name, ledgers),
                store=self._lake.store,
                settings=self._shared.settings,
            )
            for name, endpoint in endpoints.items()
        }
        for name, recipe in recipes.items():
            self._lake.bring(self._run.draft.dataset(name), recipe.compared)
        shared, folder = self._shared, kept_folder(self._pages.folder, number)
        with closing(Offline(source.connection())) as client, Spool(folder, plan) as spool:
            extractions, milled = fetch_and_mill(
                source, endpoints, watermarks, recipes, spool=spool, client=client, engine=shared.engine,
                settings=shared.settings, listen=shared.listen, stop=shared.stop,
            )  # fmt: skip
        for name in names:
            _add(ledgers[name], milled[name], extractions[name].error, number)
        self._lake.discard(_unused(milled, names))
        return {name: extractions[name] for name in names}

    def _endpoints(self, plan: Plan, names: list[str]) -> dict[str, Endpoint]:
        """What was asked then: *names* and their parents, within the span of a backfill, in the zones of then.

        Counts are not asked again.
        """
        resources = self._source.resources
        asked = Span(*plan.span).endpoints(resources) if plan.span else all_endpoints(resources)
        needed = {*names, *(parent for name in names for parent in parents_of(name, resources))}
        return {name: _as_asked(one, plan.zones.get(name)) for name, one in asked.items() if name in needed}

    def _so_far(self, name: str, ledgers: Mapping[str, Ledger]) -> Dataset:
        """The rows that pages of earlier commits have made, and those that stay."""
        dataset = self._run.draft.dataset(name)
        if name not in ledgers or self._source.resources[name].write == "replace":
            return replace(dataset, columns=None)
        parts = [part for milled in ledgers[name].milled for part in milled.parts]
        made = tuple(LiveFile.of(part, 0, number) for number, part in enumerate(parts))
        columns = self._with_later_ones(name, ledgers[name].columns_beside(dataset.columns))
        return replace(dataset, files=(*dataset.files, *made), columns=columns)

    def _with_later_ones(self, name: str, made: tuple[Json, ...] | None) -> tuple[Json, ...] | None:
        """The columns *made* so far, and those that a run has accepted later, whose types its pages settle."""
        head, names = self._run.draft.head, {column["name"] for column in made or ()}
        stored = head.datasets[name].record_columns if head and name in head.datasets else None
        later = [column["name"] for column in stored or () if column["name"] not in names]
        return made and (*made, *({"name": column, "type": "null"} for column in later))


def _of_any_cursor(stored: Mapping[str, Json] | None) -> Watermark | None:
    mark = Watermark.from_json(stored)
    return mark and replace(mark, cursor="")


def _as_asked(endpoint: Endpoint, zone: str | None) -> Endpoint:
    """*endpoint* without its count; its bounds were in *zone*."""
    incremental = endpoint.incremental and endpoint.incremental.model_copy(update={"zone": zone})
    return endpoint.model_copy(update={"count": None, "incremental": incremental})


def _together(earlier: Extraction, later: Extraction) -> Extraction:
    """*later*, with the time that both took."""
    return replace(later, began_at=earlier.began_at or later.began_at, ended_at=later.ended_at or earlier.ended_at)


def _add(ledger: Ledger, milled: Ledger, error: PipelineError | None, number: int) -> None:
    """Put what came of the pages of commit *number* behind what came of earlier ones."""

    def later(parts: Iterable[Part]) -> tuple[Part, ...]:
        return tuple(replace(part, sequence=part.sequence + number * _PER_COMMIT) for part in parts)

    ledger.milled += [replace(one, parts=later(one.parts), rejects=later(one.rejects)) for one in milled.milled]
    ledger.error = ledger.error or milled.error or error
    ledger.ended_at = milled.ended_at


def _unused(ledgers: Mapping[str, Ledger], names: list[str]) -> tuple[Part, ...]:
    """The parts of parents that were read for their children's sake only."""
    others = [milled for name, ledger in ledgers.items() if name not in names for milled in ledger.milled]
    return tuple(part for milled in others for part in (*milled.parts, *milled.rejects))
