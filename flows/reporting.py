"""Telling Prefect without depending on it: the data is committed whether or not its server answers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from httpx import HTTPError
from msgspec import Struct, field
from prefect.exceptions import PrefectException

log = logging.getLogger(__name__)

Told = TypeVar("Told")


class Reporting(Struct):
    """Keeps what Prefect could not be told; each try takes a minute, so what has failed once is not tried again."""

    missed: list[str] = field(default_factory=list)

    def attempt(self, what: str, tell: Callable[[], Told]) -> Told | None:
        """What *tell* returns; None where Prefect's API does not answer, and *what* is said to be missing."""
        if what not in self.missed:
            try:
                return tell()
            except (HTTPError, PrefectException, OSError) as error:
                log.error(  # the traceback is Prefect's client
                    "Prefect could not be told %s (%s); the data is committed all the same", what, type(error).__name__
                )
        self.missed.append(what)
        return None
