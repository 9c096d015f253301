"""Disks on which things go wrong at a chosen step."""
# ruff: noqa: D102 - each method does what the real disk does, but for what its class says

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from pipelines.load.disk import Disk


class Killed(BaseException):
    """The process is gone; nothing may catch this."""


class QuickDisk(Disk):
    """Does not wait for the platter, which only a power cut can tell."""

    def sync(self, path: Path) -> None:
        """Only look whether it is there."""
        path.stat()

    def sync_all(self, folder: Path) -> bool:
        """Only look whether it is there."""
        folder.stat()
        return True


QUICK = QuickDisk()


class NoExchangeDisk(QuickDisk):
    """A file system that knows neither exchange nor second names."""

    def exchange(self, one: Path, other: Path) -> None:
        """Refuse."""
        raise OSError(22, "Invalid argument")

    def link(self, old: Path, new: Path) -> None:
        """Refuse."""
        raise OSError(1, "Operation not permitted")


class SteppingDisk(QuickDisk):
    """Counts the durable steps and calls `event` before number *at*, and if *lasting* before all later ones."""

    def __init__(self, at: int = -1, event: Callable[[], None] = lambda: None, *, lasting: bool = False) -> None:
        self.at, self.event, self.lasting, self.steps = at, event, lasting, 0
        self._begun: set[int] = set()

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.at or (self.lasting and 0 < self.at < self.steps):
            self.event()

    def create(self, path: Path) -> int:
        self.step()
        file = super().create(path)
        self._begun.discard(file)
        return file

    def write(self, file: int, data: bytes | memoryview) -> None:
        if file not in self._begun:
            # the first write of a file stands for all of them
            self._begun.add(file)
            self.step()
        super().write(file, data)

    def sync(self, path: Path) -> None:
        self.step()
        super().sync(path)

    def sync_all(self, folder: Path) -> bool:
        self.step()
        return super().sync_all(folder)

    def link(self, old: Path, new: Path) -> None:
        self.step()
        super().link(old, new)

    def rename(self, old: Path, new: Path) -> None:
        self.step()
        super().rename(old, new)

    def exchange(self, one: Path, other: Path) -> None:
        self.step()
        super().exchange(one, other)

    def unlink(self, path: Path) -> None:
        self.step()
        super().unlink(path)

    def remove(self, path: Path) -> None:
        self.step()
        super().remove(path)


def die() -> None:
    """Kill -9, for real."""
    os.kill(os.getpid(), signal.SIGKILL)


def vanish() -> None:
    """Like `die`, for a process that goes on to look at what is left."""
    raise Killed


class ThoroughDisk(SteppingDisk):
    """Counts every write, and every folder that is made."""

    def write(self, file: int, data: bytes | memoryview) -> None:
        self.step()
        Disk.write(self, file, data)

    def folder(self, path: Path) -> None:
        if not path.is_dir():
            self.step()
        super().folder(path)


class FullDisk(ThoroughDisk):
    """Full from step *at* on: nothing can be added, things can be removed."""

    def __init__(self, at: int) -> None:
        super().__init__(at, self._refuse, lasting=True)

    def unlink(self, path: Path) -> None:
        Disk.unlink(self, path)

    def remove(self, path: Path) -> None:
        Disk.remove(self, path)

    def _refuse(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class ReadOnlyDisk(ThoroughDisk):
    """Mounted read-only from step *at* on: nothing can be added or removed."""

    def __init__(self, at: int) -> None:
        super().__init__(at, self._refuse, lasting=True)

    def _refuse(self) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


class ForgetfulDisk(SteppingDisk):
    """Loses power before step *at*: what was not synced may be lost, which *chance* decides.

    Bytes of files that were not synced are cut, names in folders that were not
    synced are taken back, each independently of the others.
    """

    def __init__(self, at: int, chance: random.Random, *, honest: bool = True) -> None:
        super().__init__(at, vanish, lasting=True)
        self.chance, self.honest = chance, honest
        self.bytes: set[Path] = set()
        self.names: list[tuple[Path, Callable[[], None]]] = []

    def create(self, path: Path) -> int:
        file = super().create(path)
        self.bytes.add(path)
        self.names.append((path.parent, lambda: path.unlink(missing_ok=True)))
        return file

    def sync(self, path: Path) -> None:
        super().sync(path)
        if self.honest:
            self.bytes.discard(path)
            self.names = [(folder, undo) for folder, undo in self.names if folder != path]

    def sync_all(self, folder: Path) -> bool:
        done = super().sync_all(folder)
        if self.honest:
            self.bytes.clear()
            self.names.clear()
        return done

    def link(self, old: Path, new: Path) -> None:
        super().link(old, new)
        self.names.append((new.parent, lambda: new.unlink(missing_ok=True)))

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self.names.append((new.parent, lambda: shutil.rmtree(new, ignore_errors=True)))

    def exchange(self, one: Path, other: Path) -> None:
        super().exchange(one, other)
        self.names.append((other.parent, lambda: self._half(other)))

    def cut(self) -> None:
        """The moment after: what the platter has."""
        for path in self.bytes:
            if path.exists() and self.chance.random() < 0.7:
                path.chmod(0o644)
                os.truncate(path, self.chance.randrange(path.stat().st_size + 1))
        for _, undo in reversed(self.names):
            if self.chance.random() < 0.5:
                undo()

    def _half(self, folder: Path) -> None:
        for path in list(folder.rglob("*.parquet")):
            if self.chance.random() < 0.5:
                path.unlink()
