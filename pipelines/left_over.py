"""Datasets that stay in the lake though nothing makes them any more: a resource or a mart was renamed or removed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pipelines.milled import rejects_of


def left_over(committed: Iterable[str], made: Collection[str]) -> list[str]:
    """Those of the *committed* datasets of a source that none of its resources or marts, *made* now, leads to."""
    known = {*made, *map(rejects_of, made)}
    names = [name for name in committed if name not in known]
    # what was set aside of a dataset goes with it
    return [name for name in names if not any(name == rejects_of(other) for other in names)]


def of_left_over(source: str, committed: Iterable[str], made: Collection[str]) -> tuple[str, ...]:
    """A sentence for each of them."""
    return tuple(
        f"{source}.{name}: nothing makes it any more; `threadmill drop {source}.{name}` takes it out"
        for name in left_over(committed, made)
    )
