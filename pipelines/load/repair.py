"""Puts right what was damaged from outside: the view from the store, the store from the view.

The two names of a file are one file, so damage to its bytes is damage to both.
But a name that was removed, or replaced by another file, comes back from the
other. An object in a bucket comes back from the copy on this machine, if there
is one. What cannot come back is named.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from pipelines.load.disk import Disk
from pipelines.load.log import Log
from pipelines.load.recovery import Recovery, recover
from pipelines.load.stores import Store
from pipelines.load.view import View
from pipelines.load.whole import is_whole


class Repair(Struct, frozen=True):
    """What was done: stored files put back, datasets shown anew, foreign files moved aside; and what is lost."""

    restored: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def repair(  # noqa: PLR0913 - all places where a file may be
    log: Log, home: Store, store: Path, *, view: View | None, folder: Path, disk: Disk
) -> Repair:
    """Restore what can be restored; where files are lost nothing is shown anew, as it could not be whole.

    A file has a second place: in the view of a local lake, in *store* for one in a bucket.
    """
    head = log.head()
    restored, lost = [], []
    for name, file in [(name, file) for name, one in (head.datasets if head else {}).items() for file in one.files]:
        with TemporaryDirectory(prefix="threadmill-repair-") as aside:
            if is_whole(home.as_kept([file], Path(aside)) / file.path, file):
                continue
        copy = store / file.path if view is None else view.seen(name, file)
        if is_whole(copy, file):
            home.restore(file, copy)
            restored.append(file.path)
        else:
            lost.append(file.path)
    # a view that still stands is worth more than one that lacks files
    done = Recovery() if lost or view is None else recover(log, home, view, folder, disk)
    return Repair(tuple(restored), done.shown, done.foreign, tuple(lost))
