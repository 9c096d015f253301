"""A chain: one question to a resource (a parent, a window) and its pages.

`questions` is pure: what is asked depends on the endpoint, the parents, the
watermark and the run's frozen clock, so a resumed run asks the same again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import replace

from pipelines.batch import Json, Real
from pipelines.envelope import dumps
from pipelines.errors import Drift, PaginationLoop
from pipelines.extract.channel import Fetched
from pipelines.extract.connection import Connection
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.fan_out import ForEach
from pipelines.extract.joints import LOOK_BACK
from pipelines.extract.page import Page
from pipelines.extract.placeholders import Scope, fill, fill_path, look_up, names
from pipelines.extract.request import Request, text
from pipelines.extract.spool import Stored
from pipelines.extract.watermark import Watermark, Window

DRIFT_HINT = "run again; page by `last_id` or a cursor if the API can, or say `overlap: 0` if its records have no order"
_MOST_STEPS_BACK = 100
_MOST_EMPTY = 1_000
_LOOP_HINT = "the API keeps naming the same page; check `paginate`, and that the API knows its parameters"


class Question(Struct, frozen=True):
    """What one chain asks, before paging adds its parameters."""

    request: Request
    order: tuple[int, ...] = ()
    carry: tuple[tuple[str, Json], ...] = ()
    parent: str = ""
    scope: Scope = field(default_factory=dict)
    window: Window | None = None
    named: Scope = field(default_factory=dict)
    """Those of `scope` that the children of its records can name: parents and listed values."""

    @property
    def values(self) -> Scope:
        """What placeholders stand for: those of `scope`, and the bounds of the window as text."""
        window = self.window
        return {**self.scope, "window": {"start": window.start, "end": window.end}} if window else self.scope


def name_of(value: Json) -> str:
    """*value* in the name of a parent, by which its watermark is kept: 1.10 and 1.1 are one number, as ever."""
    return text(float(value) if isinstance(value, Real) else value)


def known_names(endpoints: Mapping[str, Endpoint], name: str) -> frozenset[str]:
    """What placeholders call the parents and listed values of the resource *name*, and of its parents."""
    found: set[str] = set()
    visited: set[str] = set()
    while name in endpoints and name not in visited and (each := endpoints[name].for_each):
        visited.add(name)
        found |= each.names
        name = each.resource or ""
    return frozenset(found)


def below(question: Question, scope: Scope, each: ForEach) -> Scope:
    """The values for children of a record that *question* gave, whose own are in *scope* by *each*.

    What a placeholder names are parents and listed values; a field of the record is not taken for one above it.
    """
    above = {name: value for name, value in question.named.items() if name not in each.names}
    return {**scope, **above}


class Asker(Struct, frozen=True):
    """Makes the questions of one resource."""

    connection: Connection
    endpoint: Endpoint
    watermark: Watermark | None
    now: datetime
    names: frozenset[str] = frozenset()
    """What parents and lists are called in placeholders, those of its parents too."""

    def questions(self, scope: Scope, order: tuple[int, ...] = (), fields: Scope | None = None) -> Iterator[Question]:
        """The questions for one parent, whose values are in *scope*: one for each window.

        *fields* are those of its record, which `carry` takes, where something above it has the name of one.
        """
        parent = self._parent(scope)
        named = {name: scope[name] for name in self.names if name in scope}
        carried = {**scope, **(fields or {})}
        carry = tuple((column, look_up(path, carried)) for column, path in self.endpoint.carry.items())
        for window in self._windows(parent):
            place = order if window is None else (*order, window.order)
            asked = Question(Request("", ""), place, carry, parent, scope, window, named)
            yield replace(asked, request=self._request(asked))

    def halves(self, question: Question) -> list[Question]:
        """*question* as two of half its window each; none where it has no window, or too short a one."""
        incremental, window = self.endpoint.incremental, question.window
        if incremental is None or incremental.kind != "instant" or window is None:
            return []
        halves = [
            replace(question, window=half, order=(*question.order, half.order)) for half in incremental.halves(window)
        ]
        return [replace(half, request=self._request(half)) for half in halves]

    def upper_bound(self) -> str | None:
        """Up to where the questions reach; None where they are not bounded."""
        return self.endpoint.incremental.until(self.now) if self.endpoint.incremental else None

    @property
    def paths(self) -> set[str]:
        """Where the values of questions, and those that are carried into rows, stand in a scope."""
        return {*self._placeholders(), *self.endpoint.carry.values()}

    def _placeholders(self) -> set[str]:
        endpoint = self.endpoint
        return names([endpoint.path, endpoint.params, endpoint.headers, endpoint.payload])

    def _windows(self, parent: str) -> list[Window] | list[None]:
        if self.endpoint.incremental is None:
            return [None]
        known = self.watermark.for_parent(parent) if self.watermark else None
        return self.endpoint.incremental.windows(known, self.now)

    def _parent(self, scope: Scope) -> str:
        """The name of a parent, whose watermark is its own: a new one is read from the start."""
        endpoint = self.endpoint
        if endpoint.incremental is None or endpoint.for_each is None:
            return ""
        used = sorted(self._placeholders())
        values = [name_of(look_up(name, scope)) for name in used if not name.startswith("window.")]
        if len(values) > 1:  # `a/b` and `c` are others than `a` and `b/c`
            values = [value.replace("%", "%25").replace("/", "%2F") for value in values]
        return "/".join(values)

    def _request(self, question: Question) -> Request:
        endpoint, incremental, window = self.endpoint, self.endpoint.incremental, question.window
        scope = question.values
        # a JSON body tells 1704067200 from "1704067200"
        bounds = scope["window"].items() if incremental and window else ()
        in_body = {name: incremental.plain(bound) for name, bound in bounds} if incremental else {}
        params = dict(fill(endpoint.params, scope))
        if incremental and window and incremental.since_param:
            params[incremental.since_param] = window.start
        if incremental and window and incremental.until_param and window.end:
            params[incremental.until_param] = window.end
        body = None if endpoint.payload is None else dumps(fill(endpoint.payload, {**scope, "window": in_body}))
        headers = tuple((name, text(value)) for name, value in fill(endpoint.headers, scope).items())
        url = self.connection.url(fill_path(endpoint.path, scope))
        return Request(endpoint.verb, url, _pairs(params), headers, body, endpoint.home)


class Chain(Struct):
    """What is known of a chain while its pages come in; guarded by its lock."""

    resource: str
    question: Question
    lock: threading.Lock = field(default_factory=threading.Lock)
    asked: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    outstanding: int = 1
    pages: int = 0
    records: int = 0
    total: int | None = None
    totals: set[int] = field(default_factory=set)
    """Every total that the API told while the chain was read."""
    last_page: int | None = None
    last_pages: set[int] = field(default_factory=set)
    """Every number of pages that the API told while the chain was read."""
    blank: int | None = None
    """The first page without records; pages count from 0."""
    anchor: str = ""
    """Digest of the last record so far, where pages follow by number and no total is told."""
    latest: deque[tuple[Request, Stored]] = field(default_factory=lambda: deque(maxlen=LOOK_BACK))
    """The newest of those pages."""
    page_size: int = 0
    has_nothing_new: bool = False
    """The newest page, reached by stepping back, was known already."""
    empty_in_a_row: int = 0
    steps_back: int = 0
    notes: list[str] = field(default_factory=list)
    is_addressed: bool = False
    handing: threading.Lock = field(default_factory=threading.Lock)
    """Held while pages of the chain are handed on."""
    held: dict[int, Fetched | None] = field(default_factory=dict)
    released: int = 0

    def ask(self, request: Request, key: str, max_pages: int | None) -> None:
        """Note that *request* is about to be asked, by the *key* that no other request of the chain has.

        Raises:
            PaginationLoop: It was asked before in this chain, or the chain is too long.
        """
        with self.lock:
            if key in self.asked:
                raise PaginationLoop(f"{request.safe_url}: page {len(self.asked) + 1} is one asked before", _LOOP_HINT)
            if max_pages is not None and len(self.asked) >= max_pages:
                hint = "raise `max_pages`, or check that paging ends"
                raise PaginationLoop(f"{request.safe_url}: more than {max_pages} pages", hint)
            self.asked.add(key)

    def take_in(self, page: Page, number: int, *, counts: bool, repeated: int = 0, again: bool = False) -> None:
        """Note what request *number* gave: a page that is new, or *again* the one before; *repeated* records are known.

        Raises:
            PaginationLoop: Its records are those of another page of this chain, or no page has any for very long.
        """
        empty = page.is_empty
        with self.lock:
            self.pages += not again
            if (empty or page.skipped) and not again:
                place = number if self.is_addressed else self.pages - 1
                self.blank = place if self.blank is None else min(place, self.blank)
            self.empty_in_a_row = self.empty_in_a_row + 1 if empty else 0
            if self.empty_in_a_row > _MOST_EMPTY and not self.is_addressed:
                what = f"{page.request.safe_url}: {_MOST_EMPTY:,} pages in a row are empty, and there are always more"
                raise PaginationLoop(what, _LOOP_HINT)
            if not (empty or again) and page.records_digest in self.seen:
                what = f"{page.request.safe_url}: page {self.pages} has the records of an earlier one"
                raise PaginationLoop(what, _LOOP_HINT)
            if not empty:
                self.seen.add(page.records_digest)
            if counts and not empty:
                self.records += page.count - repeated

    def go_on(self, page: Page, stored: Stored, repeated: tuple[int, ...], *, again: bool) -> None:
        """The newest page of a walk by number is *page*, as it was kept; the next follows it, if it is not *again*."""
        self.has_nothing_new = 0 < page.count == len(repeated)
        if len(repeated) < page.count or not again:
            self.latest.append((page.request, stored))
        if page.count and page.count - 1 not in repeated and not again:
            self.anchor, self.page_size = page.edges[1], page.count

    def go_back(self, request: Request) -> None:
        """What *request* gave does not follow: pages before it are asked for again, and may be as they were.

        Raises:
            Drift: That was tried too often.
        """
        with self.lock:
            self.seen.clear()
            self.steps_back += 1
            if self.steps_back > _MOST_STEPS_BACK:
                raise Drift(f"{request.safe_url}: rows move all the time while they are read", DRIFT_HINT)

    def in_order(self, number: int, page: Fetched | None) -> list[Fetched]:
        """The pages that may go on now that page *number* is there: none, or a run without gap.

        None stands for a page without records: it takes its turn, nothing more.
        """
        ready: list[Fetched] = []
        with self.lock:
            self.held[number] = page
            while self.released in self.held:
                following = self.held.pop(self.released)
                ready += [following] if following else []
                self.released += 1
        return ready


def _pairs(params: dict[str, Json]) -> tuple[tuple[str, str], ...]:
    """Query parameters as pairs; a list repeats its parameter, a null leaves it out."""
    return tuple(
        (name, text(item))
        for name, value in params.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    )
