"""One run of a source at a time on this machine: a lock that ends with the process that holds it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pipelines.errors import Busy
from pipelines.load.disk import Disk, store_errors
from pipelines.load.view import refuse_links

_LOOK_EVERY_S = 0.05


@contextmanager
def locked(path: Path, source: str, run: str, disk: Disk) -> Iterator[None]:
    """Hold the lock file *path*; it tells others who does.

    Raises:
        Busy: Another run is in; the message names its process, run and start.
        StoreError: The folder cannot be written to.
    """
    file = _opened(path, disk)
    try:
        with store_errors("locking the lake"):
            _take(file, source, run)
        yield
    finally:
        os.close(file)


@contextmanager
def in_turn(path: Path, what: str, disk: Disk, patience_s: float) -> Iterator[None]:
    """Hold the lock file *path* for a moment; who finds it taken waits so long.

    Raises:
        Busy: Another process does not let go of it.
        StoreError: The folder cannot be written to.
    """
    file, deadline = _opened(path, disk), time.monotonic() + patience_s
    try:
        while True:
            try:
                with store_errors(f"locking {what}"):
                    _take(file, what)
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_EVERY_S)
            else:
                break
        yield
    finally:
        os.close(file)


def _opened(path: Path, disk: Disk) -> int:
    with store_errors("preparing the data folder"):
        refuse_links(path.parent, path)
        disk.folder(path.parent)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)


def _take(file: int, source: str, run: str = "") -> None:
    who = f"process {os.getpid()}, run {run}" if run else f"process {os.getpid()}"
    text = f"{who}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 500, 0).decode(errors="replace").strip() or "unknown"
        raise Busy(
            f"another run is working on {source} ({holder})", "wait until it has ended, then run again"
        ) from None
    os.ftruncate(file, 0)
    os.pwrite(file, text.encode(), 0)
