"""Fetched pages on disk: what makes a killed run resume, and workers read.

One append-only file for each resource. A frame is a line of JSON (the
request's fingerprint, sizes, checksums) and the packed body; a page counts as
fetched once its frame is written. `plan.json` says what the requests depended
on: a run with another plan starts with an empty spool. What a commit has taken
in may be kept beside it, in `kept/<commit>/`, to be read again without network.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Self

import orjson
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from pipelines.batch import Json, PageRef, digest, pack
from pipelines.errors import StoreError

_PLAN = "plan.json"
_KEPT = "kept"
_EVER = datetime.min.replace(tzinfo=UTC)


class Stored(Struct, frozen=True):
    """A page in the spool: where its body is, and what paging may need of its head."""

    ref: PageRef
    status: int
    headers: Mapping[str, str]


class Plan(Struct, frozen=True):
    """What a run's requests depend on: configuration, the commit it builds on, its frozen clock.

    Pages are of use to plans of the same `basis`. `watermarks` and `span` are what the
    questions start from, `first` the resources without any row before, `clocks` those of
    earlier runs that the resources with pages of theirs go on with. Of those that are `ahead`
    more rows are committed than their watermark covers. `zones` are those of their bounds. Of
    those that `failed` pages are kept for their children's sake alone: the commit took in none
    of their rows.
    """

    config_hash: str
    commit: int
    clock: datetime
    watermarks: Mapping[str, Json] = field(default_factory=dict)
    first: tuple[str, ...] = ()
    span: tuple[str, str] | None = None
    clocks: Mapping[str, datetime] = field(default_factory=dict)
    ahead: tuple[str, ...] = ()
    zones: Mapping[str, str] = field(default_factory=dict)
    failed: tuple[str, ...] = ()

    @property
    def basis(self) -> tuple[str, int]:
        """What decides whether pages of one plan serve another: configuration and commit."""
        return self.config_hash, self.commit

    def clock_of(self, resource: str) -> datetime:
        """The moment up to which *resource* is asked for."""
        return self.clocks.get(resource, self.clock)


class Spool:
    """The pages of one source that no commit contains yet."""

    def __init__(self, folder: Path, plan: Plan, *, oldest: datetime = _EVER) -> None:
        """Open the spool in *folder*, or empty it where it was made for another plan.

        The clock does not tell plans apart: a resource whose pages are here goes on
        with the stored one, in `plan`, so that it asks the same questions again.
        Pages of a clock before *oldest* are dropped.
        """
        self.folder = folder
        self._files: dict[str, _PageFile] = {}
        self._lock = threading.Lock()
        try:
            stored = _stored_plan(folder)
            if stored is None or stored.basis != plan.basis:
                stored = None
                self._empty()
            self.plan = replace(plan, clocks=self._clocks(stored, oldest) if stored else {})
            folder.mkdir(parents=True, mode=0o750, exist_ok=True)
            if stored is None or stored.clock != plan.clock:
                self._write_plan(folder, self.plan)
        except OSError as error:
            raise _refused(folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def find(self, resource: str, fingerprint: str) -> Stored | None:
        """The page that answered the request with *fingerprint*, if it was fetched before."""
        return self._file(resource).pages.get(fingerprint)

    def add(self, resource: str, fingerprint: str, body: bytes, *, status: int, headers: Mapping[str, str]) -> Stored:
        """Write a page; it counts as fetched when this returns.

        Raises:
            StoreError: The disk is full or not writable; the spool is as it was.
        """
        return self._file(resource).add(fingerprint, body, status, headers)

    def grew(self, resource: str) -> bool:
        """Whether a page of *resource* was written since the spool was opened."""
        file = self._files.get(resource)
        return file is not None and file.grew

    def drop(self, resource: str) -> None:
        """Forget the pages of *resource*: the next run asks for them again."""
        with self._lock:
            file = self._files.pop(resource, None)
            if file is not None:
                file.close()
            (self.folder / f"{resource}.pages").unlink(missing_ok=True)

    def settle(
        self,
        unfinished: Collection[str],
        *,
        commit: int,
        keep: Path | None = None,
        again: Collection[str] = (),
        failed: Collection[str] = (),
    ) -> None:
        """After commit number *commit*: hold on to the pages of *unfinished* resources, and of those asked *again*.

        Their watermarks have not moved, so the next run asks the same and resumes.
        With *keep* those that the commit took in go into that folder, which `kept` reads, and
        those of *failed* parents, by which children were asked that it took in.
        """
        self.close()
        pages, stays = list(self.folder.glob("*.pages")), {*unfinished, *again}
        taken_in = [path for path in pages if path.stem not in unfinished or path.stem in failed]
        if keep is not None and taken_in:
            keep.mkdir(parents=True, mode=0o750, exist_ok=True)
            for path in taken_in:
                # no second name: the next run adds pages to those that are asked again
                (shutil.copy if path.stem in stays else Path.rename)(path, keep / path.name)
            self._write_plan(keep, replace(self.plan, failed=tuple(failed)))
        for path in pages:
            if path.stem not in stays:
                path.unlink(missing_ok=True)
        if unfinished or again:
            self.plan = replace(self.plan, commit=commit)
            self._write_plan(self.folder, self.plan)
        else:
            self._empty()

    def close(self) -> None:
        """Close the files; the pages stay."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()

    def has(self, resource: str) -> bool:
        """Whether there are pages of *resource*."""
        return (self.folder / f"{resource}.pages").exists()

    def _clocks(self, stored: Plan, oldest: datetime) -> dict[str, datetime]:
        """The clock of each resource with pages; pages that are too old go."""
        clocks = {path.stem: stored.clock_of(path.stem) for path in self._with_pages()}
        for name in [name for name, clock in clocks.items() if clock < oldest]:
            self.drop(name)
            del clocks[name]
        return clocks

    def _with_pages(self) -> list[Path]:
        return [path for path in self.folder.glob("*.pages") if path.stat().st_size]

    def _empty(self) -> None:
        """Remove all but the pages that commits have taken in."""
        for path in self.folder.glob("*"):
            if path.is_file():
                path.unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _write_plan(self, folder: Path, plan: Plan) -> None:
        """Write aside, then rename: a killed run leaves no half plan."""
        aside = folder / f"{_PLAN}.new"
        aside.write_bytes(orjson.dumps(asdict(plan)))
        aside.rename(folder / _PLAN)

    def _file(self, resource: str) -> _PageFile:
        file = self._files.get(resource)
        if file is None:
            with self._lock:
                file = self._files.get(resource) or _PageFile(self.folder / f"{resource}.pages")
                self._files[resource] = file
        return file


