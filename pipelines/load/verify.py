"""Whether the lake holds what its log says: every live file is read again.

Files are units of their own and the keys of a dataset are one more, so that all
of it may run side by side in worker processes. Nothing is mended here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from msgspec import Struct

from pipelines.errors import PipelineError, StoreError
from pipelines.load.casting import reads_as
from pipelines.load.changes import Unit, here
from pipelines.load.log import Commit, Dataset, LiveFile, Log
from pipelines.load.partitions import split
from pipelines.load.schema import recast, same_columns
from pipelines.load.stored import bounds, groups
from pipelines.load.target import IS_CURRENT, VALID_FROM, VALID_TO, VALIDITY
from pipelines.load.versions import ordered
from pipelines.load.view import View
from pipelines.load.whole import file_digest
from pipelines.load.winners import row_hashes


class Defect(Struct, frozen=True):
    """One thing that is not as the log says: in which dataset, where, what, and what to do about it."""

    dataset: str
    path: str
    what: str
    hint: str


class Verified(Struct, frozen=True):
    """What was looked at, and what is wrong."""

    commit: int | None
    files: int = 0
    rows: int = 0
    size_bytes: int = 0
    defects: tuple[Defect, ...] = ()


_REPAIR = "`threadmill repair` puts it right from its other copy, if that is whole"
_LOST = "`threadmill rollback` to a commit without it, or restore the file from a backup"
_FOREIGN = "the next run or `threadmill repair` moves it aside"
_LOGLESS = "put the documents of the log back from a backup"


class CheckFile(Struct, frozen=True):
    """Read one stored file and compare it with what its commit says."""

    store: Path
    name: str
    file: LiveFile
    dataset: Dataset

    def work(self) -> tuple[Defect, ...]:
        """What is wrong with it."""
        path = self.store / self.file.path
        try:
            found = list(self._bytes(path)) or list(self._content(path))
        except (PipelineError, OSError, pa.ArrowException, ValueError) as error:
            found = [f"cannot be read: {type(error).__name__}"]
        return tuple(Defect(self.name, self.file.path, what, _REPAIR) for what in found)

    def _bytes(self, path: Path) -> Iterator[str]:
        if not path.is_file():
            yield "is gone"
        elif (size := path.stat().st_size) != self.file.size_bytes:
            yield f"has {size:,} bytes instead of {self.file.size_bytes:,}"
        elif file_digest(path) != self.file.digest:
            yield "has other bytes than were written"

    def _content(self, path: Path) -> Iterator[str]:
        target, rows = self.dataset.target, 0
        extremes: dict[str, Any] = dict.fromkeys(self.file.stats)
        for table in groups(path):
            rows += len(table)
            if self.dataset.schema is not None and not self._readable(path, table.schema, self.dataset.schema):
                yield "has other columns than its dataset has; `threadmill compact` rewrites it"
                return
            folders = {folder for folder, _ in split(table, target.partition_by)}
            if folders - {self.file.partition}:
                yield f"holds rows of {sorted(folders - {self.file.partition})[0]} beside those of its own folder"
            found = {name: bounds(table[name]) for name in extremes if name in table.column_names}
            # of a piece that has values, and no bounds that can be told, nothing is known: nor is of the file
            extremes = {
                name: _wider(known, found[name])
                for name, known in extremes.items()
                if name in found and (found[name] or table[name].null_count == len(table))
            }
        if rows != self.file.rows:
            yield f"has {rows:,} rows instead of {self.file.rows:,}"
        for name, span in extremes.items():
            if span is not None and tuple(span) != tuple(self.file.stats[name]):
                yield f"has values of {name!r} from {span[0]} to {span[1]}, which its commit does not say"

    def _readable(self, path: Path, found: pa.Schema, schema: pa.Schema) -> bool:
        return same_columns(found, schema) or (self.file.older and reads_as(path, schema))


def _wider(known: Any, new: Any) -> Any:
    if known is None or new is None:
        return known or new
    return min(known[0], new[0]), max(known[1], new[1])


class CheckKeys(Struct, frozen=True):
    """Read the key columns of a whole dataset: each key is there once, and none is empty."""

    store: Path
    name: str
    dataset: Dataset
    key: tuple[str, ...]

    def work(self) -> tuple[Defect, ...]:
        """What is wrong with the keys; memory: 8 bytes a row."""
        try:
            return tuple(Defect(self.name, "", what, _LOST) for what in self._problems())
        except (PipelineError, OSError, pa.ArrowException):
            return ()  # the file itself is reported

    def _problems(self) -> Iterator[str]:
        hashes, nulls = [np.empty(0, np.uint64)], 0
        for table in self._tables():
            hashes.append(row_hashes(table))
            nulls += sum(table[name].null_count for name in self.dataset.key)
        if nulls:
            yield f"{nulls:,} rows have no value for their key ({', '.join(self.dataset.key)})"
        ordered = np.sort(np.concatenate(hashes))
        doubled = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        # equal hashes only suggest equal keys
        if len(doubled) and (examples := self._examples(doubled)):
            yield f"keys are there more than once, such as {', '.join(examples[:3])}"

    def _examples(self, doubled: Any) -> list[str]:
        tables = [table.filter(pa.array(np.isin(row_hashes(table), doubled))) for table in self._tables()]
        frame = pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))
        rows = frame.filter(frame.is_duplicated()).unique(maintain_order=True).head(3).to_dicts()
        return ["{" + ", ".join(f"{name}: {value}" for name, value in row.items()) + "}" for row in rows]

    def _tables(self) -> Iterator[pa.Table]:
        return _columns(self.store, self.dataset, self.key)


class CheckVersions(Struct, frozen=True):
    """Read from when to when each version of a history holds: of a key one at a time, and the last one is current."""

    store: Path
    name: str
    dataset: Dataset

    def work(self) -> tuple[Defect, ...]:
        """What is wrong with the versions; memory: their keys and validity."""
        key = self.dataset.key
        try:
            tables = list(_columns(self.store, self.dataset, (*key, *VALIDITY)))
            versions = pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))
            versions = versions.with_columns(ordered(versions[name]) for name in (VALID_FROM, VALID_TO))
            versions = versions.sort(*key, VALID_FROM)
        except (PipelineError, OSError, pa.ArrowException):
            return ()  # the file itself is reported
        following = pl.col(VALID_FROM).shift(-1).over(key)
        open_ended = pl.col(VALID_TO).is_null()
        too_long = versions.filter(following.is_not_null() & (open_ended | (pl.col(VALID_TO) > following)))
        odd = versions.filter(pl.col(IS_CURRENT) != open_ended)
        backwards = versions.filter(pl.col(VALID_TO) < pl.col(VALID_FROM))
        found = {
            "versions end before they begin": len(backwards),
            "versions hold on when the next one of their key has begun": len(too_long),
            f"versions are {IS_CURRENT} and have ended, or neither": len(odd),
        }
        return tuple(Defect(self.name, "", f"{count:,} {what}", _LOST) for what, count in found.items() if count)


def _columns(store: Path, dataset: Dataset, names: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of all files, with the types that the dataset has."""
    schema = dataset.schema
    for file in dataset.files:
        for table in groups(store / file.path, names):
            if missing := set(names) - set(table.column_names):
                raise StoreError(f"{file.path} lacks {min(missing)}", "it is told as a file of its own")
            kinds = [schema.field(name) for name in table.column_names] if schema is not None else table.schema
            yield recast(table, pa.schema(kinds))


