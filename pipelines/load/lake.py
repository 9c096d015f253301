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

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec.structs import replace

from pipelines.batch import Part
from pipelines.errors import PipelineError, StoreError
from pipelines.load import recovery
from pipelines.load.disk import DISK, Abilities, Disk, store_errors
from pipelines.load.draft import Committed, Draft
from pipelines.load.lock import locked
from pipelines.load.log import Commit, Dataset, Log
from pipelines.load.recovery import Recovery
from pipelines.load.showing import show
from pipelines.load.stores import Addresses, LocalStore, Remote, Store, store_of
from pipelines.load.view import View, refuse_links

if TYPE_CHECKING:
    from pipelines.load.changes import Change, Place, Unit
    from pipelines.load.difference import Difference
    from pipelines.load.repair import Repair
    from pipelines.load.schema import OnMismatch
    from pipelines.load.verify import Verified

__all__ = ["Committed", "Draft", "Lake"]

Work: TypeAlias = "Callable[[Iterable[Unit]], Iterable[Any]]"
"""Does units of work, here or in worker processes, and gives their results in order."""


def _here(units: Iterable[Unit]) -> Iterable[Any]:
    return (unit.work() for unit in units)


class Lake:
    """The datasets of one source below a data folder; with *remote* their documents and parts are in a bucket.

    The data folder then keeps the lock of this machine, and copies of what was
    written or read here; there is no folder for analysts to glob.
    """

    def __init__(self, root: Path, source: str, remote: Remote | None = None, *, disk: Disk = DISK) -> None:
        self.source, self.remote, self.folder = source, remote, root / "lake" / source
        self.store, self.tmp, self.aside = self.folder / "store", self.folder / "tmp", self.folder / "aside"
        self.shown, self._disk = root / "parquet" / source, disk
        self._local = LocalStore(self.folder, disk, self._refuse_links)
        self.home: Store = self._local if remote is None else store_of(remote, source, self.folder)
        self.log = Log(source, self.home)

    @property
    def abilities(self) -> Abilities:
        """What the file system of the data folder can do."""
        return self._local.abilities

    @cached_property
    def view(self) -> View | None:
        """What analysts see; None in a bucket, where they read by the newest document."""
        if self.remote is not None:
            return None
        return View(self.shown, self.store, self.aside, lambda: self.abilities, self._disk)

    @contextmanager
    def lock(self, run: str) -> Iterator[None]:
        """Keep other runs out of this source.

        If the run fails, what it staged is removed at once.

        Raises:
            Busy: Another run is in; the message names its process, run and start.
            StoreError: The data folder cannot be written to.
        """
        with locked(self.folder / "lock", self.source, run, self._disk):
            try:
                yield
            except BaseException:
                with suppress(PipelineError):
                    self.tidy()
                raise

    def head(self) -> Commit | None:
        """The newest commit; None in an empty lake."""
        return self.log.head()

    def recover(self) -> Recovery:
        """Finish or clear away what an earlier run left undone. Call it with the lock held."""
        with store_errors("recovering the lake"):
            if self.view is None:
                return Recovery(leftovers=self.tidy())
            recovery.retire(self.aside, self.folder / "foreign", self._disk, now=datetime.now(UTC))
            return recovery.recover(self.log, self.home, self.view, self.folder, self._disk)

    def begin(self, run: str, *, config_hash: str = "", code_version: str = "", note: str = "") -> Draft:
        """A draft on top of the head."""
        now = datetime.now(UTC)
        return Draft(self.head(), run, config_hash=config_hash, code_version=code_version, now=now, note=note)

    def commit(self, draft: Draft, *, now: datetime | None = None) -> Committed:
        """Make the draft true, all of it or nothing, then visible.

        With no new files and the same state nothing is written. Where only
        showing fails, the commit stands and the next run shows it. The clock
        names a commit, by when it is made; it never orders one.

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
                self.home.keep(draft.parts)
            # not when the run began: a reader at a time must find what was there to be read then
            commit = replace(commit, created_at=now or datetime.now(UTC))
            self.log.append(commit)
        except PipelineError as error:
            made = self._is_head(commit)
            if made is False:
                self.discard(draft.parts + draft.dropped)
            if not made:
                raise
            return Committed(commit, changed=True, pending=draft.changed, warning=error.message)
        self.discard(draft.dropped)
        if self.view is None:
            return Committed(commit, changed=True)
        return show(commit, draft.changed, self.view, self.head)

    def merge(
        self,
        place: Place,
        dataset: Dataset,
        staged: Sequence[Part],
        do: Work = _here,
        on_mismatch: OnMismatch = "widen",
    ) -> Change:
        """What the write mode makes of *staged* and *dataset*; live files that it reads are brought here first."""
        from pipelines.load.changes import bringing, reshapes, resolve
        from pipelines.load.encode import encoded
        from pipelines.load.merge import plan

        if self.remote is not None:
            if reshapes(place, dataset, staged):
                self.home.bring(dataset.files)
            do = bringing(dataset, self.home.bring, do)
        return resolve(encoded(place, resolve(plan(place, dataset, staged, on_mismatch), do)), do)

    def discard(self, parts: tuple[Part, ...]) -> None:
        """Remove staged parts that will not be committed; what cannot be removed is swept up later."""
        for part in parts:
            with suppress(OSError):
                self._disk.unlink(self.store / part.path)

    def tidy(self) -> int:
        """Remove everything that no commit names; how many files went. Call it with the lock held.

        Of a source in a bucket only what lies on this machine is looked at: see `vacuum`.
        """
        with store_errors("tidying the lake"):
            if self.view is None:
                return recovery.evict(self.head(), self.store, self.tmp, self._disk, now=datetime.now(UTC))
            return recovery.tidy(self.log, self.view, self.tmp, self._disk)

    def vacuum(self, *, keep: int, grace: timedelta, now: datetime) -> int:
        """Forget all but the last *keep* commits (at least one) and those replaced within *grace*; how many went.

        Then everything that no kept commit names is removed. Call it with the lock held.
        """
        with store_errors("vacuuming the lake"):
            replaced_before = now - max(grace, self.home.least_grace)
            forgotten = recovery.forget(self.log, keep=max(1, keep), replaced_before=replaced_before)
            paths = {path for commit in forgotten for path in commit.paths}
            self.home.sweep(lambda: recovery.named(self.log), paths, now=now)
            recovery.retire(self.aside, self.folder / "foreign", self._disk, now=now, grace_s=grace.total_seconds())
        self.tidy()
        return len(forgotten)

    def rollback(self, number: int, run: str, *, code_version: str = "") -> Committed:
        """Commit once more what commit *number* had: files, schemas and watermarks of every dataset.

        Nothing is lost: the commits in between stay in the log until they are vacuumed, and
        the next run reads again what came after. Call it with the lock held.

        Raises:
            StoreError: That commit is not kept, or files of it are gone.
        """
        commit = self.log.read(number)
        if self.view is not None:
            with store_errors("looking at the view"):
                recovery.mend(recovery.unshown(self.head(), self.view), self.home, self.view)
        missing = self.home.missing(sorted(commit.paths))
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

    def drop(self, names: Sequence[str], run: str, *, code_version: str = "") -> Committed:
        """Commit the head without the datasets *names*, their rows and watermarks.

        Older commits keep them until they are vacuumed, and a rollback brings them back. Call it with the lock held.

        Raises:
            StoreError: The head has no such dataset.
        """
        head = self.head()
        known = list(head.datasets) if head else []
        if missing := [name for name in names if name not in known]:
            raise StoreError(f"{self.source} has no dataset {missing[0]!r}", f"there are {', '.join(known) or 'none'}")
        config_hash = head.config_hash if head else ""
        note = f"drop {', '.join(names)}"
        draft = self.begin(run, config_hash=config_hash, code_version=code_version, note=note)
        for name in names:
            draft.drop(name)
        return self.commit(draft)

    def compact(self, run: str, do: Work = _here, *, file_bytes: int = 32_000_000, code_version: str = "") -> Committed:
        """Merge small files in one commit; rows, order in folders and watermarks stay. Call it with the lock held."""
        # these read rows; a lake that is only looked at needs none of them
        from pipelines.load.changes import Place, resolve
        from pipelines.load.compact import compact

        head = self.head()
        config_hash = head.config_hash if head else ""
        draft = self.begin(run, config_hash=config_hash, code_version=code_version, note="compact")
        for name, dataset in draft.commit.datasets.items():
            stats = tuple(dict.fromkeys(column for file in dataset.files for column in file.stats))
            place = Place(self.store, self.tmp, name, dataset.target, stats, self._disk)
            self.home.bring(dataset.files)
            change = resolve(compact(place, dataset, file_bytes), do)
            draft.set_files(name, change, dataset.target, masked=dataset.masked)
        return self.commit(draft)

    def verify(self, do: Work = _here, *, number: int | None = None) -> Verified:
        """Read every live file of a commit (the head) again; what is not as it was committed."""
        from pipelines.load.verify import verify

        commit = self.head() if number is None else self.log.read(number)
        files = [file for dataset in commit.datasets.values() for file in dataset.files] if commit else []
        with store_errors("verifying the lake"), TemporaryDirectory(prefix="threadmill-verify-") as aside:
            return verify(self.log, self.home.as_kept(files, Path(aside)), self.view, commit, do)

    def repair(self) -> Repair:
        """Restore what was removed or replaced in store, view or bucket. Call it with the lock held."""
        from pipelines.load.repair import repair

        with store_errors("repairing the lake"):
            return repair(self.log, self.home, self.store, view=self.view, folder=self.folder, disk=self._disk)

    def diff(self, one: int, other: int) -> list[Difference]:
        """What became of each dataset between two commits."""
        from pipelines.load.difference import differences

        return differences(self.log.read(one), self.log.read(other), self.store, self.home.bring)

    def snapshot(self, number: int | None = None) -> dict[str, list[Path]]:
        """The files of every dataset as of a commit (the head) on this machine; no later run changes them."""
        commit = self.head() if number is None else self.log.read(number)
        return {name: self.files(dataset) for name, dataset in commit.datasets.items()} if commit else {}

    def files(self, dataset: Dataset) -> list[Path]:
        """The files of *dataset* on this machine; what is not here is brought."""
        self.home.bring(dataset.files)
        return [self.store / file.path for file in dataset.files]

    def bring(self, dataset: Dataset, paths: Iterable[Path]) -> None:
        """See to it that those files of *dataset* are here that are read at *paths*."""
        if self.remote is not None:
            wanted = set(paths)
            self.home.bring([file for file in dataset.files if self.store / file.path in wanted])

    def addresses(self, dataset: Dataset) -> Addresses:
        """What readers open to read *dataset* where it is kept."""
        return self.home.addresses(file.path for file in dataset.files)

    def _is_head(self, commit: Commit) -> bool | None:
        """Whether *commit* is the newest; None where nobody can tell."""
        with suppress(PipelineError):
            head = self.head()
            return head is not None and head.run == commit.run and head.n == commit.n
        return None

    def _refuse_links(self) -> None:
        refuse_links(self.folder, self.store, self.tmp, self.aside, self.folder / "log", self.shown)
