"""The next commit while it is being put together, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct
from msgspec.structs import replace

from pipelines.batch import Json, Part
from pipelines.load.log import Commit, Dataset, LiveFile, places
from pipelines.load.schema import encode_schema
from pipelines.load.target import Target

if TYPE_CHECKING:
    from pipelines.load.changes import Change


class Committed(Struct, frozen=True):
    """How a commit ended: `head` is the newest commit, `changed` whether this run made it.

    `pending` names datasets that are committed but could not be shown yet; the
    next run shows them.
    """

    head: Commit | None
    changed: bool
    published: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    warning: str = ""

    @property
    def unshown(self) -> str:
        """What is committed and cannot be seen yet, in one sentence; empty where all of it is shown."""
        return f"commit {self.head.n} is not shown yet: {self.warning}" if self.head and self.pending else ""


class Draft:
    """The next commit while it is being put together; starts as a copy of the head."""

    def __init__(  # noqa: PLR0913 - what a document says of its run
        self, head: Commit | None, run: str, *, config_hash: str, code_version: str, now: datetime, note: str = ""
    ) -> None:
        self.head = head
        self._commit = Commit(
            head.n + 1 if head else 1, run, head.n if head else 0, now, config_hash, code_version, note=note
        )
        self._datasets: dict[str, Dataset] = dict(head.datasets) if head else {}
        self._parts: list[Part] = []
        self._dropped: list[Part] = []

    def dataset(self, name: str) -> Dataset:
        """The dataset as it stands in this draft; an empty one where there is none."""
        return self._datasets.get(name, Dataset())

    def state(self, name: str) -> Json:
        """The dataset's state (watermarks), None before the first."""
        return self.dataset(name).state

    def set_files(self, name: str, change: Change, target: Target, *, masked: tuple[str, ...] | None = None) -> None:
        """Let *change* happen to the dataset; its files stay in the order in which their rows were read.

        Files of different folders have no order where one run read rows of both, or `compact` made one of several.
        """
        first = len(change.kept)
        parts = _ordered(change.added)
        added = [LiveFile.of(part, self._commit.n, i) for i, part in enumerate(parts)]
        known = self.dataset(name)
        place = {**places(known.files), **{part.path: part.sequence for part in parts if part.sequence < 0}}
        files = tuple(sorted((*change.kept, *added), key=lambda file: place.get(file.path, 0)))
        is_same = not added and first == len(known.files)
        columns = known.columns
        if change.schema is not None and not (is_same and known.files):
            columns = tuple(encode_schema(change.schema))
        self._parts += change.added
        self._dropped += change.dropped
        self._datasets[name] = replace(
            known,
            # without new files the kept ones keep their order: nothing has changed
            files=known.files if is_same else files,
            columns=columns,
            key=target.key,
            write=target.write,
            partition_by=target.partition_by,
            version=target.version,
            sort_by=target.sort_by,
            older_files=target.older_files,
            masked=masked,
            counts=known.counts if is_same else dict(change.counts),
        )

    def set_state(self, name: str, state: Json) -> None:
        """Let the dataset's state be *state*, any JSON value."""
        self._datasets[name] = replace(self.dataset(name), state=orjson.loads(orjson.dumps(state)))

    def start_again(
        self, name: str, files: tuple[LiveFile, ...] = (), *, columns: tuple[Json, ...] | None = None
    ) -> None:
        """Let the dataset be *files* alone, and its state: the other rows are about to be made anew."""
        self._datasets[name] = replace(self.dataset(name), files=files, columns=columns)

    def drop(self, name: str) -> None:
        """Let the dataset, its files and state, be gone."""
        self._datasets.pop(name, None)

    def restore(self, commit: Commit) -> None:
        """Let all datasets, their files and states, be as in *commit*."""
        self._datasets = dict(commit.datasets)

    @property
    def changed(self) -> tuple[str, ...]:
        """Datasets whose files differ from the head's."""
        before = self.head.datasets if self.head else {}
        names = {**before, **self._datasets}
        return tuple(name for name in names if _paths(before.get(name)) != _paths(self._datasets.get(name)))

    @property
    def is_news(self) -> bool:
        """Whether files or states differ from the head's."""
        before = self.head.datasets if self.head else {}
        states = {name: dataset.state for name, dataset in self._datasets.items()}
        return bool(self.changed) or states != {name: dataset.state for name, dataset in before.items()}

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that the commit will make visible."""
        return tuple(self._parts)

    @property
    def dropped(self) -> tuple[Part, ...]:
        """Staged parts that a merge has used up; nobody needs them after the commit."""
        return tuple(self._dropped)

    @property
    def commit(self) -> Commit:
        """The draft as a commit."""
        return replace(self._commit, datasets=dict(self._datasets))


def _ordered(parts: tuple[Part, ...]) -> list[Part]:
    return sorted(parts, key=lambda part: (part.partition, part.sequence))


def _paths(dataset: Dataset | None) -> list[str]:
    return [file.path for file in dataset.files] if dataset else []
