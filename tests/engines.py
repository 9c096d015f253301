"""Engines for tests that need no worker processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any


class Here:
    """An engine that computes in the calling thread, so that a kill hits what a worker does as well."""

    workers = 2

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Compute at once."""
        return function(*args)

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Compute one after another."""
        return [function(item) for item in items]
