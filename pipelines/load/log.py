"""The truth: numbered documents, each naming every live file of a source.

Document `000000000042.json` holds, for all datasets of the source at once, the
files, schema and state (watermarks) that commit 42 made true. A document is
written aside, synced and linked to its number; the link fails where the number
is taken, so of two runs one wins and the other learns of it. Where documents are
kept, and how one is put where none is, a `Store` knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import orjson
from msgspec import Struct, field
from msgspec.structs import asdict

from pipelines.batch import Json, Part
from pipelines.errors import Conflict, StoreError
from pipelines.load.disk import store_errors
from pipelines.load.schema import decode_schema
from pipelines.load.stores import Store
from pipelines.load.target import VALIDITY, OlderFiles, Target, Write

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1


class LiveFile(Struct, frozen=True):
    """A committed Parquet file: `path` in the store, `partition`/`name` in the view.

    One that is `older` has columns from before those of its dataset; readers cast it.
    """

    path: str
    partition: str
    name: str
    rows: int
    size_bytes: int
    digest: str
    stats: dict[str, tuple[Json, Json]]
    commit: int
    older: bool = False

    @classmethod
    def of(cls, part: Part, commit: int, number: int) -> LiveFile:
        """The file that *part* becomes, as the *number*-th one of its dataset in *commit*."""
        name = f"part-{commit:012d}-{number}.parquet"
        return cls(part.path, part.partition, name, part.rows, part.size_bytes, part.digest, dict(part.stats), commit)

    @property
    def view_path(self) -> str:
        """Where analysts see it, below the dataset's folder."""
        return f"{self.partition}/{self.name}".lstrip("/")


def places(files: Sequence[LiveFile]) -> dict[str, int]:
    """By the path of each of *files* the `sequence` of what takes its place: below 0, where what is read begins."""
    return {file.path: number - len(files) for number, file in enumerate(files)}


class Dataset(Struct, frozen=True):
    """What a commit says about one dataset.

    `masked` are the paths of `mask` that were covered in all of its rows; None where nobody can tell.
    """

    files: tuple[LiveFile, ...] = ()
    columns: tuple[Json, ...] | None = None
    key: tuple[str, ...] = ()
    write: Write = "append"
    partition_by: tuple[str, ...] = ()
    state: Json = None
    counts: Mapping[str, int] = field(default_factory=dict)
    version: str | None = None
    sort_by: tuple[str, ...] = ()
    older_files: OlderFiles = "rewrite"
    masked: tuple[str, ...] | None = None

    @property
    def is_mixed(self) -> bool:
        """Whether files may have other columns than `schema`, so that readers must cast them."""
        return self.older_files == "cast" or any(file.older for file in self.files)

    @property
    def schema(self) -> pa.Schema | None:
        """The one schema of all files; None before the first rows."""
        return None if self.columns is None else decode_schema(self.columns)

    @property
    def record_columns(self) -> tuple[Json, ...] | None:
        """The columns that records have: not those that a history adds."""
        made = VALIDITY if self.write == "history" else ()
        return None if self.columns is None else tuple(one for one in self.columns if one["name"] not in made)

    @property
    def target(self) -> Target:
        """How its rows were written, as far as that shapes the files."""
        return Target.model_construct(
            key=self.key,
            write=self.write,
            version=self.version,
            partition_by=self.partition_by,
            sort_by=self.sort_by,
            older_files=self.older_files,
        )

    @property
    def rows(self) -> int:
        """Rows of all live files."""
        return sum(file.rows for file in self.files)


class Commit(Struct, frozen=True):
    """One document of the log, which came into it at `created_at`; `note` says what made it, where no run did."""

    n: int
    run: str
    parent: int
    created_at: datetime
    config_hash: str = ""
    code_version: str = ""
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    note: str = ""

    @property
    def paths(self) -> set[str]:
        """The store paths that this commit needs."""
        return {file.path for dataset in self.datasets.values() for file in dataset.files}

    def encode(self) -> bytes:
        """The document as it lies in the log."""
        datasets = {name: {"rows": value.rows, **asdict(value)} for name, value in self.datasets.items()}
        document = {"format": FORMAT, **asdict(self), "datasets": datasets}
        return orjson.dumps(document, default=asdict, option=orjson.OPT_INDENT_2)

    @classmethod
    def decode(cls, data: bytes) -> Commit:
        """The inverse of `encode`; what a later version of this format says beside it is left out.

        Raises:
            NewerFormat: It is a document of a later format.
            ValueError, KeyError, TypeError: It is none at all.
        """
        document = orjson.loads(data)
        if (number := document.pop("format")) != FORMAT:
            raise NewerFormat(number) if isinstance(number, int) and number > FORMAT else ValueError("another format")
        datasets = {name: _dataset(value) for name, value in document.pop("datasets").items()}
        created_at = datetime.fromisoformat(document.pop("created_at"))
        return cls(**_known(cls, document), created_at=created_at, datasets=datasets)


