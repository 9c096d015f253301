"""The durable steps: all that the lake ever asks of a file system.

Every call that must survive a power cut, or must not be half done, is one
method here. The lake takes a `Disk` as an argument, so the same protocol runs
on a disk that fills up, dies in the middle or forgets what was not synced.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from pipelines.errors import StoreError

_EXCHANGE = 2
_HERE = -100
_HINTS = {
    errno.ENOSPC: "the disk is full: free some space and run again; nothing was published",
    errno.EDQUOT: "the disk quota is used up: free some space and run again; nothing was published",
    errno.EACCES: "the user of this process may not write there: change the owner, or the data folder",
    errno.EPERM: "the user of this process may not write there: change the owner, or the data folder",
    errno.EROFS: "the file system is mounted read-only: choose another data folder",
    errno.ENOENT: "a file of the lake is gone: `threadmill verify` tells which",
    errno.EMFILE: "too many open files: raise `ulimit -n`",
    errno.ELOOP: "a symbolic link stands where a folder of the lake should be: remove it",
}

_LOOK = "look at the file system of the data folder, then run again"
DAMAGED = "a file of the lake is damaged: `threadmill verify` tells which, `threadmill repair` restores what it can"


class Abilities(Struct, frozen=True):
    """What the file system under the data folder can do; goes into the run report."""

    hard_links: bool
    exchange: bool
    syncfs: bool


class Disk:
    """The real file system."""

    def create(self, path: Path) -> int:
        """A new file, open for writing, read-only for its owner and group and nothing for others; its folder is made.

        An object is never written twice: `FileExistsError` where there is one.
        """
        self.folder(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        file = os.open(path, flags, 0o440)
        # a umask of 0777 must not leave objects that even their owner cannot read
        os.fchmod(file, stat.S_IMODE(os.fstat(file).st_mode) | stat.S_IRUSR)
        return file

    def write(self, file: int, data: bytes | memoryview) -> None:
        """Append all of *data*."""
        view = memoryview(data).cast("B")
        while view:
            view = view[os.write(file, view) :]

    def folder(self, path: Path) -> None:
        """Make the folder and those above it, closed to all but owner and group."""
        try:
            path.mkdir(0o750)
        except FileNotFoundError:
            self.folder(path.parent)
            self.folder(path)
        except FileExistsError:
            if not path.is_dir():
                raise
        else:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & stat.S_IRWXU != stat.S_IRWXU:
                path.chmod(mode | stat.S_IRWXU)

    def sync(self, path: Path) -> None:
        """Bring one file or folder to the platter."""
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def sync_all(self, folder: Path) -> bool:
        """Bring the whole file system of *folder* to the platter; False where it cannot."""
        syncfs = getattr(_libc(), "syncfs", None)
        if syncfs is None:
            return False
        file = os.open(folder, os.O_RDONLY)
        try:
            if syncfs(file) != 0:
                raise _last_error(folder)
        finally:
            os.close(file)
        return True

    def link(self, old: Path, new: Path) -> None:
        """A second name; `FileExistsError` if *new* is taken."""
        os.link(old, new, follow_symlinks=False)

    def copy(self, old: Path, new: Path) -> None:
        """The same bytes again, synced, where a file system knows no second names."""
        shutil.copyfile(old, new, follow_symlinks=False)
        new.chmod(stat.S_IMODE(old.stat().st_mode))
        self.sync(new)

    def rename(self, old: Path, new: Path) -> None:
        """Move a file or folder to a free name."""
        old.rename(new)

    def exchange(self, one: Path, other: Path) -> None:
        """Swap two names in one step; `OSError` where the file system cannot."""
        libc = _libc()
        names = os.fsencode(one), os.fsencode(other)
        if sys.platform == "darwin":
            swap = getattr(libc, "renamex_np", None)
            arguments: tuple[Any, ...] = (*names, ctypes.c_uint(_EXCHANGE))
        else:
            swap = getattr(libc, "renameat2", None)
            arguments = (_HERE, names[0], _HERE, names[1], ctypes.c_uint(_EXCHANGE))
        if swap is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one))
        if swap(*arguments) != 0:
            raise _last_error(one)

    def unlink(self, path: Path) -> None:
        """Remove a file; none there is fine."""
        path.unlink(missing_ok=True)

    def remove(self, path: Path) -> None:
        """Remove a file or a folder with all that is in it; none there is fine."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            self.unlink(path)


DISK = Disk()


def write_file(path: Path, data: bytes, disk: Disk = DISK) -> None:
    """Write a new file and bring it to the platter."""
    file = disk.create(path)
    try:
        disk.write(file, data)
    finally:
        os.close(file)
    disk.sync(path)


def probe(folder: Path, disk: Disk = DISK) -> Abilities:
    """Try in *folder* what its file system can do; leaves nothing behind."""
    place = folder / f"probe-{uuid.uuid4().hex}"
    disk.folder(place / "a")
    disk.folder(place / "b")
    try:
        (place / "a" / "file").touch()
        return Abilities(
            hard_links=_works(lambda: disk.link(place / "a" / "file", place / "link")),
            exchange=_works(lambda: disk.exchange(place / "a", place / "b")),
            syncfs=getattr(_libc(), "syncfs", None) is not None,
        )
    finally:
        disk.remove(place)


@contextmanager
def store_errors(doing: str) -> Iterator[None]:
    """Turn what the operating system refuses into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        # what a library refuses to decode has no number
        hint = _HINTS.get(error.errno, _LOOK) if error.errno else DAMAGED
        raise StoreError(f"{doing} failed:{where} {error.strerror or error}", hint) from error


def _works(attempt: Any) -> bool:
    try:
        attempt()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS}:
            raise
        return False
    return True


@lru_cache(maxsize=1)
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _last_error(path: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), str(path))
