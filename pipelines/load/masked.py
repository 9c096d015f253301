"""Which fields `mask` covered in all rows of a dataset: what was written before a rule came stays as it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pipelines.load.log import Dataset


def covered(known: Dataset, rules: Collection[str], *, anew: bool) -> tuple[str, ...] | None:
    """The paths that are covered in all rows of what *known* becomes; None where nobody can tell.

    With *anew* every row is one that was read under *rules*.
    """
    if anew:
        return tuple(sorted(rules))
    return None if known.masked is None else tuple(path for path in known.masked if path in rules)


def of_uncovered(
    where: str, known: Dataset, rules: Collection[str], columns: Mapping[str, str] | None, *, anew: bool
) -> tuple[str, ...]:
    """A warning about stored rows that hold what *rules* name as it came.

    *columns* tells fields that have a column of another name; None of rows that hold whole records.
    """
    if anew or known.masked is None or known.schema is None or not known.files:
        return ()
    bare = [
        path
        for path in sorted({*rules} - {*known.masked})
        # below what was covered there was nothing more
        if not any(path.startswith(f"{other}.") for other in known.masked)
        and (columns is None or not _columns_of(path, columns).isdisjoint(known.schema.names))
    ]
    names, told = ", ".join(map(repr, bare)), "hold it as it came; the runbook tells how to be rid of it"
    return (f"{where}: rows that were stored before `mask` named {names} {told}",) if bare else ()


def _columns_of(path: str, columns: Mapping[str, str]) -> set[str]:
    """The columns that may hold the field at *path*."""
    return {path.partition(".")[0], path.replace(".", "_"), columns.get(path, path)}