class NewerFormat(ValueError):
    """A document of a format that this version does not know."""


def _known(kind: type[Struct], value: dict[str, Json]) -> dict[str, Json]:
    return {name: item for name, item in value.items() if name in kind.__struct_fields__}


def _dataset(value: dict[str, Json]) -> Dataset:
    del value["rows"]
    files = tuple(map(_file, value.pop("files")))
    value = _known(Dataset, value)
    texts = (name for name in ("columns", "key", "partition_by", "sort_by", "masked") if name in value)
    names: dict[str, Json] = {name: None if value[name] is None else tuple(value[name]) for name in texts}
    return Dataset(**{**value, **names, "files": files})


def _file(value: dict[str, Json]) -> LiveFile:
    value["stats"] = _stats(value["stats"])
    try:
        return LiveFile(**value)
    except TypeError:  # there may be thousands, and hardly ever one that says more
        return LiveFile(**_known(LiveFile, value))


def _stats(value: dict[str, list[Json]]) -> dict[str, tuple[Json, Json]]:
    return {name: (low, high) for name, (low, high) in value.items()}


class Log:
    """The documents of one source."""

    def __init__(self, source: str, store: Store) -> None:
        self._source, self._store = source, store

    def numbers(self) -> list[int]:
        """The commits that are kept, oldest first."""
        with store_errors("reading the log"):
            return self._store.numbers()

    def head(self) -> Commit | None:
        """The newest commit."""
        numbers = self.numbers()
        while numbers:
            try:
                return self.read(numbers[-1])
            except StoreError:
                # a run may have put a newer one and forgotten this one meanwhile
                newer = self.numbers()
                if newer[-1:] == numbers[-1:]:
                    raise
                numbers = newer
        return None

    def read(self, number: int) -> Commit:
        """Commit *number*.

        Raises:
            StoreError: It is not kept (any more), or damaged.
        """
        try:
            with store_errors(f"reading commit {number}"):
                data = self._store.document(number)
        except StoreError as error:
            if number in (kept := self.numbers()):
                raise
            those = f"those from {kept[0]} to {kept[-1]}" if kept else "none"
            hint = f"kept are {those}; `threadmill log {self._source}` lists them"
            raise StoreError(f"{self._source} has no commit {number}", hint) from error
        try:
            return Commit.decode(data)
        except NewerFormat as error:
            raise StoreError(
                f"the commit document {self._source}/log/{number:012d}.json has format {error}, "
                "which is newer than this version",
                "use the version of Threadmill that wrote it, or a later one",
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"the commit document {self._source}/log/{number:012d}.json is damaged ({type(error).__name__})",
                "restore it from a backup, or remove it to go back one commit",
            ) from error

    def at(self, when: datetime) -> Commit:
        """The newest commit that was there at *when*, by the clock that named them.

        Raises:
            StoreError: No commit that is kept is so old.
        """
        for number in reversed(self.numbers()):
            commit = self.read(number)
            if commit.created_at <= when:
                return commit
        raise StoreError(
            f"no commit of {self._source} that is kept was made by {when:%Y-%m-%d %H:%M:%S %Z}",
            "`threadmill log` lists the commits; the setting kept_commits says how many are kept",
        )

    def append(self, commit: Commit) -> None:
        """Make *commit* the truth: before this returns it is, after a power cut too.

        Raises:
            Conflict: Another run has made a commit of that number.
            StoreError: The store is full or refuses; nothing was committed.
        """
        with store_errors(f"writing commit {commit.n}"):
            if self._store.add_document(commit.n, commit.encode()):
                return
        # a network may repeat a request that had succeeded: then the document that is there is this one
        winner = self._run_of(commit.n)
        if winner != commit.run:
            raise Conflict(
                f"{f'run {winner}' if winner else 'another run'} made commit {commit.n} while this one was working",
                "run again: it starts from the new commit; nothing of this run was published",
            )

    def forget(self, numbers: Sequence[int]) -> None:
        """Remove commits from the log."""
        self._store.forget(numbers)

    def _run_of(self, number: int) -> str:
        with suppress(StoreError):
            return self.read(number).run
        return ""
