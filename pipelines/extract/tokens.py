"""Access tokens that expire: fetched once for all threads, renewed before their end and after a refusal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import orjson

from pipelines.batch import Json
from pipelines.errors import AuthError

_EARLY_S = 30.0
Ask = Callable[[], Json]


class Tokens:
    """The current token; whoever comes while one is being fetched waits for that one."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._token = ""
        self._ends_at = float("inf")
        self._was_accepted = False

    def current(self) -> str:
        """A token that should be good; fetched if there is none, or if it ends soon.

        Raises:
            AuthError: The token endpoint gives none.
        """
        with self._lock:
            if not self._token or self._clock() > self._ends_at:
                self._renew()
            return self._token

    def accepted(self, token: str) -> None:
        """The API took *token*: should it refuse it later, a new one is worth asking for."""
        if token == self._token:
            self._was_accepted = True

    def refused(self, token: str) -> bool:
        """The API refused *token*; whether another attempt, with another token, makes sense."""
        with self._lock:
            if token != self._token:
                return True
            if self._was_accepted:
                self._token = ""
            return self._was_accepted

    def _renew(self) -> None:
        # the own monotonic clock: the server's time of day says nothing about ours
        asked = self._clock()
        answer = self._ask()
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise AuthError("the token endpoint gave no access_token", "check `auth`")
        lasts_s = answer.get("expires_in")
        lasts_s = float(lasts_s) if isinstance(lasts_s, int | float | str) and str(lasts_s).isdigit() else float("inf")
        self._ends_at = asked + max(lasts_s - _EARLY_S, lasts_s / 2)
        self._token, self._was_accepted = token, False


def parsed(body: bytes) -> Json:
    """The token endpoint's answer; None where it is no JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
