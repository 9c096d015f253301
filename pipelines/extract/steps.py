"""One request at a time: what is under way, and what follows from a page."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.errors import DecodeError, PipelineError
from pipelines.extract.chains import Asker, Chain, Question
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.extraction import Tally
from pipelines.extract.page import Page, Request


@dataclass
class ResourceRun:
    """A resource while it is being fetched; `may_repeat`: a record that comes twice is stored once."""

    name: str
    endpoint: Endpoint
    asker: Asker
    tally: Tally = field(default_factory=Tally)
    may_repeat: bool = True
    children: list[ResourceRun] = field(default_factory=list)
    open_chains: int = 0
    has_all_parents: bool = False
    is_finished: bool = False
    error: PipelineError | None = None

    @property
    def counts_records(self) -> bool:
        """Whether there is, or may be, a total to compare with."""
        return self.endpoint.count is not None or self.endpoint.paginator.total_path is not None

    def halves(self, chain: Chain, page: Page) -> list[Question]:
        """Two questions instead of that of *chain*, where the API does not give all of its window.

        Raises:
            DecodeError: The window is too short to be halved.
        """
        most = self.endpoint.incremental.most if self.endpoint.incremental else None
        if not page.splits:
            if most is None or page.skipped:
                return []
            total = self.endpoint.paginator.total(page)
            if (page.count if total is None else total) < most:
                return []
        found = self.asker.halves(chain.question)
        if not found:
            what = f"{page.request.safe_url}: the API does not give all records of the shortest window"
            raise DecodeError(what, "narrow the question with `params` or `for_each`")
        return found


@dataclass(frozen=True)
class Step:
    """One request to make: page *number* of its chain."""

    chain: Chain
    request: Request
    number: int

    def following(self, resource: ResourceRun, page: Page) -> list[Step]:
        """The steps after *page*: all others where the API told how many, else the next, if any."""
        paginator, chain = resource.endpoint.paginator, self.chain
        if page.skipped:
            return []
        total = paginator.total(page)
        if total is not None:
            chain.totals.add(total)
        if chain.is_addressed and self.number:
            return []
        # the rest of a walk can only be compared with what was there when it began
        chain.total = total if chain.total is None else chain.total
        if paginator.is_numbered and not (total is not None or chain.last_page):
            chain.note_edges(self.number, page, paginator.overlapping, may_repeat=resource.may_repeat)
        if self.number == 0:
            chain.last_page = paginator.last_page(page)
            rest = paginator.rest(page)
            if rest is not None:
                chain.is_addressed = True
                return [Step(chain, request, number) for number, request in enumerate(rest, 1)]
        following = paginator.next_request(page)
        return [] if following is None else [Step(chain, following, self.number + 1)]
