"""One request at a time: what is under way, and what follows from a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from msgspec import Struct, field

from pipelines.batch import Json, digest
from pipelines.errors import ConfigError, DecodeError, Drift, PipelineError
from pipelines.extract.chains import DRIFT_HINT, Asker, Chain, Question
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.extraction import Finding, Tally, no_better
from pipelines.extract.joints import LOOK_BACK, Joint, joint, joint_again
from pipelines.extract.numbered import Paginator
from pipelines.extract.page import Page
from pipelines.extract.placeholders import Scope, look_up
from pipelines.extract.request import Request

NO_JOINT = Joint()
_TOO_LATE = "make `window` shorter; or say `most`, and where page 1 tells the total, so that the window is halved then"


class ResourceRun(Struct):
    """A resource while it is being fetched; `key` are the paths in a record to what tells it from others."""

    name: str
    endpoint: Endpoint
    asker: Asker
    key: Sequence[str] = ()
    tally: Tally = field(default_factory=Tally)
    parent: ResourceRun | None = None
    children: list[ResourceRun] = field(default_factory=list)
    open_chains: int = 0
    has_all_parents: bool = False
    is_finished: bool = False
    error: PipelineError | None = None
    asked: set[str] = field(default_factory=set)
    """Which questions of parents there were."""
    below: list[str] | None = None

    def is_new(self, question: Question) -> bool:
        """Whether *question*, or one whose rows would be the same, was not asked before; it counts as asked now."""
        handed = [_value(path, question.named) for path in self._named_below()]
        name = digest(f"{question.request.fingerprint} {question.carry!r} {handed!r}".encode())
        if name in self.asked:
            return False
        self.asked.add(name)
        return True

    def _named_below(self) -> list[str]:
        """The paths of all values that the questions and the columns of children, and of theirs, are made of."""
        if self.below is None:
            own = [path for child in self.children for path in (*child.asker.paths, *child._named_below())]
            self.below = sorted(set(own))
        return self.below

    def add_child(self, child: ResourceRun) -> None:
        """Let *child* be asked for each record of this one."""
        child.parent = self
        self.children.append(child)

    def verdict(self) -> Finding:
        """Whether everything is there, and what says so: a child is no better than its parent."""
        own = self.tally.verdict()
        return no_better(own, self.parent.verdict(), self.parent.name) if self.parent else own

    @property
    def counts_records(self) -> bool:
        """Whether there is, or may be, a number to compare that of the records with."""
        return bool(self.endpoint.count or self.most) or self.endpoint.paginator.tells_total

    @property
    def most(self) -> int | None:
        """How many records of one window the API gives, where it does not give them all."""
        return self.endpoint.incremental.most if self.endpoint.incremental else None

    @property
    def overlaps(self) -> bool:
        """Whether a page is to begin with the last record of the page before it: as said, or where a key tells it."""
        wanted = self.endpoint.paginator.overlapping
        return bool(self.key) if wanted is None else wanted > 0

    @property
    def notices_moves(self) -> bool:
        """Whether a row that moves between two pages is noticed."""
        return self.overlaps or self.endpoint.paginator.rereads

    def halves(self, step: Step, page: Page) -> list[Question]:
        """Two questions instead of the one of *step*, where the API does not give all of its window.

        Raises:
            DecodeError: The window is too short to be halved, or records of it were handed on already.
        """
        if step.number:
            if page.splits:
                what = f"{page.request.safe_url}: a page after the first says that the window is too long"
                raise DecodeError(what, _TOO_LATE)
            return []
        if not page.splits:
            if self.most is None or page.skipped:
                return []
            total = self.endpoint.paginator.total(page)
            if (page.count if total is None else total) < self.most:
                return []
        found = self.asker.halves(step.chain.question)
        if not found:
            what = f"{page.request.safe_url}: the API does not give all records of the shortest window"
            raise DecodeError(what, "narrow the question with `params` or `for_each`")
        return found


def _value(path: str, scope: Scope) -> Json:
    try:
        return look_up(path, scope)
    except ConfigError:
        return None  # what has to have it says so


class Step(Struct, frozen=True, dict=True):
    """One request to make: page *number* of its chain.

    `overlaps`: it begins with the last record of the page before; `back`: how often it was moved back to find that;
    `turn`: how often that happened in the chain so far, after which the same may be asked again; `again`: it is
    the page before the one that has just come, to see whether rows moved between them, and `then` comes next.
    """

    chain: Chain
    request: Request
    number: int
    overlaps: bool = False
    back: int = 0
    turn: int = 0
    again: bool = False
    then: Request | None = None

    @cached_property
    def key(self) -> str:
        """By which the spool knows the answer."""
        asked, which = self.request.fingerprint, f"again {self.number}" if self.again else self.turn
        return digest(f"{asked} {which}".encode()) if which else asked

    def joint(self, resource: ResourceRun, page: Page, earlier: Callable[[], Sequence[Page]]) -> Joint:
        """How *page* follows the *earlier* pages, where rows may have moved between them.

        Raises:
            Drift: So many rows went away that the place is not found again.
        """
        paginator, chain = resource.endpoint.paginator, self.chain
        is_told = chain.is_addressed or chain.total is not None or (chain.last_page and not paginator.rereads)
        if (
            not paginator.is_numbered
            or not chain.anchor
            or is_told
            or not paginator.compares
            or (page.skipped and chain.has_nothing_new)
            or paginator.total(page) is not None
        ):
            return Joint()
        if self.again:
            found = joint_again(page, chain.latest[-2][1].ref.digest, earlier=earlier, key=resource.key)
        else:
            found = joint(page, chain.anchor, overlaps=self.overlaps, earlier=earlier, key=resource.key)
        if self.back >= LOOK_BACK and (found.is_lost or (self.again and not found.repeated)):
            raise Drift(f"{self.request.safe_url}: rows went away while they were read", DRIFT_HINT)
        is_known = chain.has_nothing_new or (self.back > 0 and len(found.repeated) == page.count)
        if found.moved and not (page.skipped or is_known or chain.notes):
            joined, left_out = "each page was joined to the one before it", "those that came twice are left out"
            what = joined if resource.notices_moves else left_out
            chain.notes.append(f"rows came or went while page {self.number + 1} was awaited: {what}")
        return found

    def stepped_back(self, resource: ResourceRun) -> Step:
        """The same page, asked for half a page earlier (then a page, then two), to find where those before it ended.

        Raises:
            Drift: There is nothing before it.
        """
        self.chain.go_back(self.request)
        records = -(-self.chain.page_size * 2**self.back // 2)
        request = resource.endpoint.paginator.back(self.request, records)
        if request is None:
            raise Drift(f"{self.request.safe_url}: all rows went away while they were read", DRIFT_HINT)
        return Step(self.chain, request, self.number, overlaps=True, back=self.back + 1, turn=self.turn + 1)

    def following(self, resource: ResourceRun, page: Page, found: Joint = NO_JOINT) -> list[Step]:
        """The steps after *page*, which was *found* to follow so: all others where the API told how many, or the next.

        Raises:
            Drift: So many rows went away that the place is not found again.
        """
        paginator, chain = resource.endpoint.paginator, self.chain
        if self.again:
            return self._after_again(paginator, found)
        if page.skipped and not (paginator.rereads and self.number):
            return []
        total = paginator.total(page)
        last = None if total is not None or page.is_empty_body else paginator.last_page(page)
        if total is not None:
            chain.totals.add(total)
        if last is not None:
            chain.last_pages.add(last)
        if chain.is_addressed and self.number:
            return []
        # the rest of a walk can only be compared with what was there when it began
        chain.total = total if chain.total is None else chain.total
        if self.number == 0:
            if total is None and (told := paginator.told_total(page)) is not None:
                chain.notes.append(f"the API tells a total of {told:,}, but {page.count:,} records come")
            chain.last_page = paginator.last_page(page)
            rest = paginator.rest(page)
            if rest is not None:
                chain.is_addressed = True
                return [Step(chain, request, number) for number, request in enumerate(rest, 1)]
        if self.overlaps and page.count == 1:
            following = None  # a page that holds the anchor alone is the last
        elif page.is_empty_body and chain.last_page is not None:
            following = paginator.next_known(self.request, chain.last_page)
        else:
            following = paginator.next_request(page)
        if paginator.rereads and self.number and (before := paginator.back(self.request, 0)):
            return [Step(chain, before, self.number + 1, again=True, then=following)]
        return [] if following is None else [self._next(resource, page, following)]

    def _after_again(self, paginator: Paginator, found: Joint) -> list[Step]:
        """Go on where the page holds records that are known; else the place is further back still."""
        if found.repeated:
            return [Step(self.chain, self.then, self.number + 1)] if self.then else []
        before = paginator.back(self.request, 0)
        if before is None:
            raise Drift(f"{self.request.safe_url}: all rows went away while they were read", DRIFT_HINT)
        return [Step(self.chain, before, self.number + 1, back=self.back + 1, again=True, then=self.then)]

    def _next(self, resource: ResourceRun, page: Page, following: Request) -> Step:
        """The step after *page*; where pages overlap, it asks for its last record again."""
        if resource.overlaps and page.count > 1 and page.edges[1]:
            earlier = resource.endpoint.paginator.back(following, 1)
            overlaps = earlier is not None
            return Step(self.chain, earlier or following, self.number + 1, overlaps=overlaps, turn=self.turn)
        return Step(self.chain, following, self.number + 1, turn=self.turn)