class _PageFile:
    """The frames of one resource."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.pages: dict[str, Stored] = {}
        self.grew = False
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
            with open(self._descriptor, "rb", closefd=False) as file:
                self._end = self._load(file)
            os.ftruncate(self._descriptor, self._end)
        except OSError as error:
            raise _refused(path, error) from error

    def add(self, fingerprint: str, body: bytes, status: int, headers: Mapping[str, str]) -> Stored:
        """Append one frame; all of it or nothing."""
        packed = pack(body)
        head = {"f": fingerprint, "n": len(packed), "r": len(body), "d": digest(body), "x": digest(packed)}
        line = orjson.dumps({**head, "s": status, "h": dict(headers)}) + b"\n"
        with self._lock:
            try:
                written = os.pwritev(self._descriptor, [line, packed], self._end)
                if written != len(line) + len(packed):
                    raise OSError(28, "the disk is full")
            except OSError as error:
                os.ftruncate(self._descriptor, self._end)
                raise _refused(self._path, error) from error
            stored = self._stored(head, self._end + len(line), status, headers)
            self._end += written
            self.pages[fingerprint] = stored
            self.grew = True
        return stored

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _load(self, file: BinaryIO) -> int:
        """Read the frames that are whole; the offset after the last of them."""
        end = 0
        while line := file.readline():
            try:
                head = orjson.loads(line)
                packed = file.read(head["n"])
                if digest(packed) != head["x"] or len(packed) != head["n"]:
                    break
                self.pages[head["f"]] = self._stored(head, end + len(line), head["s"], head["h"])
            except (orjson.JSONDecodeError, KeyError, TypeError):
                break
            end += len(line) + len(packed)
        return end

    def _stored(self, head: Mapping[str, Json], offset: int, status: int, headers: Mapping[str, str]) -> Stored:
        return Stored(PageRef(str(self._path), offset, head["n"], head["r"], head["d"]), status, headers)


def kept_folder(folder: Path, commit: int) -> Path:
    """Where the spool in *folder* keeps the pages that *commit* has taken in."""
    return folder / _KEPT / f"{commit:012d}"


def kept(folder: Path) -> dict[int, Plan]:
    """The commits whose pages are kept beside the spool in *folder*, oldest first, and what they asked."""
    found = sorted(path for path in (folder / _KEPT).glob("*") if path.name.isdigit())
    plans = {int(path.name): _stored_plan(path) for path in found}
    return {number: plan for number, plan in plans.items() if plan is not None}


def forget(folder: Path, commits: Collection[int], *, before: datetime) -> None:
    """Remove kept pages of runs that began until *before*, of none of *commits*, or left without their plan."""
    plans = {kept_folder(folder, number): plan for number, plan in kept(folder).items() if number in commits}
    for path in (folder / _KEPT).glob("[0-9]*"):
        if path not in plans or plans[path].clock <= before:
            shutil.rmtree(path, ignore_errors=True)
    for parent in (folder / _KEPT, folder):
        with suppress(OSError):
            parent.rmdir()


def _stored_plan(folder: Path) -> Plan | None:
    try:
        stored = orjson.loads((folder / _PLAN).read_bytes())
        clock, span = datetime.fromisoformat(stored.pop("clock")), stored.pop("span", None)
        stored |= {name: tuple(stored.get(name, ())) for name in ("first", "ahead", "failed")}
        clocks = {name: datetime.fromisoformat(at) for name, at in stored.pop("clocks", {}).items()}
        return Plan(**stored, clock=clock, span=tuple(span) if span else None, clocks=clocks)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _refused(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write the page spool {path}: {error.strerror}", "free space or check permissions")
