"""Where a page goes on from those before it, though rows came or went between the two requests.

Pages that are asked for by an offset or a number shift when a row is inserted or
deleted. A page that was asked for so that it begins with the last record of the
page before, its anchor, shows that no record was passed by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from pipelines.batch import digest
from pipelines.extract.page import Page

LOOK_BACK = 5
"""Pages that are compared, and steps back at most, before rows count as gone for good."""


class Joint(Struct, frozen=True):
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
    if not overlaps and not key:
        return _shift(page, earlier(), anchor)
    repeated = _repeated(page, earlier(), key)
    return Joint(repeated, moved=True, is_lost=overlaps and not repeated)


def _shift(page: Page, earlier: Sequence[Page], anchor: str) -> Joint:
    """Whether *page* begins with records of *earlier* ones, of which nothing but their text tells one from another.

    Nothing can be said where a page has equal records: those of the next page may be equal as well, and no others.
    """
    if any(len(set(one.digests)) < len(one.digests) for one in (*earlier, page)):
        return Joint()
    known = {one for before in earlier for one in before.digests}
    begins = next((place for place, one in enumerate(page.digests) if one not in known), len(page.digests))
    return Joint(tuple(range(begins)), moved=True) if anchor in page.digests[:begins] else Joint()


def joint_again(page: Page, before: str, *, earlier: Callable[[], Sequence[Page]], key: Sequence[str]) -> Joint:
    """What *page* adds to the *earlier* ones, being one of them asked for again; its body had the digest *before*."""
    if digest(page.body) == before:
        return Joint(tuple(range(page.count)))
    repeated = _repeated(page, earlier(), key)
    return Joint(repeated, moved=len(repeated) < page.count or not repeated)


def _repeated(page: Page, earlier: Sequence[Page], key: Sequence[str]) -> tuple[int, ...]:
    same = {one for page in earlier for one in page.digests}
    known = {name for page in earlier for name in page.identities(key)}
    names = page.identities(key)
    begins = next((place for place, name in enumerate(names) if name not in known), len(names))
    return tuple(place for place, one in enumerate(page.digests) if place < begins or one in same)
