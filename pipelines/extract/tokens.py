"""Access tokens that expire: fetched once for all threads, renewed before their end and after a refusal."""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from pipelines.batch import Json
from pipelines.errors import AuthError, HttpError, Interrupted, PipelineError, StoreError, Timeout
from pipelines.extract.auth import Granted
from pipelines.values import holds_control

_EARLY_S = 30.0
_LOOK_EVERY_S = 0.05
_PASSING = (408, 425, 429)
Ask = Callable[[threading.Event], Granted]
"""Asks the token endpoint; what is set ends a wait for others that do so."""


class Tokens:
    """The current token; whoever comes while one is being fetched waits for that one."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._token = ""
        self._ends_at = float("inf")
        self._was_accepted = False
        self._doubtful: set[str] = set()
        self._refusal: AuthError | None = None

    def current(self, stop: threading.Event) -> str:
        """A token that should be good; fetched if there is none, or if it ends soon.

        Raises:
            AuthError: The token endpoint gives none, or gave none before: it is not asked again.
            Interrupted: *stop* was set while another thread or process was renewing it.
        """
        with self._lock:
            if not self._token or self._clock() > self._ends_at:
                self._renew(stop)
            return self._token

    def accepted(self, token: str, path: str) -> None:
        """*path* took *token*: should it be refused later, a new one is worth asking for."""
        if token == self._token:
            self._was_accepted = True
            self._doubtful.discard(path)

    def refused(self, token: str, path: str) -> bool:
        """*path* refused *token*; whether another attempt, with another token, makes sense.

        A path that refuses the new token as well asks for no third one.
        """
        with self._lock:
            if token != self._token:
                return True
            if not self._was_accepted or path in self._doubtful:
                return False
            self._doubtful.add(path)
            self._token = ""
            return True

    def _renew(self, stop: threading.Event) -> None:
        # the own monotonic clock: the server's time of day says nothing about ours
        asked = self._clock()
        if self._refusal is not None:
            raise AuthError(*self._refusal.args)
        if stop.is_set():  # while others asked, one after the other
            raise Interrupted("the run was asked to stop", "run again to resume")
        try:
            granted = self._ask(stop)
            if holds_control(granted.token):
                raise AuthError("the token endpoint gave a token with a control character", "look at its answer")
        except AuthError as error:
            self._refusal = error
            raise
        self._ends_at = asked + max(granted.lasts_s - _EARLY_S, granted.lasts_s / 2)
        self._token, self._was_accepted = granted.token, False


def keepsake_file(data: Path, source: str) -> Path:
    """Where the newest refresh token of *source* is, beside the *data*."""
    return data / "auth" / f"{source}.json"


class Keepsake:
    """The newest refresh token, in a file that only its owner reads: an API may take each only once.

    Another *first* token in the configuration starts anew. Without a path it lives as long as the run.
    """

    def __init__(self, path: Path | None, first: str) -> None:
        self._path, self._token, self._changes = path, first, bool(first)
        self._first = hashlib.sha256(first.encode()).hexdigest()

    @contextmanager
    def held(self, stop: threading.Event, patience_s: float) -> Iterator[None]:
        """No other process renews within the block; who finds one that does waits so long.

        Of two that send the same token, one would be refused.

        Raises:
            StoreError: A new token could not be kept either.
            Timeout: The other process does not end.
            Interrupted: *stop* was set while waiting.
        """
        if self._path is None or not self._changes:
            yield
            return
        try:
            self._path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(self._path.with_suffix(".lock"), flags, 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot keep a new refresh token in {self._path}: {error.strerror}", "make room or permit writing"
            ) from error
        try:
            _lock(file, self._path.stem, stop, patience_s)
            yield
        finally:
            os.close(file)

    @property
    def newest(self) -> str:
        """The token to renew with, whoever got it."""
        stored = parsed(self._path.read_bytes()) if self._path is not None and self._path.is_file() else None
        if isinstance(stored, dict) and stored.get("first") == self._first:
            self._token = str(stored["refresh_token"])
        return self._token

    def replace(self, token: str) -> None:
        """Keep *token*, on disk before it is used.

        Raises:
            StoreError: It cannot be written.
        """
        if token in ("", self._token):
            return
        self._token = token
        if self._path is None:
            return
        aside = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            aside.unlink(missing_ok=True)
            file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with open(file, "wb") as stream:
                stream.write(orjson.dumps({"first": self._first, "refresh_token": token}))
                stream.flush()
                os.fsync(file)
            aside.rename(self._path)
        except OSError as error:
            raise StoreError(
                f"cannot keep the new refresh token in {self._path}: {error.strerror}",
                "make room or permit writing; then put a fresh refresh token into the configuration",
            ) from error


def _lock(file: int, source: str, stop: threading.Event, patience_s: float) -> None:
    """Lock *file* until it is closed."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                what = f"another process has been renewing the token of {source} for {patience_s:,.0f} s"
                raise Timeout(what, "end it, or raise `timeout: {total: ...}`") from None
            if stop.wait(_LOOK_EVERY_S):
                raise Interrupted("the run was asked to stop", "run again to resume") from None
        else:
            return


def parsed(body: bytes) -> Json:
    """The token endpoint's answer; None where it is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def not_given(what: str, status: int) -> PipelineError:
    """The error for a token endpoint that answers *status*: it refuses who asks, or it may do better another time."""
    told = f"{what}: no token, but {status}"
    if status in _PASSING or status >= 500:
        return HttpError(told, "the server failed; run again later")
    return AuthError(told, "check `auth`: the credentials, and the address they go to")
