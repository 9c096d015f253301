"""Which kept pages may make rows anew, and which rows of a dataset came of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.config.source import Source
from pipelines.errors import StoreError
from pipelines.extract.spool import Plan, kept, kept_folder
from pipelines.load.lake import Lake
from pipelines.load.log import Dataset, LiveFile


class KeptPages:
    """The kept pages of *names*, resources of *source*: `plans` and `commits` of them, oldest first.

    Raises:
        StoreError: None are kept of any of them, or nothing tells what would come of them from other rows.
    """

    def __init__(self, source: Source, lake: Lake, folder: Path, names: list[str]) -> None:
        self._source, self._lake, self.folder = source, lake, folder
        self.plans = _chain(kept(folder), lake)
        self.commits = {name: found for name in names if (found := self._commits_of(name))}
        if not self.commits:
            hint = "`threadmill run` keeps what it reads for `spool_retention`; `threadmill backfill` reads again"
            raise StoreError(f"no pages of {', '.join(names)} are kept", hint)

    def _commits_of(self, name: str) -> list[int]:
        """The commits whose pages of *name* count: all that are kept, or the newest if a read says what is gone."""
        dropped = self._dropped(name)
        taken_in = [number for number, plan in self.plans.items() if name not in plan.failed and number > dropped]
        found = [number for number in taken_in if _pages(self.folder, number, name).exists()]
        write = self._source.resources[name].write
        if write == "replace" or self.drops_missing(name):
            return found[-1:]
        if write == "append" and found and name not in self.plans[found[0]].first:
            return self._told_apart(name, found)
        return found

    def _dropped(self, name: str) -> int:
        """The last commit that took dataset *name* out; 0 where none did: rows of older pages are to be gone."""
        log, before = self._lake.log, False
        dropped = 0
        for number in log.numbers():
            is_there = name in log.read(number).datasets
            dropped = number if before and not is_there else dropped
            before = is_there
        return dropped

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

    def drops_missing(self, name: str) -> bool:
        """Whether rows that a read of *name* does not have are gone."""
        resource = self._source.resources[name]
        return bool(resource.write == "upsert" and resource.deletes and resource.deletes.missing)

    def is_whole(self, name: str) -> bool:
        """Whether kept pages go back to the first row of *name* without a gap."""
        return name in self.plans[self.commits[name][0]].first

    def refuse_history(self, name: str) -> None:
        """Raise `StoreError` where pages alone do not tell when each version of *name* began and ended."""
        resource = self._source.resources[name]
        is_missed = bool(resource.deletes and resource.deletes.missing)
        if is_missed or resource.version is None:
            why = "with `deletes: {missing: true}` a row ends" if is_missed else "without `version` a row holds from"
            raise StoreError(
                f"{name}: {why} when it was read, which no page tells: its versions are in the lake alone",
                "`threadmill run` goes on from them, `threadmill rollback` back to older ones; replay others by name",
            )
        if not self.is_whole(name):
            raise StoreError(
                f"{name}: pages before commit {self.commits[name][0]} are no longer kept, and versions build on them",
                "with `write: history` raise `spool_retention`; a run goes on from what is stored",
            )

    def others(self, name: str, dataset: Dataset) -> tuple[LiveFile, ...]:
        """The files of appended rows that did not come of kept pages."""
        commits, replays = set(self.commits[name]), replays_of(dataset.state)
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


def replays_of(state: object) -> dict[str, list[int]]:
    """For the commits that replays made: of which commits' pages."""
    return dict(state.get("replays", {})) if isinstance(state, dict) else {}


def _pages(folder: Path, number: int, name: str) -> Path:
    return kept_folder(folder, number) / f"{name}.pages"
