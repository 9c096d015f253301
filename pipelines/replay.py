"""Make rows anew from kept pages, after a change of types, checks or code; no request is sent.

Each kept commit's questions are asked again, with its clock and watermarks,
and answered from its pages. All resources succeed, or nothing is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from pipelines.batch import Part
from pipelines.config.source import Source
from pipelines.errors import ConfigError, PipelineError, StoreError
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.extraction import Extraction
from pipelines.extract.offline import Offline
from pipelines.extract.spool import Plan, Spool, kept, kept_folder
from pipelines.extract.watermark import Watermark
from pipelines.fetching import fetch_and_mill
from pipelines.load.lake import Lake
from pipelines.load.log import Dataset, LiveFile
from pipelines.milled import rejects_of
from pipelines.milling import Ledger
from pipelines.recipes import recipe_of
from pipelines.report.result import Problem, ResourceReport, SourceReport
from pipelines.report.spans import Span, all_endpoints, parents_of
from pipelines.source_run import Shared, SourceRun

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
        self._folder = shared.settings.data / "spool" / source.name
        self._plans = _chain(kept(self._folder), lake)
        self._run = SourceRun(source, lake, shared, note="replay")
        self._commits = {name: found for name in names if (found := self._commits_of(name))}
        if not self._commits:
            hint = "`threadmill run` keeps what it reads for `spool_retention`; `threadmill backfill` reads again"
            raise StoreError(f"no pages of {', '.join(names)} are kept", hint)

    def run(self) -> SourceReport:
        """Mill the kept pages of every commit in turn, and commit what all of them make."""
        draft = self._run.draft
        for name in self._commits:
            self._clear(name)
        ledgers = {name: Ledger() for name in self._commits}
        extractions: dict[str, Extraction] = {}
        for number in sorted({number for commits in self._commits.values() for number in commits}):
            extractions |= self._mill(number, ledgers)
        for name in filter(self._drops_missing, self._commits):
            self._put_back(name, extractions[name], ledgers[name])
        reports = self._run.settling.settled({name: (extractions[name], ledger) for name, ledger in ledgers.items()})
        if any(report.problem for report in reports):
            self._lake.discard((*draft.parts, *draft.dropped))
            return SourceReport(self._source.name, draft.head.n if draft.head else None, False, tuple(reports))
        for name, commits in self._commits.items():
            replays = {**_replays(draft.state(name)), str(draft.commit.n): commits}
            draft.set_state(name, {**(draft.state(name) or {}), "replays": replays})
        committed = self._lake.commit(draft)
        told = tuple(replace(report, evidence=self._told(report.resource)) for report in reports)
        head = committed.head.n if committed.head else None
        return SourceReport(self._source.name, head, committed.changed, told, view_pending=bool(committed.pending))

    def _told(self, name: str) -> str:
        commits = self._commits[name]
        return f"made anew from the kept pages of commits {', '.join(map(str, commits))}"

    def _commits_of(self, name: str) -> list[int]:
        """The commits whose pages of *name* count: all that are kept, or the newest if a read says what is gone."""
        found = [number for number in self._plans if _pages(self._folder, number, name).exists()]
        write = self._source.resources[name].write
        if write == "replace" or self._drops_missing(name):
            return found[-1:]
        if write == "append" and found and name not in self._plans[found[0]].first:
            return self._told_apart(name, found)
        return found

    def _told_apart(self, name: str, found: list[int]) -> list[int]:
        """Those of the commits *found* of which the one before is there: it tells whether they wrote older rows again.

        Raises:
            StoreError: There are none.
        """
        log = self._lake.log
        known = set(log.numbers())
        if told := [number for number in found if number in known and log.read(number).parent in known]:
            return told
        raise StoreError(
            f"{name}: nothing tells rows of kept pages from older ones, as the commit before {found[-1]} is forgotten",
            "read the span again with `threadmill backfill`; `kept_commits` says how many commits are kept",
        )

    def _drops_missing(self, name: str) -> bool:
        """Whether rows that a read of *name* does not have are gone."""
        resource = self._source.resources[name]
        return bool(resource.write == "upsert" and resource.deletes and resource.deletes.missing)

    def _is_whole(self, name: str) -> bool:
        """Whether kept pages go back to the first row of *name* without a gap."""
        return name in self._plans[self._commits[name][0]].first

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
            self._refuse_history(name)
        if self._is_whole(name):
            draft.start_again(name)
            draft.drop(rejects_of(name))
        elif resource.write == "append":
            draft.start_again(name, self._others(name, dataset), columns=dataset.columns)
        elif self._drops_missing(name):
            draft.start_again(name)

    def _refuse_history(self, name: str) -> None:
        """Raise `StoreError` where pages alone do not tell when each version of *name* began and ended."""
        resource = self._source.resources[name]
        is_missed = bool(resource.deletes and resource.deletes.missing)
        if is_missed or resource.version is None:
            why = "with `deletes: {missing: true}` a row ends" if is_missed else "without `version` a row holds from"
            raise StoreError(
                f"{name}: {why} when it was read, which no page tells: its versions are in the lake alone",
                "`threadmill run` goes on from them, `threadmill rollback` back to older ones; replay others by name",
            )
        if not self._is_whole(name):
            raise StoreError(
                f"{name}: pages before commit {self._commits[name][0]} are no longer kept, and versions build on them",
                "with `write: history` raise `spool_retention`; a run goes on from what is stored",
            )

    def _put_back(self, name: str, extraction: Extraction, ledger: Ledger) -> None:
        """Put back what the newest read of *name* lacks where that does not tell what is gone: then it is merged."""
        is_short = extraction.verdict == "incomplete" or any(milled.rejects for milled in ledger.milled)
        head = self._run.draft.head
        if head and not self._is_whole(name) and (is_short or not ledger.rows_read):
            before = head.datasets.get(name, Dataset())
            self._run.draft.start_again(name, before.files, columns=before.columns)

    def _others(self, name: str, dataset: Dataset) -> tuple[LiveFile, ...]:
        """The files of appended rows that did not come of kept pages."""
        commits, replays = set(self._commits[name]), _replays(dataset.state)
        sources = {one: set(replays.get(str(one), [one])) for one in {file.commit for file in dataset.files}}
        fit = {one for one, made_of in sources.items() if made_of <= commits}
        anew = {one for one in fit if not self._has_older(name, one, commits, replays)}
        others = []
        for file in dataset.files:
            if file.commit in anew:
                continue
            if sources[file.commit] & commits or file.commit > min(commits):
                raise StoreError(
                    f"{name}: rows of kept pages share a file with rows of older ones, since commit {file.commit}",
                    "`threadmill rollback` to before it, or read the span again with `threadmill backfill`",
                )
            others.append(file)
        return tuple(others)

    def _has_older(self, name: str, number: int, commits: set[int], replays: Mapping[str, list[int]]) -> bool:
        """Whether commit *number* wrote rows again, as for wider columns, that did not come of pages of *commits*."""
        commit = self._lake.log.read(number)
        before = self._lake.log.read(commit.parent).datasets if commit.parent else {}
        after = {file.path for file in commit.datasets[name].files}
        again = {file.commit for file in before.get(name, Dataset()).files if file.path not in after}
        return any(
            not set(replays.get(str(one), [one])) <= commits or self._has_older(name, one, commits, replays)
            for one in again
        )

    def _mill(self, number: int, ledgers: Mapping[str, Ledger]) -> dict[str, Extraction]:
        """Mill the pages of one commit; what comes of them goes to *ledgers*."""
        plan, source = self._plans[number], self._source
        names = [name for name, commits in self._commits.items() if number in commits]
        endpoints = self._endpoints(plan, names)
        watermarks = {name: Watermark.from_json(plan.watermarks.get(name)) for name in endpoints}
        recipes = {
            name: recipe_of(
                name,
                source.resources[name],
                source=source.name,
                asked=endpoint,
                watermark=watermarks[name],
                ahead=name in plan.ahead,
                dataset=self._so_far(name, ledgers),
                store=self._lake.store,
                settings=self._shared.settings,
            )
            for name, endpoint in endpoints.items()
        }
        for name, recipe in recipes.items():
            self._lake.bring(self._run.draft.dataset(name), recipe.compared)
        shared = self._shared
        with closing(Offline(source.connection())) as client, Spool(kept_folder(self._folder, number), plan) as spool:
            extractions, milled = fetch_and_mill(
                source, endpoints, watermarks, recipes, spool=spool, client=client, engine=shared.engine,
                settings=shared.settings, listen=shared.listen, stop=shared.stop,
            )  # fmt: skip
        for name in names:
            _add(ledgers[name], milled[name], extractions[name].error, number)
        self._lake.discard(_unused(milled, names))
        return {name: extractions[name] for name in names}

    def _endpoints(self, plan: Plan, names: list[str]) -> dict[str, Endpoint]:
        """What was asked then: *names* and their parents, within the span of a backfill; counts are not asked again."""
        resources = self._source.resources
        asked = Span(*plan.span).endpoints(resources) if plan.span else all_endpoints(resources)
        needed = {*names, *(parent for name in names for parent in parents_of(name, resources))}
        return {name: one.model_copy(update={"count": None}) for name, one in asked.items() if name in needed}

    def _so_far(self, name: str, ledgers: Mapping[str, Ledger]) -> Dataset:
        """The rows that pages of earlier commits have made, and those that stay."""
        dataset = self._run.draft.dataset(name)
        if name not in ledgers or self._source.resources[name].write == "replace":
            return replace(dataset, columns=None)
        parts = [part for milled in ledgers[name].milled for part in milled.parts]
        made = tuple(LiveFile.of(part, 0, number) for number, part in enumerate(parts))
        return replace(dataset, files=(*dataset.files, *made))


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


def _chain(plans: Mapping[int, Plan], lake: Lake) -> dict[int, Plan]:
    """Those of *plans* that lead to the newest commit without a gap, oldest first.

    Before a gap, pages could put old values over those that were read meanwhile.
    What a rollback took back is not on the way.
    """
    head, found = lake.head(), []
    number = _reading_before(head.n if head else 0, lake)
    while number in plans:
        found.append(number)
        number = _reading_before(number - 1, lake)
    return {one: plans[one] for one in reversed(found)}


def _reading_before(number: int, lake: Lake) -> int:
    """The newest commit up to *number* that took in pages; others only arrange, or come back to one."""
    for commit in reversed([lake.log.read(one) for one in lake.log.numbers() if one <= number]):
        _, came_back, target = commit.note.partition("rollback to commit ")
        if commit.n > number:
            continue
        if came_back:
            number = int(target)
        elif commit.note and not commit.note.startswith("backfill"):
            number = commit.n - 1
        else:
            return commit.n
    return number


def _replays(state: object) -> dict[str, list[int]]:
    """For the commits that replays made: of which commits' pages."""
    return dict(state.get("replays", {})) if isinstance(state, dict) else {}


def _pages(folder: Path, number: int, name: str) -> Path:
    return kept_folder(folder, number) / f"{name}.pages"
