"""A source in a bucket that speaks S3's protocol: `s3://bucket/prefix/<source>/log` and `/store`.

Parts are uploaded first. The document that names them is put only where none is
(`If-None-Match: *`), so of two writers one wins and the other learns of it. An
answer that was lost says nothing: the document is read back, and the run that it
names tells whose it is. The store's folder on this machine holds what was
written or read here; names are immutable, so it may be removed at any time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import xxhash

from pipelines.batch import Part
from pipelines.errors import StoreError
from pipelines.load.bucket import bucket_errors, connect, for_arrow
from pipelines.load.disk import DISK, store_errors
from pipelines.load.stores import DOCUMENT, Addresses, Remote, Stored

_AT_ONCE, _TRIES = 8, 2
_LEAST_ORPHAN_AGE = timedelta(days=1)


class ObjectStore:
    """One source in a bucket; safe to use from many threads."""

    least_grace = timedelta(hours=1)

    def __init__(self, remote: Remote, source: str, folder: Path) -> None:
        self._remote, self._source, self._folder = remote, source, folder
        self._url, self._bucket = f"{remote.url.rstrip('/')}/{source}", connect(remote, source)

    def numbers(self) -> list[int]:
        """The documents that a listing tells, and those right after them: a listing may lag behind."""
        with bucket_errors(f"listing the commits of {self._url}"):
            numbers = sorted(_numbers(self._bucket, "log/"))
            while numbers and self._is_there(_document(numbers[-1] + 1)):
                numbers.append(numbers[-1] + 1)
        return numbers

    def document(self, number: int) -> bytes:
        """The bytes of a document."""
        import obstore

        with bucket_errors(f"reading commit {number} of {self._url}"):
            return bytes(obstore.get(self._bucket, _document(number)).bytes())

    def add_document(self, number: int, data: bytes) -> bool:
        """Put it where none is; an answer that is lost is asked for again.

        Raises:
            StoreError: The server refuses, or nobody can tell; what was uploaded stays for a day.
        """
        numbers = self.numbers()
        if numbers and numbers[-1] >= number:
            # a number that was forgotten is free again, and no commit may take it
            return False
        if number == 1:
            self._refuse_careless()
        with bucket_errors(f"writing commit {number} of {self._url}"):
            return self._put_if_absent(_document(number), data)

    def forget(self, numbers: Sequence[int]) -> None:
        """Remove documents."""
        self._delete([_document(number) for number in numbers])

    def keep(self, parts: Sequence[Part]) -> None:
        """Upload the parts; the server compares a checksum of each."""
        self._each(lambda part: self._put(part.path, self._folder / "store" / part.path), parts)

    def missing(self, paths: Iterable[str]) -> list[str]:
        """The paths for which there is no object."""
        paths = list(paths)
        with bucket_errors(f"looking for files of {self._url}"):
            there = self._each(lambda path: self._is_there(_object(path)), paths)
        return [path for path, is_there in zip(paths, there, strict=True) if not is_there]

    def bring(self, files: Iterable[Stored]) -> None:
        """Download those of *files* that are not here.

        Raises:
            StoreError: An object is gone, or has other bytes than were written.
        """
        place = self._folder / "store"
        self._each(lambda file: self._bring(file, place / file.path), {file.path: file for file in files}.values())

    def as_kept(self, files: Iterable[Stored], aside: Path) -> Path:
        """Downloads of all that are there, unseen."""
        self._each(lambda file: self._fetch(file, aside / file.path), files)
        return aside

    def restore(self, file: Stored, whole: Path) -> None:
        """Upload *whole*."""
        self._put(file.path, whole)

    def addresses(self, paths: Iterable[str]) -> Addresses:
        """Keys behind the bucket's name, in Arrow's own client."""
        root = f"{self._url.removeprefix('s3://')}/store"
        return Addresses(tuple(f"{root}/{path}" for path in paths), for_arrow(self._remote))

    def size_bytes(self) -> int:
        """The size of all objects of the store."""
        with bucket_errors(f"listing the files of {self._url}"):
            return sum(size for _, size, _ in _listed(self._bucket, "store/"))

    def sweep(self, named: Callable[[], set[str]], forgotten: set[str], *, now: datetime) -> None:
        """Remove *forgotten* objects, and those a day old that no document names: younger ones may be of a run.

        Where there is no document nothing tells what is ours, or what could still be read: all of it stays.
        """
        with bucket_errors(f"listing the files of {self._url}"):
            found = [(key.removeprefix("store/"), since) for key, _, since in _listed(self._bucket, "store/")]
        # after the listing: what was committed meanwhile is named
        live = named()
        if not live and not self.numbers():
            return
        old = now - _LEAST_ORPHAN_AGE
        gone = [path for path, since in found if path not in live and (path in forgotten or since < old)]
        self._delete([_object(path) for path in gone])

    def _put(self, path: str, file: Path) -> None:
        import obstore

        with bucket_errors(f"uploading {path} to {self._url}"):
            obstore.put(self._bucket, _object(path), file)

    def _bring(self, file: Stored, place: Path) -> None:
        """Download one file, unless it is here; whoever else does so puts the same bytes there.

        Copies are not synced, so a power cut may have left a name without its bytes.
        """
        if place.is_file() and place.stat().st_size == file.size_bytes:
            return
        # not in the folder of temporary files, which another run of this machine may empty
        aside = place.with_name(f"{uuid.uuid4().hex}.part")
        try:
            if self._fetch(file, aside) != (file.size_bytes, file.digest):
                raise StoreError(
                    f"{self._url}/store/{file.path} is gone, or has other bytes than were written",
                    "`threadmill verify` tells what is damaged, `threadmill repair` looks for a whole copy",
                )
            aside.chmod(0o440)
            aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)

    def _fetch(self, file: Stored, place: Path) -> tuple[int, str]:
        """Download one file as it is there; its size and digest, or nothing where there is none."""
        import obstore

        checked = xxhash.xxh3_128()
        DISK.folder(place.parent)
        with bucket_errors(f"downloading {file.path} of {self._url}"), suppress(FileNotFoundError):
            pieces = obstore.get(self._bucket, _object(file.path)).stream()
            with store_errors(f"keeping a copy of {file.path}"), place.open("xb") as out:
                for piece in pieces:
                    checked.update(piece)
                    out.write(piece)
                return out.tell(), checked.hexdigest()
        return 0, ""

    def _is_there(self, key: str) -> bool:
        import obstore

        try:
            obstore.head(self._bucket, key)
        except FileNotFoundError:
            return False
        return True

    def _put_if_absent(self, key: str, data: bytes) -> bool:
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError

        for attempt in range(1, _TRIES + 1):
            try:
                obstore.put(self._bucket, key, data, mode="create")
            except AlreadyExistsError:
                return False
            except BaseError:
                # the answer is lost; perhaps the document is not
                with suppress(BaseError):
                    if self._is_there(key):
                        return False
                if attempt == _TRIES:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def _delete(self, keys: list[str]) -> None:
        import obstore

        if keys:
            with bucket_errors(f"removing files of {self._url}"):
                obstore.delete(self._bucket, keys)

    def _refuse_careless(self) -> None:
        """Some servers overlook the condition; there two writers would overwrite each other in silence."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        key = f"log/probe-{uuid.uuid4().hex}"
        with bucket_errors(f"trying out {self._url}"):
            obstore.put(self._bucket, key, b"1", mode="create")
            try:
                obstore.put(self._bucket, key, b"2", mode="create")
            except AlreadyExistsError:
                return
            finally:
                obstore.delete(self._bucket, key)
        raise StoreError(
            f"the server of {self._url} overwrites objects that it was told not to (If-None-Match: *)",
            "a lake needs a server with conditional writes, such as AWS S3, MinIO, Cloudflare R2 or Ceph",
        )

    def _each(self, do: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="objects") as threads:
            return list(threads.map(do, items))


