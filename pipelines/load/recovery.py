"""What a run does about the one that died before it, and about what is no longer needed.

Everything here may be interrupted and run again: it only brings the view to the
head, removes what no commit names, and forgets old commits before their files.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipelines.load.disk import Disk
from pipelines.load.log import Commit, Log
from pipelines.load.view import OURS, View, refuse_links


@dataclass(frozen=True, slots=True)
class Recovery:
    """What had to be done: datasets shown anew, foreign files moved aside, leftovers removed."""

    shown: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    leftovers: int = 0


def recover(log: Log, view: View, foreign: Path, disk: Disk) -> Recovery:
    """Bring the view to the head commit and remove what no commit names."""
    head = log.head()
    moved = tuple(_set_aside(head, view, foreign, disk))
    shown = []
    for name, dataset in head.datasets.items() if head else ():
        if not view.shows(name, dataset):
            view.publish(name, dataset)
            shown.append(name)
    return Recovery(tuple(shown), moved, tidy(log, view.store, view.tmp, disk))


def forget(log: Log, *, keep: int, younger_than: datetime) -> int:
    """Remove old commits from the log, the oldest first; how many went."""
    old = [number for number in log.numbers()[: -max(1, keep)] if log.read(number).created_at < younger_than]
    for number in old:
        log.forget(number)
    if old:
        # before their files go: a power cut must not bring back a document whose files are gone
        log.sync()
    return len(old)


def tidy(log: Log, store: Path, tmp: Path, disk: Disk) -> int:
    """Empty *tmp* and remove from the store what no commit names; how many files."""
    refuse_links(tmp, store)
    for path in sorted(tmp.iterdir()) if tmp.is_dir() else ():
        disk.remove(path)
    return sweep(store, {path for number in log.numbers() for path in log.read(number).paths}, disk)


def sweep(store: Path, named: set[str], disk: Disk) -> int:
    """Remove the files of the store that are not *named*, and folders left empty; how many files."""
    swept = 0
    for folder, folders, files in os.walk(store, topdown=False):
        here = Path(folder)
        unnamed = [name for name in files if (here / name).relative_to(store).as_posix() not in named]
        for name in unnamed:
            disk.unlink(here / name)
        swept += len(unnamed)
        if len(unnamed) == len(files) and here != store and not any((here / name).exists() for name in folders):
            disk.remove(here)
    return swept


def _set_aside(head: Commit | None, view: View, foreign: Path, disk: Disk) -> Iterator[str]:
    """Move what is not ours out of the view, never remove it."""
    refuse_links(view.folder, foreign)
    datasets = head.datasets if head else {}
    strange = list(view.strangers(set(datasets)))
    for name, dataset in datasets.items():
        refuse_links(view.folder / name)
        strange += view.foreign(name, dataset)
    for path in strange:
        if path.is_dir() and _is_only_ours(path):
            # a dataset that a later commit dropped, or that was undone
            disk.remove(path)
            continue
        seen = path.relative_to(view.folder).as_posix()
        disk.folder(foreign)
        disk.rename(path, foreign / f"{uuid.uuid4().hex[:8]}-{path.name}")
        yield seen


def _is_only_ours(folder: Path) -> bool:
    names = [name for _, _, files in os.walk(folder) for name in files]
    return not folder.is_symlink() and all(map(OURS.match, names))
