"""Where the documents and parts of a source are kept for good: in its folder, or in a bucket.

The lake commits in one way and asks a `Store` for the few things that differ:
that parts are safe, that a document is put where none is, what is still there,
and what is no longer needed. `LocalStore` is the folder on this machine,
`ObjectStore` (in `object_store.py`) a bucket that speaks S3's protocol.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct, field

from pipelines.batch import Part
from pipelines.errors import StoreError
from pipelines.load.disk import Abilities, Disk, probe, store_errors, write_file

DOCUMENT = re.compile(r"^(\d{12})\.json$")
_FEW = 16
"""So many files are synced one by one: 2 ms each, and nothing waits for the page spool, which no commit needs."""


class Remote(Struct, frozen=True):
    """A lake in a bucket: `url` is `s3://bucket/prefix`, `env` holds the variables that say how to get there."""

    url: str
    env: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Without the variables, for some are secrets."""
        return f"Remote({self.url!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", self.url)]


class Addresses(Struct, frozen=True):
    """How Arrow opens stored files: each by its `paths`, in `filesystem` (None is this machine's)."""

    paths: tuple[str, ...]
    filesystem: Any = None


class Stored(Protocol):
    """A stored file: its path in the store, and what its bytes were when it was written."""

    @property
    def path(self) -> str:
        """Below the store."""

    @property
    def size_bytes(self) -> int:
        """How many there are."""

    @property
    def digest(self) -> str:
        """Their xxh3-128."""


class Store(Protocol):
    """What the lake asks of the place where a source is kept.

    Documents stay for `least_grace` after the next one, whatever a vacuum asks.
    """

    least_grace: timedelta

    def numbers(self) -> list[int]:
        """The documents that are there, in order."""

    def document(self, number: int) -> bytes:
        """The document of that number; `FileNotFoundError` where there is none."""

    def add_document(self, number: int, data: bytes) -> bool:
        """Put a document where none is; False if there is one, which may be this one after all."""

    def forget(self, numbers: Sequence[int]) -> None:
        """Remove documents: none comes back once this returns."""

    def keep(self, parts: Sequence[Part]) -> None:
        """Make staged parts safe: once this returns they survive this machine's power, or this machine."""

    def missing(self, paths: Iterable[str]) -> list[str]:
        """Those of *paths* that are not there (any more), in order."""

    def bring(self, files: Iterable[Stored]) -> None:
        """See to it that *files* can be read in the store's folder of this machine."""

    def addresses(self, paths: Iterable[str]) -> Addresses:
        """What readers open."""

    def size_bytes(self) -> int:
        """What all stored files take."""

    def as_kept(self, files: Iterable[Stored], aside: Path) -> Path:
        """A folder that holds *files* as they are there now, damaged or not; it may be made in *aside*."""

    def restore(self, file: Stored, whole: Path) -> None:
        """Put *whole* in the place of a file that is gone or damaged."""

    def sweep(self, named: Callable[[], set[str]], forgotten: set[str], *, now: datetime) -> None:
        """Remove files that are not *named*: *forgotten* ones, and what dead runs left behind."""