def verify(
    log: Log,
    store: Path,
    view: View | None,
    commit: Commit | None,
    run: Callable[[Iterable[Unit]], Iterable[Any]] = here,
) -> Verified:
    """Compare *commit* with the files in *store*, and if it is the head with the view; *run* does the reading."""
    defects = list(_documents(log))
    if commit is None:
        return Verified(None, defects=(*defects, *(_logless(view) if view is not None else ())))
    units = list(_units(store, commit))
    defects += [defect for found in run(units) for defect in found]
    if view is not None and commit.n == max(log.numbers(), default=0):
        seen = list(_seen(view, commit))
        # nothing is locked: what is seen of a later commit is no defect of this one
        defects += seen if commit.n == max(log.numbers(), default=0) else []
    files = [file for dataset in commit.datasets.values() for file in dataset.files]
    rows, size = sum(file.rows for file in files), sum(file.size_bytes for file in files)
    return Verified(commit.n, len(files), rows, size, tuple(defects))


def _documents(log: Log) -> Iterator[Defect]:
    for number in log.numbers():
        try:
            log.read(number)
        except PipelineError as error:
            yield Defect("", f"{number:012d}.json", error.message, error.hint)


def _logless(view: View) -> Iterator[Defect]:
    """What analysts see though no commit is there: it was committed, so the log has been removed."""
    for path in view.strangers(set()) if view.has_ours() else ():
        yield Defect("", path.name, "is in the view, but the log of its commits is gone", _LOGLESS)


def _units(store: Path, commit: Commit) -> Iterator[Unit]:
    for name, dataset in commit.datasets.items():
        if dataset.write in {"upsert", "history"} and dataset.files:
            is_history = dataset.write == "history"
            yield CheckKeys(store, name, dataset, (*dataset.key, *((VALID_FROM,) if is_history else ())))
            if is_history:
                yield CheckVersions(store, name, dataset)
        yield from (CheckFile(store, name, file, dataset) for file in dataset.files)


def _seen(view: View, commit: Commit) -> Iterator[Defect]:
    """What analysts see beside what is committed."""
    for name, dataset in commit.datasets.items():
        others = view.others(name, dataset)
        if others is None or any(_is_odd(view, name, file) for file in others):
            yield Defect(name, name, "the view shows other files than were committed", "`threadmill repair` shows them")
        else:
            yield from _copies(view, name, others)
        for path in view.foreign(name, dataset):
            yield Defect(name, path.relative_to(view.folder).as_posix(), "is in the view, but not ours", _FOREIGN)
    for path in view.strangers(set(commit.datasets)):
        yield Defect("", path.name, "is in the view, but no dataset", _FOREIGN)


def _is_odd(view: View, name: str, file: LiveFile) -> bool:
    """Whether what is seen of *file* is no file of its own, or the last that is left of it."""
    return view.seen(name, file).is_symlink() or not (view.store / file.path).exists()


def _copies(view: View, name: str, files: Sequence[LiveFile]) -> Iterator[Defect]:
    for file in files:
        what = ""
        try:
            if file_digest(view.seen(name, file)) != file.digest:
                what = "has other bytes than were committed"
        except OSError as error:
            what = f"cannot be read: {type(error).__name__}"
        if what:
            yield Defect(name, f"{name}/{file.view_path}", what, _REPAIR)
