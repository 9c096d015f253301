"""What came of extracting a resource: figures, a verdict, and its evidence."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from msgspec import Struct, field

from pipelines.errors import PipelineError
from pipelines.extract.chains import Chain
from pipelines.extract.events import EventKind

Verdict = Literal["complete", "unproved", "incomplete"]
_BY_SIGN = "paging ended by the API's own sign; there is no total to compare with"
_UNGUARDED = "there is no total to compare with, and nothing tells whether a row moved between pages"


class Extraction(Struct, frozen=True):
    """The extraction of one resource, finished or failed.

    `requests` counts what went over the network, retries included. `asked_until`
    is the frozen upper bound of an incremental resource, as the API reads it;
    `server_time` is when its first answer was given, by the server's clock.
    """

    resource: str
    requests: int = 0
    from_spool: int = 0
    pages: int = 0
    chains: int = 0
    skipped: int = 0
    retries: int = 0
    throttled_s: float = 0.0
    waited_s: float = 0.0
    answered_s: float = 0.0
    wire_bytes: int = 0
    raw_bytes: int = 0
    error: PipelineError | None = None
    verdict: Verdict = "unproved"
    evidence: str = ""
    asked_until: str | None = None
    server_time: datetime | None = None
    began_at: float = 0.0
    ended_at: float = 0.0
    """From its first request to its last answer, on the monotonic clock; 0 where nothing was asked."""


Finding = tuple[Verdict, str]
"""A verdict, and what says so."""


def no_better(own: Finding, parent: Finding, name: str) -> Finding:
    """What was found of a child, whose parent *name* may lack records that it was to be asked for."""
    rank = ("complete", "unproved", "incomplete").index
    if rank(own[0]) >= rank(parent[0]):
        return own
    return parent[0], f"its parent {name} is {parent[0]}: {parent[1]}"


class Tally(Struct):
    """Counts for one resource while its threads work."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    counts: dict[str, float] = field(default_factory=dict)
    chains: int = 0
    proved: int = 0
    declared: int = 0
    expected: int = 0
    records: int = 0
    last_pages: int = 0
    server_time: datetime | None = None
    date: str | None = None
    """What the last answer said of it."""
    began_at: float = 0.0
    ended_at: float = 0.0
    unguarded: int = 0
    """Chains of several pages that rows may have moved between, without a sign of it."""
    doubts: list[str] = field(default_factory=list)
    """What was noticed that keeps a chain from being proved, in words."""
    missing: list[str] = field(default_factory=list)
    """What each chain that is short of records or pages lacks, in words."""

    def count(self, name: str, amount: float = 1) -> None:
        """Add *amount* to the figure *name*."""
        with self.lock:
            self.counts[name] = self.counts.get(name, 0) + amount

    def see_date(self, written: str | None) -> None:
        """Note when an answer was given, by the server's own clock."""
        if written == self.date:
            return  # as hundreds within a second say
        self.date = written
        try:
            moment = parsedate_to_datetime(written or "")
        except ValueError:
            return
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        with self.lock:
            self.server_time = min(moment, self.server_time or moment)

    def hear(self, kind: EventKind, seconds: float, size: int) -> None:
        """Count an event of the client."""
        if kind == "answered":
            for name, amount in (("requests", 1), ("answered_s", seconds), ("wire_bytes", size)):
                self.count(name, amount)
        elif kind in ("retried", "throttled"):
            self.count("retries")
        elif kind == "paused":
            self.count("throttled_s", seconds)
        elif kind == "waited":
            self.count("waited_s", seconds)

    def close_chain(self, chain: Chain, *, declared: bool, guarded: bool, most: int | None = None) -> None:
        """Take in a chain whose pages are all there.

        *declared*: the configuration says that there is one page; *guarded*: a row that moves between pages is noticed;
        *most*: the API gives no more records of one chain.
        """
        where = chain.question.request.safe_url
        with self.lock:
            self.chains += 1
            self.doubts += [f"{note} at {where}" for note in chain.notes]
            if most is not None and chain.records >= most and chain.records != chain.total:
                what = f"{chain.records:,} records of a window of which the API gives {most:,} at most"
                self.missing.append(f"{what}: make `window` shorter, or tell the total, at {where}")
            elif len(chain.totals) > 1:
                self._changed("total", chain.totals, chain.total or 0, where)
            elif chain.total is not None:
                self._compare(chain, chain.records, chain.total, "records")
            elif chain.last_page is not None:
                self._compare_pages(chain, max(chain.last_page, 1), where)
            elif declared:
                self.declared += 1
            else:
                self.unguarded += chain.pages > 2 and not guarded

    def _changed(self, what: str, told: set[int], first: int, where: str) -> None:
        least, most = min(told), max(told)
        if least < first:
            lost = f"the {what} fell from {first:,} to {least:,} while it was read: a row may have been passed by"
            self.missing.append(f"{lost}, at {where}")
        else:
            self.doubts.append(f"the {what} grew from {first:,} to {most:,} while it was read, at {where}")

    def _compare_pages(self, chain: Chain, told: int, where: str) -> None:
        if len(chain.last_pages) > 1:
            self._changed("number of pages", chain.last_pages, told, where)
        if chain.blank is not None and chain.blank + 1 < told:
            self.missing.append(f"page {chain.blank + 1:,} of {told:,} has no records, at {where}")
        elif len(chain.last_pages) < 2:
            self._compare(chain, chain.pages, told, "pages")

    def _compare(self, chain: Chain, found: int, told: int, what: str) -> None:
        if what == "records":
            self.expected += told
            self.records += found
        else:
            self.last_pages += told
        if found < told:
            self.missing.append(f"{found:,} of {told:,} {what} at {chain.question.request.safe_url}")
        elif found == told:
            self.proved += 1

    def verdict(self) -> Finding:
        """Whether everything is there, and what says so."""
        if self.missing:
            more = f", and {len(self.missing) - 1} more such" if len(self.missing) > 1 else ""
            return "incomplete", f"{self.missing[0]}{more}"
        if self.doubts:
            more = f", and {len(self.doubts) - 1} more such" if len(self.doubts) > 1 else ""
            return "unproved", f"{self.doubts[0]}{more}"
        if self.chains == 0:
            return "complete", "there was nothing to ask for"
        if self.proved + self.declared == self.chains:
            return "complete", self._proof()
        if self.expected or self.last_pages:
            return "unproved", f"the API tells a total for {self.proved:,} of {self.chains:,} chains of pages"
        return "unproved", _UNGUARDED if self.unguarded else _BY_SIGN

    def _proof(self) -> str:
        parts = []
        if self.expected or (self.proved and not self.last_pages):
            parts.append(f"{self.records:,} of {self.expected:,} records that the API counts")
        if self.last_pages:
            parts.append(f"all {self.last_pages:,} pages that the API tells")
        if self.declared:
            parts.append(f"{self.declared:,} of {self.declared:,} requests answered, one page each as declared")
        return "; ".join(parts)

    def extraction(
        self, resource: str, error: PipelineError | None, asked_until: str | None, found: Finding
    ) -> Extraction:
        """The figures and what was *found*, as one value."""
        verdict, evidence = found if error is None else ("incomplete", f"{error.kind}: {error.message}")
        figures = {
            name: self.counts.get(name, 0) if name.endswith("_s") else int(self.counts.get(name, 0))
            for name in _FIGURES
        }
        return Extraction(
            resource,
            **figures,  # type: ignore[arg-type]  # the names are those of the figures below
            chains=self.chains,
            error=error,
            verdict=verdict,
            evidence=evidence,
            asked_until=asked_until,
            server_time=self.server_time,
            began_at=self.began_at,
            ended_at=self.ended_at,
        )


_FIGURES = (
    "requests", "from_spool", "pages", "skipped", "retries",
    "throttled_s", "waited_s", "answered_s", "wire_bytes", "raw_bytes",
)  # fmt: skip
