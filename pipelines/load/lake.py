"""The lake: committed Parquet of one source, and the only place that publishes.

A run takes the lock, recovers what an earlier one left behind, begins a draft,
and commits it. One document then names the new files and watermarks of every
dataset at once, or nothing has happened. Files that no commit names are never
seen by anyone and are swept up later.

    with lake.lock(run_id):
        lake.recover()
        draft = lake.begin(run_id)
        draft.set_files("orders", change, target)
        draft.set_state("orders", {"watermark": "2024-05-01T00:00:00Z"})
        committed = lake.commit(draft)
        lake.vacuum(keep=20, grace=timedelta(hours=1), now=datetime.now(UTC))
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.batch import Part
from pipelines.errors import Busy, PipelineError, StoreError
from pipelines.load import recovery
from pipelines.load.disk import DISK, Abilities, Disk, probe, store_errors
from pipelines.load.draft import Draft
from pipelines.load.log import Commit, Log
from pipelines.load.recovery import Recovery
from pipelines.load.view import View, refuse_links

if TYPE_CHECKING:
    from pipelines.load.changes import Unit
    from pipelines.load.difference import Difference
    from pipelines.load.repair import Repair
    from pipelines.load.verify import Verified

__all__ = ["Committed", "Draft", "Lake"]

Work: TypeAlias = "Callable[[Iterable[Unit]], Iterable[Any]]"
"""Does units of work, here or in worker processes, and gives their results in order."""


def _here(units: Iterable[Unit]) -> Iterable[Any]:
    return (unit.work() for unit in units)


@dataclass(frozen=True, slots=True)
class Committed:
    """How a commit ended: `head` is the newest commit, `changed` whether this run made it.

    `pending` names datasets that are committed but could not be shown yet; the
    next run shows them.
    """

    head: Commit | None
    changed: bool
    published: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    warning: str = ""


class Lake:
    """The datasets of one source below a data folder."""

    def __init__(self, root: Path, source: str, *, disk: Disk = DISK) -> None:
        self.folder = root / "lake" / source
        self.store, self.tmp = self.folder / "store", self.folder / "tmp"
        self._view_folder, self._lock_path = root / "parquet" / source, self.folder / "lock"
        self._disk = disk
        self.log = Log(self.folder / "log", self.tmp, disk)

    @cached_property
    def abilities(self) -> Abilities:
        """What the file system can do; tried once."""
        with store_errors("preparing the data folder"):
            refuse_links(self.folder, self.store, self.tmp, self.folder / "log", self._view_folder)
            if not (self.folder / "log").is_dir():
                for folder in (self.store, self.folder / "log"):
                    self._disk.folder(folder)
                # the names of these folders must survive a power cut as well as what is in them
                for folder in (self.folder, *self.folder.parents[:3]):
                    self._disk.sync(folder)
            return probe(self.tmp, self._disk)

    @cached_property
    def view(self) -> View:
        """What analysts see."""
        return View(self._view_folder, self.store, self.tmp, self.abilities, self._disk)

    @contextmanager
    def lock(self, run: str) -> Iterator[None]:
        """Keep other runs out of this source.

        If the run fails, what it staged is removed at once.

        Raises:
            Busy: Another run is in; the message names its process, run and start.
            StoreError: The data folder cannot be written to.
        """
        with store_errors("preparing the data folder"):
            refuse_links(self.folder, self._lock_path)
            self._disk.folder(self.folder)
            file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            with store_errors("locking the lake"):
                self._take(file, f"process {os.getpid()}, run {run}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
            try:
                yield
            except BaseException:
                with suppress(PipelineError):
                    self.tidy()
                raise
        finally:
            os.close(file)

    def head(self) -> Commit | None:
        """The newest commit; None in an empty lake."""
        return self.log.head()

    def recover(self) -> Recovery:
        """Finish or clear away what an earlier run left undone. Call it with the lock held."""
        with store_errors("recovering the lake"):
            return recovery.recover(self.log, self.view, self.folder / "foreign", self._disk)

    def begin(
        self, run: str, *, config_hash: str = "", code_version: str = "", now: datetime | None = None, note: str = ""
    ) -> Draft:
        """A draft on top of the head. The clock names a commit, it never orders one."""
        now = now or datetime.now(UTC)
        return Draft(self.head(), run, config_hash=config_hash, code_version=code_version, now=now, note=note)

    def commit(self, draft: Draft) -> Committed:
        """Make the draft true, all of it or nothing, then visible.

        With no new files and the same state nothing is written. Where only
        showing fails, the commit stands and the next run shows it.

        Raises:
            Conflict: Another run committed first; this draft's files are removed.
            StoreError: The disk is full or refuses; this draft's files are removed.
        """
        if not draft.is_news:
            self.discard(draft.dropped)
            return Committed(draft.head, changed=False)
        commit = draft.commit
        try:
            with store_errors("syncing the store"):
                self._sync(draft.parts)
            self.log.append(commit, hard_links=self.abilities.hard_links)
        except PipelineError as error:
            if not self._is_head(commit):
                self.discard(draft.parts + draft.dropped)
                raise
            return Committed(commit, changed=True, pending=draft.changed, warning=error.message)
        self.discard(draft.dropped)
        return self._show(commit, draft.changed)

    def discard(self, parts: tuple[Part, ...]) -> None:
        """Remove staged parts that will not be committed; what cannot be removed is swept up later."""
        for part in parts:
            with suppress(OSError):
                self._disk.unlink(self.store / part.path)

    def tidy(self) -> int:
        """Remove everything that no commit names; how many files went. Call it with the lock held."""
        with store_errors("tidying the lake"):
            return recovery.tidy(self.log, self.store, self.tmp, self._disk)

    def vacuum(self, *, keep: int, grace: timedelta, now: datetime) -> int:
        """Forget all but the last *keep* commits and those younger than *grace*; how many went.

        Then everything that no kept commit names is removed. Call it with the lock held.
        """
        with store_errors("vacuuming the lake"):
            forgotten = recovery.forget(self.log, keep=keep, younger_than=now - grace)
        self.tidy()
        return forgotten

    def rollback(self, number: int, run: str, *, code_version: str = "") -> Committed:
        """Commit once more what commit *number* had: files, schemas and watermarks of every dataset.

        Nothing is lost: the commits in between stay in the log until they are vacuumed, and
        the next run reads again what came after. Call it with the lock held.

        Raises:
            StoreError: That commit is not kept, or files of it are gone.
        """
        commit = self.log.read(number)
        missing = [path for path in sorted(commit.paths) if not (self.store / path).is_file()]
        if missing:
            raise StoreError(
                f"commit {number} cannot come back: {len(missing)} of its files are gone, the first is {missing[0]}",
                "choose another commit; `threadmill log` lists those that are kept",
            )
        draft = self.begin(
            run, config_hash=commit.config_hash, code_version=code_version, note=f"rollback to commit {number}"
        )
        draft.restore(commit)
        return self.commit(draft)

    def compact(self, run: str, do: Work = _here, *, file_bytes: int = 32_000_000) -> Committed:
        """Merge small files in a commit of its own; rows, order and watermarks stay. Call it with the lock held."""
        # these read rows; a lake that is only looked at needs none of them
        from pipelines.load.changes import Place, resolve
        from pipelines.load.compact import compact

        draft = self.begin(run, note="compact")
        for name, dataset in draft.commit.datasets.items():
            stats = tuple(dict.fromkeys(column for file in dataset.files for column in file.stats))
            place = Place(self.store, self.tmp, name, dataset.target, stats, self._disk)
            draft.set_files(name, resolve(compact(place, dataset, file_bytes), do), dataset.target)
        return self.commit(draft)

    def verify(self, do: Work = _here, *, number: int | None = None) -> Verified:
        """Read every live file of a commit (the head) again; what is not as it was committed."""
        from pipelines.load.verify import verify

        commit = self.head() if number is None else self.log.read(number)
        with store_errors("verifying the lake"):
            return verify(self.log, self.view, commit, do)

    def repair(self) -> Repair:
        """Restore what was removed or replaced in store or view. Call it with the lock held."""
        from pipelines.load.repair import repair

        with store_errors("repairing the lake"):
            return repair(self.log, self.view, self.folder / "foreign", self._disk)

    def diff(self, one: int, other: int) -> list[Difference]:
        """What became of each dataset between two commits."""
        from pipelines.load.difference import differences

        return differences(self.log.read(one), self.log.read(other), self.store)

    def snapshot(self, number: int | None = None) -> dict[str, list[Path]]:
        """The store files of every dataset as of a commit (the head), which no later run changes."""
        commit = self.head() if number is None else self.log.read(number)
        datasets = commit.datasets if commit else {}
        return {name: [self.store / file.path for file in dataset.files] for name, dataset in datasets.items()}

    def _show(self, commit: Commit, names: tuple[str, ...]) -> Committed:
        published: list[str] = []
        try:
            with store_errors("showing the commit"):
                for name in names:
                    if name in commit.datasets:
                        self.view.publish(name, commit.datasets[name])
                    elif (self._view_folder / name).exists():
                        self.view.withdraw(name)
                    published.append(name)
        except StoreError as error:
            pending = tuple(name for name in names if name not in published)
            return Committed(commit, changed=True, published=tuple(published), pending=pending, warning=error.message)
        head = self.head()
        if head is not None and head.n > commit.n:
            # without the lock a slower run could show an older commit over a newer one
            return replace(self._show(head, tuple(head.datasets)), head=commit)
        return Committed(commit, changed=True, published=tuple(published))

    def _sync(self, parts: tuple[Part, ...]) -> None:
        if not parts or (self.abilities.syncfs and self._disk.sync_all(self.store)):
            return
        folders = {self.store}
        for part in parts:
            self._disk.sync(self.store / part.path)
            folders |= set((self.store / part.path).parents) - set(self.store.parents)
        for folder in sorted(folders, reverse=True):
            self._disk.sync(folder)

    def _is_head(self, commit: Commit) -> bool:
        with suppress(PipelineError):
            head = self.head()
            return head is not None and head.run == commit.run and head.n == commit.n
        return True  # not readable: rather keep files that nobody needs

    def _take(self, file: int, text: str) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 500, 0).decode(errors="replace").strip() or "unknown"
            raise Busy(
                f"another run is working on {self.folder.name} ({holder})", "wait until it has ended, then run again"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, text.encode(), 0)
