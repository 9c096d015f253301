"""Where a page goes on from those before it, though rows came or went between the two requests.

Pages that are asked for by an offset or a number shift when a row is inserted or
deleted. A page that was asked for so that it begins with the last record of the
page before, its anchor, shows that no record was passed by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.extract.page import Page

LOOK_BACK = 5
"""Pages that are compared, and steps back at most, before rows count as gone for good."""


@dataclass(frozen=True, slots=True)
class Joint:
    """Positions of the records in a page that the pages before it have already.

    `moved`: rows came or went meanwhile. `is_lost`: none of the records before is in it, though one should be.
    """

    repeated: tuple[int, ...] = ()
    moved: bool = False
    is_lost: bool = False


def joint(
    page: Page, anchor: str, *, overlaps: bool, earlier: Callable[[], Sequence[Page]], key: Sequence[str]
) -> Joint:
    """How *page* follows the *earlier* pages, the last of which ended with *anchor*.

    *overlaps*: it was asked for so that it begins with that record. Records are the same by *key*, without one
    as a whole. One that comes again changed, and not at the beginning, has moved: it is another one.
    """
    if overlaps and page.edges[0] == anchor:
        return Joint((0,))
    if not overlaps and anchor not in page.digests:
        return Joint()
    pages = earlier()
    same = {digest for one in pages for digest in one.digests}
    known = {name for one in pages for name in one.identities(key)}
    names = page.identities(key)
    begins = next((place for place, name in enumerate(names) if name not in known), len(names))
    repeated = tuple(place for place, digest in enumerate(page.digests) if place < begins or digest in same)
    return Joint(repeated, moved=True, is_lost=overlaps and not repeated)
