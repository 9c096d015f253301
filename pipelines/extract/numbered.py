"""Pages that can be asked for by a number or an offset, and what every paginator answers.

Where the API tells a total, `rest` names all further pages at once, so that
they can be fetched side by side.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipelines.batch import Json
from pipelines.errors import DecodeError
from pipelines.extract.page import Page
from pipelines.extract.request import Request
from pipelines.records import JmesPath
from pipelines.values import Value

Until = Literal["empty", "short"]
_MOST_AT_ONCE = 100_000
"""Pages whose number is believed: with more, such as 2^31 for a total that is not known, one leads to the next."""
_OTHER_CAPS = (12, 15, 24, 36)
_NO = {"", "0", "false", "n", "no", "null", "none"}


class Paginator(Value):
    """What all kinds can be asked; each answers from the page alone."""

    total_at: JmesPath | None = Field(None, alias="total", description="JMESPath to the number of all records")
    total_header: str | None = Field(
        None, description="response header with it, such as X-Total-Count or, after its slash, Content-Range"
    )

    @property
    def tells_total(self) -> bool:
        """Whether the API tells the number of all records."""
        return bool(self.total_at or self.total_header)

    @property
    def is_numbered(self) -> bool:
        """Whether pages are asked for by a number, so that rows may move between them."""
        return False

    @property
    def overlapping(self) -> int | None:
        """How many records of a page the next one repeats; None where it is left to the caller."""
        return 0

    @property
    def compares(self) -> bool:
        """Whether a page is compared with those before it, where it may begin with their records."""
        return True

    @property
    def rereads(self) -> bool:
        """Whether a page is asked for again once the next has come."""
        return False

    @property
    def kept_headers(self) -> frozenset[str]:
        """Response headers, in lower case, that paging reads."""
        return frozenset({self.total_header.lower()} if self.total_header else ())

    def first(self, request: Request) -> Request:
        """The request for page one."""
        return request

    def next_request(self, page: Page) -> Request | None:
        """The request for the page after *page*; None after the last."""
        raise NotImplementedError

    def next_known(self, request: Request, last: int) -> Request | None:
        """The request after *request*, whose page is without content, where there are *last* pages."""
        return None

    def rest(self, page: Page) -> list[Request] | None:
        """All requests after page one, where the API has told how many there are."""
        return None

    def back(self, request: Request, records: int) -> Request | None:
        """*request*, beginning so many records earlier; None where that cannot be asked for."""
        return None

    def total(self, page: Page) -> int | None:
        """How many records the API says there are; None where that cannot be, such as -1 for an unknown number."""
        told = self.told_total(page)
        return None if told is None or told < page.count else told

    def told_total(self, page: Page) -> int | None:
        """The total as it stands in the body, or else in a header."""
        told = whole_number(page.find(self.total_at)) if self.total_at else None
        if told is None and self.total_header:
            told = whole_number((page.header(self.total_header) or "").rpartition("/")[2].strip())
        return told

    def last_page(self, page: Page) -> int | None:
        """How many pages the API says there are."""
        return None


class Counted(Paginator):
    """Pages that can be asked for by a number; the size may be asked for, too."""

    size: int | None = Field(None, ge=1, description="records asked for per page")
    size_param: str | None = Field(None, description="query parameter for `size`")
    size_field: str | None = Field(None, description="dotted field of the JSON body for `size`")
    field: str | None = Field(None, description="dotted field of the JSON body that takes the number, not `param`")

    @property
    def is_numbered(self) -> bool:
        """It is."""
        return True

    def _sized(self, request: Request) -> Request:
        if self.size_param:
            request = request.with_params({self.size_param: self.size})
        return request.with_field(self.size_field, self.size) if self.size_field else request

    def _at(self, request: Request, param: str, number: int) -> Request:
        return request.with_field(self.field, number) if self.field else request.with_params({param: number})

    def _asked(self, page: Page, param: str, default: int) -> int:
        """The number that *page* was asked for by."""
        return self._asked_by(page.request, param, default)

    def _asked_by(self, request: Request, param: str, default: int) -> int:
        return int((request.field(self.field) if self.field else request.param(param)) or default)

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
    reread: bool = Field(
        False,
        description="ask for each page again once the next has come, so that rows that came or went meanwhile are"
        " noticed and none is lost, where no total is told: twice the requests",
    )

    @property
    def rereads(self) -> bool:
        """`reread`, where no total tells what went away."""
        return self.reread and not self.tells_total

    def back(self, request: Request, records: int) -> Request | None:
        """The page before, however many *records* that is; None before the first."""
        number = self._asked_by(request, self.param, self.start_at)
        return self._at(request, self.param, number - 1) if number > self.start_at else None

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
        if last is None or last > _MOST_AT_ONCE or self.rereads:
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
        return is_short(page.count, self.size, self.until)


class TotalPages(PageNumber):
    """Pages are numbered, and the body or a header tells how many there are."""

    source: JmesPath = Field("total_pages", alias="from", description="JMESPath to the number of pages")
    from_header: str | None = Field(None, description="response header with it instead, such as X-WP-TotalPages")

    @property
    def kept_headers(self) -> frozenset[str]:
        """Those with numbers."""
        return super().kept_headers | ({self.from_header.lower()} if self.from_header else set())

    def next_request(self, page: Page) -> Request | None:
        """Count to the number of pages that the API tells.

        Raises:
            DecodeError: It does not tell it.
        """
        last = self.last_page(page)
        if last is None:
            where = f"in the header {self.from_header}" if self.from_header else f"at {self.source!r}"
            hint = "point `total_pages: {from: ...}` at it; where the API does not always tell it, say `page_number`"
            raise DecodeError(f"no number of pages {where}", hint)
        return self.next_known(page.request, last)

    def next_known(self, request: Request, last: int) -> Request | None:
        """Count one further until *last*."""
        number = self._asked_by(request, self.param, self.start_at)
        return self._at(request, self.param, number + 1) if number - self.start_at + 1 < last else None

    def last_page(self, page: Page) -> int | None:
        """The number at `from`; none below 1 where there are records. An answer without content has no page."""
        if self.from_header:
            last = whole_number(page.header(self.from_header))
        else:
            last = 0 if page.is_empty_body else whole_number(page.find(self.source))
        return None if last is not None and last < 1 and page.count else last


class Offset(Counted):
    """The next page starts after the records seen so far."""

    param: str = Field("offset", description="query parameter for the offset")
    overlap: int | None = Field(
        None,
        ge=0,
        le=1,
        description="1: ask for a page's last record again with the next page, so that rows that came or went"
        " meanwhile are noticed and none is lost; by default 1 where the resource has a `key` and no total is told",
    )
    start_at: int = Field(0, alias="first", ge=0, description="offset of the first record")
    until: Until = Field("empty", description="`short`: a page with fewer than `size` records is the last")

    def first(self, request: Request) -> Request:
        """Start at the first record."""
        return self._at(self._sized(request), self.param, self.start_at)

    def next_request(self, page: Page) -> Request | None:
        """Move on by the records received, which a server may have capped."""
        offset = self._asked(page, self.param, self.start_at)
        total = self.total(page)
        if not page.count or (total is not None and offset - self.start_at + page.count >= total):
            return None
        if total is None and is_short(page.count, self.size, self.until):
            return None
        return self._at(page.request, self.param, offset + page.count)

    @model_validator(mode="after")
    def _overlaps_or_counts(self) -> Offset:
        if self.overlap and self.tells_total:
            raise ValueError("with a total no page is asked for twice: give `overlap` or the total, not both")
        return self

    @property
    def overlapping(self) -> int | None:
        """`overlap`, where no total tells what went away."""
        return 0 if self.tells_total else self.overlap

    @property
    def compares(self) -> bool:
        """Unless the file says that its records have no order."""
        return self.overlap != 0

    def back(self, request: Request, records: int) -> Request | None:
        """The same with a lower offset; None before the first record."""
        offset = self._asked_by(request, self.param, self.start_at)
        return self._at(request, self.param, max(offset - records, self.start_at)) if offset > self.start_at else None

    def rest(self, page: Page) -> list[Request] | None:
        """All further offsets, by the total and the size of page one."""
        total = self.total(page)
        if total is None or page.count == 0 or self._asked(page, self.param, self.start_at) != self.start_at:
            return None
        if total > page.count * _MOST_AT_ONCE:
            return None
        offsets = range(self.start_at + page.count, self.start_at + total, page.count)
        return [self._at(page.request, self.param, offset) for offset in offsets]


def is_short(count: int, size: int | None, until: Until) -> bool:
    """Whether a page of *count* records is the last, for there is room in it.

    A round number less than *size* may be a cap of the server's, so the next page is asked for.
    """
    is_cap = count > 0 and (count % 10 == 0 or count % 16 == 0 or count % 25 == 0 or count in _OTHER_CAPS)
    return until == "short" and size is not None and count < size and not is_cap


def is_set(flag: Json) -> bool:
    """Whether a *flag* that an API sends means yes; some send it as a text or a number."""
    return flag.strip().lower() not in _NO if isinstance(flag, str) else bool(flag)


def whole_number(value: Json) -> int | None:
    """*value* as a number of records or pages, a text too; None where it is none."""
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