def sources(remote: Remote) -> list[str]:
    """The sources that have a commit in the bucket: what else is beside them is no lake."""
    import obstore

    bucket = connect(remote, "")
    with bucket_errors(f"listing {remote.url}"), ThreadPoolExecutor(_AT_ONCE) as threads:
        names = [str(name).strip("/") for name in obstore.list_with_delimiter(bucket)["common_prefixes"]]
        are_sources = threads.map(lambda name: any(_numbers(bucket, f"{name}/log/")), names)
        return sorted(name for name, is_source in zip(names, are_sources, strict=True) if is_source)


def _numbers(bucket: Any, folder: str) -> Iterator[int]:
    """The numbers of the documents in *folder* that a listing tells."""
    found = (DOCUMENT.match(key.removeprefix(folder)) for key, _, _ in _listed(bucket, folder))
    yield from (int(match[1]) for match in found if match)


def _listed(bucket: Any, prefix: str) -> Iterator[tuple[str, int, datetime]]:
    """Key, size and time of each object."""
    import obstore

    for some in obstore.list(bucket, prefix):
        yield from ((one["path"], one["size"], one["last_modified"]) for one in some)


def _document(number: int) -> str:
    return f"log/{number:012d}.json"


def _object(path: str) -> str:
    return f"store/{path}"
