"""What a run does about the one that died before it, and about what is no longer needed.

Everything here may be interrupted and run again: it only brings the view to the
head, removes what no commit names, and forgets old commits before their files.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from pipelines.errors import StoreError
from pipelines.load.disk import Disk
from pipelines.load.log import Commit, Dataset, Log
from pipelines.load.stores import Store
from pipelines.load.view import OURS, View, refuse_links, strays
from pipelines.load.whole import is_whole

logger = logging.getLogger(__name__)

_YOUNG = timedelta(days=1)
_LISTING_S = 60
"""No reader takes longer between opening a folder and having listed it."""


class Recovery(Struct, frozen=True):
    """What had to be done: datasets shown anew, foreign files moved aside, leftovers removed."""

    shown: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    leftovers: int = 0


def recover(log: Log, home: Store, view: View, folder: Path, disk: Disk) -> Recovery:
    """Bring the view to the head commit and remove from the lake's *folder* what no commit names.

    Raises:
        StoreError: A file is whole neither in the store nor in the view, or the log is gone; what is shown stays.
    """
    head = log.head()
    if head is None:
        _refuse_without_log(view, folder / "log")
    moved = tuple(_set_aside(head, view, folder / "foreign", disk))
    hidden = unshown(head, view)
    if lost := mend(hidden, home, view):
        raise StoreError(
            f"{lost[0]} is damaged in the store, and in the view as well",
            "`threadmill rollback` to a commit without it, or restore the file from a backup",
        )
    for name, dataset in hidden.items():
        view.publish(name, dataset)
    return Recovery(tuple(hidden), moved, tidy(log, view, folder / "tmp", disk))


def unshown(head: Commit | None, view: View) -> dict[str, Dataset]:
    """The datasets that the view does not show as they are committed."""
    return {name: one for name, one in head.datasets.items() if not view.shows(name, one)} if head else {}


def mend(datasets: Mapping[str, Dataset], home: Store, view: View) -> list[str]:
    """Put back into the store what only the view has whole, before it is shown anew; the paths of what neither has.

    Files that have both names are not read, nor those that are not shown.
    """
    lost = []
    for name, dataset in datasets.items():
        for file in view.apart(name, dataset):
            if is_whole(view.store / file.path, file):
                continue
            if is_whole(view.seen(name, file), file):
                home.restore(file, view.seen(name, file))
                logger.warning("put back from the view: it was damaged or gone in the store path=%s", file.path)
            else:
                lost.append(file.path)
    return lost


def forget(log: Log, *, keep: int, replaced_before: datetime) -> list[Commit]:
    """Remove commits from the log, before anything of their files goes; those that went.

    None of the last *keep*, and none that the next one replaced after *replaced_before*:
    a reader may have opened it just then, however old it is.
    """
    commits = [log.read(number) for number in log.numbers()[: 1 - keep or None]]
    old = [commit for commit, following in pairwise(commits) if following.created_at < replaced_before]
    log.forget([commit.n for commit in old])
    return old


def named(log: Log) -> set[str]:
    """The store paths that commits need."""
    return {path for number in log.numbers() for path in log.read(number).paths}


def tidy(log: Log, view: View, tmp: Path, disk: Disk) -> int:
    """Empty *tmp* and remove from the store what no commit names; how many files.

    Raises:
        StoreError: The log is gone, so that nothing is named.
    """
    if not log.numbers():
        _refuse_without_log(view, tmp.with_name("log"))
    _empty(view.store, tmp, disk)
    return sweep(view.store, named(log), disk)


def _refuse_without_log(view: View, log: Path) -> None:
    """Without a commit: what is shown was committed once, and would be swept out of the store."""
    if view.has_ours() and any(view.store.rglob("*.parquet")):
        raise StoreError(
            f"{log} holds no commit, but {view.folder} shows data that was committed: the log has been removed",
            f"put its documents back from a backup; or move {log.parent} away, and the next run reads all again",
        )


def retire(aside: Path, foreign: Path, disk: Disk, *, now: datetime, grace_s: float = _LISTING_S) -> None:
    """Remove trees that went out of the view a minute, or *grace_s*, ago or more, and those that never came in.

    What is not ours in them, put into the view while a run was on, moves to *foreign*.
    """
    refuse_links(aside, foreign)
    for path in sorted(aside.iterdir()) if aside.is_dir() else ():
        # a clock that was set back keeps none for ever
        if abs(now.timestamp() - path.lstat().st_ctime) >= min(grace_s, _LISTING_S):
            for stray in () if path.is_symlink() else strays(path):
                _move_out(stray, foreign, disk)
            disk.remove(path)


def evict(head: Commit | None, store: Path, tmp: Path, disk: Disk, *, now: datetime) -> int:
    """Empty *tmp* and remove copies of files in a bucket that the head does not name; how many files.

    A mart may be reading those of an older commit, so copies made today stay.
    """
    _empty(store, tmp, disk)
    files = (path for path in store.rglob("*") if path.is_file())
    young = {path for path in files if path.stat().st_mtime > (now - _YOUNG).timestamp()}
    return sweep(store, (head.paths if head else set()) | {path.relative_to(store).as_posix() for path in young}, disk)


def _empty(store: Path, tmp: Path, disk: Disk) -> None:
    refuse_links(tmp, store)
    for path in sorted(tmp.iterdir()) if tmp.is_dir() else ():
        disk.remove(path)


def sweep(store: Path, live: set[str], disk: Disk) -> int:
    """Remove the files of the store that are not *live*, and folders left empty; how many files."""
    swept = 0
    for folder, folders, files in os.walk(store, topdown=False):
        here = Path(folder)
        unnamed = [name for name in files if (here / name).relative_to(store).as_posix() not in live]
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
        if path.is_dir() and _is_over(path, head):
            disk.remove(path)
            continue
        _move_out(path, foreign, disk)
        yield path.relative_to(view.folder).as_posix()


def _move_out(path: Path, foreign: Path, disk: Disk) -> None:
    disk.folder(foreign)
    to = foreign / f"{uuid.uuid4().hex[:8]}-{path.name}"
    disk.rename(path, to)
    logger.warning("moved out of the view: no commit put it there path=%s to=%s", path, to)


def _is_over(folder: Path, head: Commit | None) -> bool:
    """Whether *folder* holds only files of ours, of a dataset that a later commit dropped or that was undone.

    Without a commit nothing was dropped: they may be the last copy.
    """
    names = [name for _, _, files in os.walk(folder) for name in files]
    return not folder.is_symlink() and all(map(OURS.match, names)) and (head is not None or not names)
