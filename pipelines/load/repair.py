"""Puts right what was damaged from outside: the view from the store, the store from the view.

The two names of a file are one file, so damage to its bytes is damage to both.
But a name that was removed, or replaced by another file, comes back from the
other. What cannot come back is named.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.load.disk import Disk
from pipelines.load.log import LiveFile, Log
from pipelines.load.recovery import Recovery, recover
from pipelines.load.verify import file_digest
from pipelines.load.view import View


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done: stored files put back, datasets shown anew, foreign files moved aside; and what is lost."""

    restored: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def repair(log: Log, view: View, foreign: Path, disk: Disk) -> Repair:
    """Restore what can be restored; where files are lost nothing is shown anew, as it could not be whole."""
    head = log.head()
    restored, lost = [], []
    for name, file in [(name, file) for name, one in (head.datasets if head else {}).items() for file in one.files]:
        stored = view.store / file.path
        if _is_whole(stored, file):
            continue
        whole = next((path for path in _copies(view, name, file) if _is_whole(path, file)), None)
        if whole is None:
            lost.append(file.path)
            continue
        _restore(whole, stored, view, disk)
        restored.append(file.path)
    # a view that still stands is worth more than one that lacks files
    done = Recovery() if lost else recover(log, view, foreign, disk)
    return Repair(tuple(restored), done.shown, done.foreign, tuple(lost))


def _is_whole(path: Path, file: LiveFile) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    return path.stat().st_size == file.size_bytes and file_digest(path) == file.digest


def _copies(view: View, name: str, file: LiveFile) -> Iterator[Path]:
    yield view.folder / name / file.view_path


def _restore(whole: Path, stored: Path, view: View, disk: Disk) -> None:
    """Put a second name of *whole* where the store should have it, in one step."""
    aside = view.tmp / f"repair-{uuid.uuid4().hex}"
    disk.folder(view.tmp)
    disk.folder(stored.parent)
    if view.abilities.hard_links:
        disk.link(whole, aside)
    else:
        disk.copy(whole, aside)
    aside.replace(stored)
    disk.sync(stored)
    disk.sync(stored.parent)
