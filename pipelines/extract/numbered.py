"""Pages that can be asked for by a number or an offset, and what every paginator answers.

Where the API tells a total, `rest` names all further pages at once, so that
they can be fetched side by side.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipelines.errors import DecodeError
from pipelines.extract.page import Page, Request
from pipelines.values import Value

Until = Literal["empty", "short"]


class Paginator(Value):
    """What all kinds can be asked; each answers from the page alone."""

    @property
    def total_path(self) -> str | None:
        """Where the number of all records is, if the API tells it."""
        return None

    @property
    def is_numbered(self) -> bool:
        """Whether pages are asked for by a number, so that rows may move between them."""
        return False

    @property
    def overlapping(self) -> int:
        """How many records of a page the next one repeats."""
        return 0

    @property
    def kept_headers(self) -> frozenset[str]:
        """Response headers, in lower case, that paging reads."""
        return frozenset()

    def first(self, request: Request) -> Request:
        """The request for page one."""
        return request

    def next_request(self, page: Page) -> Request | None:
        """The request for the page after *page*; None after the last."""
        raise NotImplementedError

    def rest(self, page: Page) -> list[Request] | None:
        """All requests after page one, where the API has told how many there are."""
        return None

    def total(self, page: Page) -> int | None:
        """How many records the API says there are."""
        return None

    def last_page(self, page: Page) -> int | None:
        """How many pages the API says there are."""
        return None


class Counted(Paginator):
    """Pages that can be asked for by a number; the size may be asked for, too."""

    size: int | None = Field(None, ge=1, description="records asked for per page")
    size_param: str | None = Field(None, description="query parameter for `size`")
    size_field: str | None = Field(None, description="dotted field of the JSON body for `size`")
    field: str | None = Field(None, description="dotted field of the JSON body that takes the number, not `param`")
    total_at: str | None = Field(None, alias="total", description="JMESPath to the number of all records")

    @property
    def is_numbered(self) -> bool:
        """It is."""
        return True

    @property
    def total_path(self) -> str | None:
        """What `total` says."""
        return self.total_at

    def _sized(self, request: Request) -> Request:
        if self.size_param:
            request = request.with_params({self.size_param: self.size})
        return request.with_field(self.size_field, self.size) if self.size_field else request

    def _at(self, request: Request, param: str, number: int) -> Request:
        return request.with_field(self.field, number) if self.field else request.with_params({param: number})

    def _asked(self, page: Page, param: str, default: int) -> int:
        """The number that *page* was asked for by."""
        return int((page.request.field(self.field) if self.field else page.request.param(param)) or default)

    def total(self, page: Page) -> int | None:
        """The number at `total`."""
        return _number(page, self.total_at)

    @model_validator(mode="after")
    def _size_is_known(self) -> Counted:
        if (self.size_param or self.size_field) and not self.size:
            raise ValueError("`size_param` and `size_field` need `size`")
        return self


class PageNumber(Counted):
    """Pages are numbered; paging ends at an empty page, or at the total."""

    param: str = Field("page", description="query parameter for the page number")
    start_at: int = Field(1, alias="first", ge=0, description="number of the first page")
    until: Until = Field("empty", description="`short`: a page with fewer than `size` records is the last")

    def first(self, request: Request) -> Request:
        """Ask for the first page by its number."""
        return self._at(self._sized(request), self.param, self.start_at)

    def next_request(self, page: Page) -> Request | None:
        """Count one further until a page is empty."""
        number = self._asked(page, self.param, self.start_at)
        if page.is_empty or self._is_last(page, number):
            return None
        return self._at(page.request, self.param, number + 1)

    def rest(self, page: Page) -> list[Request] | None:
        """Pages two to last, by the total and the size of page one."""
        last = self.last_page(page)
        if last is None:
            return None
        numbers = range(self.start_at + 1, self.start_at + last)
        return [self._at(page.request, self.param, number) for number in numbers]

    def last_page(self, page: Page) -> int | None:
        """The total over the size of page one, rounded up; a server may cap the size."""
        total = self.total(page)
        if total is None or self._asked(page, self.param, self.start_at) != self.start_at:
            return None
        return -(-total // page.count) if page.count else 0

    def _is_last(self, page: Page, number: int) -> bool:
        total = self.total(page)
        if total is not None and number == self.start_at:
            return page.count >= total
        return _is_short(page.count, self.size, self.until)


class TotalPages(PageNumber):
    """Pages are numbered, and the body tells how many there are."""

    source: str = Field("total_pages", alias="from", description="JMESPath to the number of pages")

    def next_request(self, page: Page) -> Request | None:
        """Count to the number of pages that the body tells.

        Raises:
            DecodeError: The body does not tell it.
        """
        last = self.last_page(page)
        if last is None:
            raise DecodeError(f"no number of pages at {self.source!r}", "point `total_pages: {from: ...}` at it")
        number = self._asked(page, self.param, self.start_at)
        return self._at(page.request, self.param, number + 1) if number - self.start_at + 1 < last else None

    def last_page(self, page: Page) -> int | None:
        """The number at `from`; an answer without content has no page."""
        return 0 if page.is_empty_body else _number(page, self.source)


class Offset(Counted):
    """The next page starts after the records seen so far."""

    param: str = Field("offset", description="query parameter for the offset")
    overlap: int = Field(0, ge=0, le=1, description="1: repeat a page's last record, to notice rows that went away")
    start_at: int = Field(0, alias="first", ge=0, description="offset of the first record")
    until: Until = Field("empty", description="`short`: a page with fewer than `size` records is the last")

    def first(self, request: Request) -> Request:
        """Start at the first record."""
        return self._at(self._sized(request), self.param, self.start_at)

    def next_request(self, page: Page) -> Request | None:
        """Move on by the records received, which a server may have capped."""
        offset = self._asked(page, self.param, self.start_at)
        total = self.total(page)
        repeated = self.overlapping if offset > self.start_at else 0
        if page.count <= repeated or (total is not None and offset - self.start_at + page.count >= total):
            return None
        if total is None and _is_short(page.count, self.size, self.until):
            return None
        return self._at(page.request, self.param, offset + page.count - self.overlapping)

    @property
    def overlapping(self) -> int:
        """`overlap`, where no total tells what went away."""
        return 0 if self.total_at else self.overlap

    def rest(self, page: Page) -> list[Request] | None:
        """All further offsets, by the total and the size of page one."""
        total = self.total(page)
        if total is None or page.count == 0 or self._asked(page, self.param, self.start_at) != self.start_at:
            return None
        offsets = range(self.start_at + page.count, self.start_at + total, page.count)
        return [self._at(page.request, self.param, offset) for offset in offsets]


class HasMore(Paginator):
    """Pages are numbered, and a flag in the body says whether another follows."""

    source: str = Field("has_more", alias="from", description="JMESPath to the flag")
    param: str = Field("page", description="query parameter for the page number")
    start_at: int = Field(1, alias="first", ge=0, description="number of the first page")

    def first(self, request: Request) -> Request:
        """Ask for the first page by its number."""
        return request.with_params({self.param: self.start_at})

    def next_request(self, page: Page) -> Request | None:
        """Count one further while the flag is true."""
        if not page.find(self.source):
            return None
        return page.request.with_params({self.param: _asked(page, self.param, self.start_at) + 1})


def _asked(page: Page, param: str, default: int) -> int:
    return int(page.request.param(param) or default)


def _is_short(count: int, size: int | None, until: Until) -> bool:
    """Whether a page of *count* records is the last, for there is room in it.

    A round number less than *size* may be a cap of the server's, so the next page is asked for.
    """
    is_cap = count > 0 and (count % 50 == 0 or count in (10, 20, 25))
    return until == "short" and size is not None and count < size and not is_cap


def _number(page: Page, path: str | None) -> int | None:
    value = page.find(path) if path else None
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
