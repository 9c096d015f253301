"""How many requests an origin has had today: a day is from midnight to midnight UTC, for all runs and processes."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson

from pipelines.errors import RateLimited, StoreError


def _now() -> datetime:
    return datetime.now(UTC)


def counts_folder(data: Path) -> Path:
    """Where the counts of all origins are, beside the *data*."""
    return data / "limits"


def count_file(folder: Path, origin: str) -> Path:
    """Where the count of *origin* is."""
    return folder / (re.sub(r"[^A-Za-z0-9.-]+", "_", origin) + ".json")


def used_today(path: Path, now: Callable[[], datetime] = _now) -> int:
    """Requests so far today, by the file at *path*."""
    return _count(path.read_bytes() if path.is_file() else b"", _day(now()))


class Daily:
    """At most *limit* requests to *origin* a day, counted in a file; without one for as long as this lives."""

    def __init__(self, origin: str, limit: int, folder: Path | None, now: Callable[[], datetime] = _now) -> None:
        self.limit = limit
        self._origin, self._now = origin, now
        self._path = count_file(folder, origin) if folder else None
        self._known = b""

    def take(self, weight: int) -> None:
        """Count a request of *weight*.

        Raises:
            RateLimited: The requests of today are used up.
            StoreError: The count cannot be read or written.
        """
        if not self._counted(_day(self._now()), weight):
            raise RateLimited(
                f"{self._origin}: all {self.limit:,} requests of today are used up",
                "run again after midnight UTC, and it goes on where it stopped; or raise `limits: {daily: ...}`",
            )

    def _counted(self, day: str, weight: int) -> bool:
        if self._path is None:
            count = _count(self._known, day) + weight
            self._known = _written(day, count) if count <= self.limit else self._known
            return count <= self.limit
        try:
            self._path.parent.mkdir(parents=True, mode=0o750, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(self._path, flags, 0o640), "r+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
                count = _count(file.read(), day) + weight
                if count <= self.limit:
                    written = os.pwrite(file.fileno(), _written(day, count), 0)
                    os.ftruncate(file.fileno(), written)
                return count <= self.limit
        except OSError as error:
            raise StoreError(
                f"cannot count today's requests in {self._path}: {error.strerror}", "make room or permit writing"
            ) from error


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).date().isoformat()


def _written(day: str, count: int) -> bytes:
    # always of one length: each writing covers the one before
    return f'{{"day": "{day}", "requests": {count:>12}}}\n'.encode()


def _count(written: bytes, day: str) -> int:
    """The requests of *day* by what is *written*; none where that is of another day."""
    try:
        found = orjson.loads(written)
    except orjson.JSONDecodeError:
        return 0
    return int(found["requests"]) if found["day"] == day else 0