class LocalStore:
    """The folder `lake/<source>` of this machine: its log, and its store that the view links to."""

    least_grace = timedelta(0)

    def __init__(self, folder: Path, disk: Disk, prepare: Callable[[], None]) -> None:
        self._log, self._store, self._tmp = folder / "log", folder / "store", folder / "tmp"
        self._disk, self._prepare = disk, prepare

    @cached_property
    def abilities(self) -> Abilities:
        """What the file system can do; tried once."""
        with store_errors("preparing the data folder"):
            self._prepare()
            if not self._log.is_dir():
                for folder in (self._store, self._log):
                    self._disk.folder(folder)
                # the names of these folders must survive a power cut as well as what is in them
                for folder in (self._log.parent, *self._log.parent.parents[:3]):
                    self._disk.sync(folder)
            return probe(self._tmp, self._disk)

    def numbers(self) -> list[int]:
        """The documents in the log."""
        if not self._log.is_dir():
            return []
        return sorted(int(match[1]) for path in self._log.iterdir() if (match := DOCUMENT.match(path.name)))

    def document(self, number: int) -> bytes:
        """The bytes of a document."""
        return self._path(number).read_bytes()

    def add_document(self, number: int, data: bytes) -> bool:
        """Write it aside, sync it and link it to its number: the link fails where the number is taken."""
        place, aside = self._path(number), self._tmp / f"{uuid.uuid4().hex}.json"
        self._disk.folder(self._log)
        try:
            write_file(aside, data, self._disk)
            self._publish(aside, place)
            free = True
        except FileExistsError:
            free = False
        finally:
            with suppress(OSError):
                self._disk.unlink(aside)
        self._disk.sync(self._log)
        return free

    def forget(self, numbers: Sequence[int]) -> None:
        """Remove documents, and sync: a power cut must not bring back one whose files are gone."""
        for number in numbers:
            self._disk.unlink(self._path(number))
        if numbers:
            self._disk.sync(self._log)

    def keep(self, parts: Sequence[Part]) -> None:
        """Sync the parts and their folders: few by themselves, as the file system has much else to write.

        Raises:
            StoreError: A part is gone; no document may name it.
        """
        if gone := self.missing(part.path for part in parts):
            raise StoreError(
                f"{len(gone)} of the {len(parts)} files that this run wrote are gone, the first is {gone[0]}",
                "another machine tidied them away: let one machine work on a source, then run again",
            )
        if not parts or (len(parts) > _FEW and self.abilities.syncfs and self._disk.sync_all(self._store)):
            return
        folders = {self._store}
        for part in parts:
            self._disk.sync(self._store / part.path)
            folders |= set((self._store / part.path).parents) - set(self._store.parents)
        for folder in sorted(folders, reverse=True):
            self._disk.sync(folder)

    def missing(self, paths: Iterable[str]) -> list[str]:
        """The paths that are no files."""
        return [path for path in paths if not (self._store / path).is_file()]

    def bring(self, files: Iterable[Stored]) -> None:
        """They are here."""

    def addresses(self, paths: Iterable[str]) -> Addresses:
        """Files of the store."""
        return Addresses(tuple(str(self._store / path) for path in paths))

    def size_bytes(self) -> int:
        """The size of all files of the store."""
        return sum(path.stat().st_size for path in self._store.rglob("*.parquet"))

    def as_kept(self, files: Iterable[Stored], aside: Path) -> Path:
        """The store itself."""
        return self._store

    def restore(self, file: Stored, whole: Path) -> None:
        """Put a second name of *whole* where the store should have it, in one step."""
        aside, stored = self._tmp / f"repair-{uuid.uuid4().hex}", self._store / file.path
        self._disk.folder(self._tmp)
        self._disk.folder(stored.parent)
        if self.abilities.hard_links:
            self._disk.link(whole, aside)
        else:
            self._disk.copy(whole, aside)
        aside.replace(stored)
        self._disk.sync(stored)
        self._disk.sync(stored.parent)

    def sweep(self, named: Callable[[], set[str]], forgotten: set[str], *, now: datetime) -> None:
        """`Lake.tidy` does it: with the lock held nobody stages files here."""

    def _publish(self, aside: Path, place: Path) -> None:
        if self.abilities.hard_links:
            self._disk.link(aside, place)
            return
        # without second names the lock is what keeps the number free between these two
        if place.exists():
            raise FileExistsError(place)
        self._disk.rename(aside, place)

    def _path(self, number: int) -> Path:
        return self._log / f"{number:012d}.json"


def store_of(remote: Remote, source: str, folder: Path) -> Store:
    """Where *remote* keeps *source*; copies go to *folder*."""
    from pipelines.load.object_store import ObjectStore

    return ObjectStore(remote, source, folder)


def sources_of(root: Path, remote: Remote | None) -> list[str]:
    """The sources that have data below *root*, or in the bucket."""
    if remote is not None:
        from pipelines.load.object_store import sources

        return sources(remote)
    folder = root / "lake"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
