"""The commit protocol, broken on purpose in one way each.

The battery kills each before every step and compares with the same oracle as
the right one; a variant that is not caught would mean that the oracle is blind.
"""
# ruff: noqa: D102, D106 - each method does what the real disk does, but for what its class says

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.errors import Conflict, PipelineError
from pipelines.load.lake import Committed, Draft, Lake
from pipelines.load.target import Target
from tests.load.disks import Killed, SteppingDisk, vanish
from tests.load.scenario import SOURCE, TARGETS, cursor, run_once, stage, wrong_after, wrong_now


class Protocol:
    """The right one: a run killed before step *at*, then what is wrong before and after the next."""

    disk: type[SteppingDisk] = SteppingDisk
    lake: type[Lake] = Lake
    telling: float = 0.5
    """About how far into a run it goes wrong; only saves time."""

    @classmethod
    def steps(cls, last: int) -> list[int]:
        """The steps to be killed before, those first that are likely to tell."""
        return sorted(range(1, last + 1), key=lambda at: abs(at - cls.telling * last))

    def __init__(self, at: int) -> None:
        self.at, self.finished = at, False

    def problems(self, root: Path) -> list[str]:
        """One line for each thing that is wrong."""
        disk = self.disk(self.at, vanish, lasting=True)
        try:
            self.run(self.lake(root, SOURCE, disk=disk), disk)
            self.finished = True
        except Killed:
            pass
        try:
            found = list(wrong_now(root, Lake(root, SOURCE)))
            again = self.disk(-1, vanish)
            self.run(self.lake(root, SOURCE, disk=again), again)
        except PipelineError as error:
            return [error.message]
        return [*found, *wrong_after(root, Lake(root, SOURCE))]

    def run(self, lake: Lake, disk: SteppingDisk) -> None:
        """One run."""
        run_once(lake, disk)


class DeletesThenRenames(Protocol):
    """The old folder goes before the new one comes."""

    telling = 0.67

    class disk(SteppingDisk):  # noqa: N801 - stands in for the attribute
        def exchange(self, one: Path, other: Path) -> None:
            if one.name.startswith("view-"):
                self.remove(other)
                self.rename(one, other)
                one.mkdir()
            else:
                super().exchange(one, other)


class RenamesFileByFile(Protocol):
    """Readers see some files of each commit."""

    class disk(SteppingDisk):  # noqa: N801
        def exchange(self, one: Path, other: Path) -> None:
            if not one.name.startswith("view-"):
                super().exchange(one, other)
                return
            old = [path for path in other.rglob("*") if path.is_file()]
            for path in [path for path in one.rglob("*") if path.is_file()]:
                (other / path.relative_to(one)).parent.mkdir(parents=True, exist_ok=True)
                self.step()
                path.replace(other / path.relative_to(one))
            for path in old:
                self.unlink(path)


class WritesTheDocumentInPlace(Protocol):
    """A run that dies while writing it leaves half a document."""

    telling = 0.44

    class disk(SteppingDisk):  # noqa: N801
        def link(self, old: Path, new: Path) -> None:
            if new.suffix != ".json":
                super().link(old, new)
                return
            data = old.read_bytes()
            new.write_bytes(data[: len(data) // 2])
            self.step()
            new.write_bytes(data)


class NeverCleansUp(Protocol):
    """What a dead run leaves stays for ever."""

    class disk(SteppingDisk):  # noqa: N801
        def unlink(self, path: Path) -> None:
            self.step()

        def remove(self, path: Path) -> None:
            self.step()


class NeverRedoes(Protocol):
    """A commit that was not shown stays unseen until the next one changes the dataset."""

    def run(self, lake: Lake, disk: SteppingDisk) -> None:
        if self.finished or disk.at > 0:
            run_once(lake, disk, redo=False)


class PublishesFirst(Protocol):
    """Readers see rows that are never committed."""

    class lake(Lake):  # noqa: N801
        def commit(self, draft: Draft, *, now: datetime | None = None) -> Committed:
            for name in draft.changed:
                if self.view is not None:
                    self.view.publish(name, draft.dataset(name))
            return super().commit(draft, now=now)


class CommitsTheStateFirst(Protocol):
    """The watermark is ahead of the rows if the run dies in between: they are never read again."""

    telling = 0.2

    def run(self, lake: Lake, disk: SteppingDisk) -> None:
        with lake.lock("state first"):
            lake.recover()
            number = cursor(lake.head()) + 1
            states = lake.begin(f"states {number}")
            for name in TARGETS:
                states.set_state(name, {"run": number})
            lake.commit(states)
            files = lake.begin(f"files {number}")
            stage(lake, files, number, disk)
            lake.commit(files)


class CursorAheadByOne(Protocol):
    """The next run leaves out what one run would have read."""

    def run(self, lake: Lake, disk: SteppingDisk) -> None:
        with lake.lock("ahead"):
            lake.recover()
            draft = lake.begin("ahead")
            number = cursor(draft.head) + 1
            stage(lake, draft, number, disk)
            for name in TARGETS:
                draft.set_state(name, {"run": number + 1})
            lake.commit(draft)


class AppendsInsteadOfMerging(Protocol):
    """Updated rows are there twice."""

    targets: dict[str, Target] = {**TARGETS, "entities": Target(write="append", partition_by=("team",))}  # noqa: RUF012

    def run(self, lake: Lake, disk: SteppingDisk) -> None:
        with lake.lock("append"):
            lake.recover()
            draft = lake.begin("append")
            stage(lake, draft, cursor(draft.head) + 1, disk, self.targets)
            lake.commit(draft)


class VacuumsBeforeCommitting(Protocol):
    """The head names files that are gone."""

    class lake(Lake):  # noqa: N801
        def commit(self, draft: Draft, *, now: datetime | None = None) -> Committed:
            new = draft.commit.paths
            for path in draft.head.paths - new if draft.head else ():
                (self.store / path).unlink()
            return super().commit(draft, now=now)


class LastWriterWins(Protocol):
    """Of two runs from the same head both succeed, and the rows of one are lost."""

    class disk(SteppingDisk):  # noqa: N801
        def link(self, old: Path, new: Path) -> None:
            self.step()
            if new.suffix == ".json":
                shutil.copyfile(old, new)
            else:
                super().link(old, new)

    def problems(self, root: Path) -> list[str]:
        """Two drafts from one head: the second must be refused."""
        disk = self.disk()
        lake = self.lake(root, SOURCE, disk=disk)
        drafts: list[Any] = [lake.begin("one"), lake.begin("other")]
        for draft in drafts:
            stage(lake, draft, cursor(draft.head) + 1, disk)
        try:
            made = [lake.commit(draft).changed for draft in drafts]
        except Conflict:
            made = []
        self.finished = True
        return ["two runs made the same commit"] if all(made) and made else []


ALL = [
    DeletesThenRenames,
    RenamesFileByFile,
    WritesTheDocumentInPlace,
    NeverCleansUp,
    NeverRedoes,
    PublishesFirst,
    CommitsTheStateFirst,
    CursorAheadByOne,
    AppendsInsteadOfMerging,
    VacuumsBeforeCommitting,
    LastWriterWins,
]
