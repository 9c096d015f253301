"""Showing a commit to whoever globs its files; what cannot be shown now is shown by the next run."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from pipelines.errors import StoreError
from pipelines.load.disk import store_errors
from pipelines.load.draft import Committed
from pipelines.load.log import Commit
from pipelines.load.view import View


def show(commit: Commit, names: tuple[str, ...], view: View, head: Callable[[], Commit | None]) -> Committed:
    """Bring the datasets *names* of *view* to *commit*; *head* tells whether a newer one has been made meanwhile.

    One that the commit does not have is withdrawn. What fails is in the result: the commit stands.
    """
    published: list[str] = []
    try:
        with store_errors("showing the commit"):
            for name in names:
                if name in commit.datasets:
                    view.update(name, commit.datasets[name])
                elif (view.folder / name).exists():
                    view.withdraw(name)
                published.append(name)
    except StoreError as error:
        pending = tuple(name for name in names if name not in published)
        return Committed(commit, changed=True, published=tuple(published), pending=pending, warning=error.message)
    newest = head()
    if newest is not None and newest.n > commit.n:
        # without the lock a slower run could show an older commit over a newer one
        return replace(show(newest, tuple(newest.datasets), view, head), head=commit)
    return Committed(commit, changed=True, published=tuple(published))
