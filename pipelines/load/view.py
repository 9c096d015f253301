"""What analysts see: a folder of complete Parquet files, switched in one step.

The view of a dataset is built aside, of second names for files of the store,
and swapped with the old one, or the folder of the one partition that changed with
its old one; the old one stays aside for a while. Nothing but whole commits is ever in it: no
temporary names, no logs, no symbolic links. Where the file system cannot swap,
the old folder is moved away and the new one in; where it knows no second names,
files are copied.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from pipelines.errors import StoreError
from pipelines.load.disk import DISK, Abilities, Disk
from pipelines.load.log import Dataset, LiveFile

OURS = re.compile(r"^part-\d{12}-\d+\.parquet$")


class View(Struct, frozen=True):
    """The folder of one source that analysts glob, `data/parquet/<source>`."""

    folder: Path
    store: Path
    aside: Path
    tried: Callable[[], Abilities]
    """Tries the file system out, which writes; whoever only looks never asks."""
    disk: Disk = DISK

    @property
    def abilities(self) -> Abilities:
        """What the file system can do."""
        return self.tried()

    def publish(self, name: str, dataset: Dataset) -> None:
        """Show *dataset* as it is committed; what was shown before is removed.

        Raises:
            StoreError: The view, or what stands in its place, is a symbolic link.
            OSError: The disk refuses; the old or the new state is visible, whole.
        """
        refuse_links(self.folder, self.folder / name)
        self.disk.folder(self.folder)
        self._show(dataset.files, self.folder / name, "")

    def update(self, name: str, dataset: Dataset) -> None:
        """Show *dataset* in place of another commit that is shown whole.

        Where they differ in the folder of one partition, that folder alone is swapped:
        one step as well, whose cost does not grow with the files of the others.
        """
        refuse_links(self.folder, self.folder / name)
        folder = self._only_change(name, dataset)
        if not folder:
            self.publish(name, dataset)
            return
        self._show([file for file in dataset.files if file.partition == folder], self.folder / name / folder, folder)

    def _only_change(self, name: str, dataset: Dataset) -> str:
        """The one folder whose files are not those that are shown; empty where there are more, or it has to go."""
        shown = {path for path, _ in self._found(self.folder / name)}
        wanted = {file.view_path for file in dataset.files}
        changed = {path.rpartition("/")[0] for path in shown ^ wanted}
        folder = changed.pop() if len(changed) == 1 else ""
        place = self.folder / name / folder
        # without an exchange the folder would be missing for an instant, and nobody would be told
        can = self.abilities.exchange if place.exists() else place.parent.is_dir()
        return folder if can and any(file.partition == folder for file in dataset.files) else ""

    def _show(self, files: Iterable[LiveFile], place: Path, partition: str) -> None:
        """Put a tree of *files*, all below *partition*, in the place of what is there."""
        aside = self.aside / f"view-{uuid.uuid4().hex}"
        self.disk.folder(aside)
        for file in files:
            path = aside / file.view_path.removeprefix(f"{partition}/" if partition else "")
            self.disk.folder(path.parent)
            self._place(self.store / file.path, path)
        if place.exists():
            self._swap(aside, place)
            self._retire(aside)
        else:
            self.disk.rename(aside, place)

    def withdraw(self, name: str) -> None:
        """Remove a dataset that is no longer in the lake from the view, in one step."""
        aside = self.aside / f"view-{uuid.uuid4().hex}"
        self.disk.folder(self.aside)
        self.disk.rename(self.folder / name, aside)
        self._retire(aside)

    def shows(self, name: str, dataset: Dataset) -> bool:
        """Whether the view holds exactly the files of *dataset*.

        Names are unique to a commit, and equal names that are the same file have
        equal bytes; where files are copies, the sizes of both are compared.
        """
        others = self.others(name, dataset)
        if not others:
            return others is not None
        if self.abilities.hard_links:
            return False
        places = ((file, path) for file in others for path in (self.seen(name, file), self.store / file.path))
        return all(path.is_file() and path.stat().st_size == file.size_bytes for file, path in places)

    def others(self, name: str, dataset: Dataset) -> list[LiveFile] | None:
        """Files of *dataset* that are shown by their names but are no second names; None where names differ."""
        found = {path for path, _ in self._found(self.folder / name)}
        return list(self._apart(name, dataset)) if found == {file.view_path for file in dataset.files} else None

    def apart(self, name: str, dataset: Dataset) -> Iterator[LiveFile]:
        """The same, whatever else is shown or is not."""
        yield from (file for file in self._apart(name, dataset) if self.seen(name, file).exists())

    def seen(self, name: str, file: LiveFile) -> Path:
        """Where analysts see *file* of a dataset."""
        return self.folder / name / file.view_path

    def foreign(self, name: str, dataset: Dataset) -> Iterator[Path]:
        """Files in the dataset's folder that no commit can have put there."""
        ours = {file.view_path for file in dataset.files}
        for path, file in self._found(self.folder / name):
            if path not in ours and not OURS.match(file.name):
                yield file

    def strangers(self, names: set[str]) -> Iterator[Path]:
        """What lies beside the datasets *names* in the source's folder."""
        if self.folder.is_dir():
            yield from (path for path in sorted(self.folder.iterdir()) if path.name not in names)

    def has_ours(self) -> bool:
        """Whether it shows any file that a commit has put there."""
        return any(OURS.match(path.name) for path in self.folder.rglob("*.parquet"))

    def _apart(self, name: str, dataset: Dataset) -> Iterator[LiveFile]:
        yield from (file for file in dataset.files if not _same(self.seen(name, file), self.store / file.path))

    def _found(self, place: Path) -> Iterator[tuple[str, Path]]:
        yield from ((path.relative_to(place).as_posix(), path) for path in _leaves(place))

    def _place(self, stored: Path, seen: Path) -> None:
        if self.abilities.hard_links:
            self.disk.link(stored, seen)
        else:
            self.disk.copy(stored, seen)

    def _swap(self, aside: Path, place: Path) -> None:
        if self.abilities.exchange:
            self.disk.exchange(aside, place)
            return
        # for an instant there is no folder: a reader fails loudly and tries again
        old = aside.with_name(f"{aside.name}-old")
        self.disk.rename(place, old)
        self.disk.rename(aside, place)
        self.disk.rename(old, aside)

    def _retire(self, tree: Path) -> None:
        """Leave a tree that was shown to `recovery.retire`: a reader in the middle of listing it must not see it end.

        One that is empty by then would be taken for a partition without rows. Copies have their price, so they go,
        if there is nothing else.
        """
        if not self.abilities.hard_links and not any(strays(tree)):
            self.disk.remove(tree)


def strays(tree: Path) -> Iterator[Path]:
    """What lies in a *tree* of the view, or one that was, and no commit can have put there."""
    return (path for path in _leaves(tree) if not OURS.match(path.name))


def _leaves(tree: Path) -> Iterator[Path]:
    """Every file below *tree*, and every link to a folder."""
    for folder, folders, files in os.walk(tree):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in (*files, *links))


def refuse_links(*folders: Path) -> None:
    """Raise `StoreError` where a folder that we write to is a symbolic link."""
    for folder in folders:
        if folder.is_symlink():
            raise StoreError(
                f"{folder} is a symbolic link; files would be written and removed wherever it leads",
                "remove the link, or point the data folder of the settings there instead",
            )


def _same(seen: Path, stored: Path) -> bool:
    try:
        return seen.samefile(stored) and not seen.is_symlink()
    except FileNotFoundError:
        return False
