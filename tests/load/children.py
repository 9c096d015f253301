"""What the crash tests do in processes of their own; imports little, so that a process costs little."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.errors import Busy, Conflict
from pipelines.load.lake import Lake
from pipelines.load.stores import Remote
from tests.load.disks import QUICK, SteppingDisk, die
from tests.load.scenario import ALL_TARGETS, SOURCE, keep_up, run_once


def killed_run(root: Path, at: int) -> None:
    """In a child: a run that is killed before its step *at*."""
    disk = SteppingDisk(at, die)
    run_once(Lake(root, SOURCE, disk=disk), disk)


def killed_history(root: Path, at: int) -> None:
    """In a child: a run with a history of versions that is killed before its step *at*."""
    disk = SteppingDisk(at, die)
    run_once(Lake(root, SOURCE, disk=disk), disk, targets=ALL_TARGETS)


def killed_upkeep(root: Path, at: int, what: str) -> None:
    """In a child: a rollback, compaction or repair that is killed before its step *at*."""
    keep_up(Lake(root, SOURCE, disk=SteppingDisk(at, die)), what)


def killed_recovery(root: Path, at: int) -> None:
    """In a child: a recovery that is killed before its step *at*."""
    lake = Lake(root, SOURCE, disk=SteppingDisk(at, die))
    with lake.lock("recovery"):
        lake.recover()


def bucket_run(folder: Path, remote: Remote) -> None:
    """In a child: a run of all modes into a bucket."""
    run_once(Lake(folder, SOURCE, remote, disk=QUICK), targets=ALL_TARGETS)


def competing_run(root: Path, attempts: int, locked: bool) -> None:
    """In a child: as many runs as it can, whoever else is at work."""
    made = 0
    for _ in range(attempts):
        try:
            run_once(Lake(root, SOURCE, disk=QUICK), locked=locked)
            made += 1
        except (Busy, Conflict):
            continue
    (root / f"made-{os.getpid()}").write_text(str(made))
