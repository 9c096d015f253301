"""How an API says where the next page is.

A paginator keeps no state: given the page just fetched, it names the next
request. One instance serves every thread, and a run resumes from any request.

To add one: write the class, name it in `AnyPaginator`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pipelines.batch import Json
from pipelines.errors import DecodeError
from pipelines.extract.numbered import Offset, PageNumber, Paginator, TotalPages, Until, is_set, is_short
from pipelines.extract.page import Page
from pipelines.extract.request import Request
from pipelines.records import JmesPath, find
from pipelines.values import OneOf

_MORE = "JMESPath to a flag; false there ends paging"


class NoPages(Paginator):
    """The whole answer is one page."""

    def next_request(self, page: Page) -> Request | None:
        """There is none."""
        return None


class LinkHeader(Paginator):
    """The `Link` header names the next page (RFC 8288)."""

    rel: str = Field("next", description="relation of the link to follow")

    @property
    def kept_headers(self) -> frozenset[str]:
        """The one with the links."""
        return super().kept_headers | {"link"}

    def next_request(self, page: Page) -> Request | None:
        """Follow the link; without one the page is the last."""
        link = page.link(self.rel)
        return page.request.with_link(link) if link else None


class NextUrl(Paginator):
    """The body holds the URL of the next page."""

    source: JmesPath = Field("next", alias="from", description="JMESPath to the URL")

    def next_request(self, page: Page) -> Request | None:
        """Follow the URL; null, empty or absent means the last page."""
        link = page.find(self.source)
        if link is not None and not isinstance(link, str):
            raise DecodeError(f"{self.source!r} is no URL but a {type(link).__name__}", "point `from` at the next URL")
        return page.request.with_link(link) if link else None


class Cursor(Paginator):
    """The answer holds a token which the next request sends back."""

    source: JmesPath | None = Field(None, alias="from", description="JMESPath to the token in the body")
    from_header: str | None = Field(None, description="response header with the token")
    param: str | None = Field(None, description="query parameter that takes the token")
    field: str | None = Field(None, description="dotted field of the JSON body that takes it")
    header: str | None = Field(None, description="request header that takes it")
    more: JmesPath | None = Field(None, description=_MORE)

    @model_validator(mode="after")
    def _one_way_each(self) -> Cursor:
        if (self.source is None) == (self.from_header is None):
            raise ValueError("needs one of `from` and `from_header`")
        if sum(place is not None for place in (self.param, self.field, self.header)) != 1:
            raise ValueError("needs one of `param`, `field` and `header`")
        return self

    @property
    def kept_headers(self) -> frozenset[str]:
        """The one with the token, if it is in a header."""
        return super().kept_headers | ({self.from_header.lower()} if self.from_header else set())

    def next_request(self, page: Page) -> Request | None:
        """Send back the token; no token, no next page.

        Raises:
            DecodeError: There is none, though `more` says that another page follows.
        """
        token = page.find(self.source) if self.source else page.header(self.from_header or "")
        if self.more and not is_set(page.find(self.more)):
            return None
        if token in (None, "", False):
            _refuse_more(self.more, "there is no token to ask for it", "`cursor: {from: ...}`")
            return None
        if self.field:
            return page.request.with_field(self.field, token)
        if self.header:
            return page.request.with_header(self.header, str(token))
        return page.request.with_params({self.param or "": token})


class LastId(Paginator):
    """The next page starts after the last record's id (keyset)."""

    record_field: JmesPath = Field("id", alias="field", description="JMESPath to the id in a record")
    param: str = Field(description="query parameter that takes the id")
    size: int | None = Field(None, ge=1, description="records asked for per page")
    size_param: str | None = Field(None, description="query parameter for `size`")
    more: JmesPath | None = Field(None, description=_MORE)
    until: Until = Field("empty", description="`short`: a page with fewer than `size` records is the last")

    def first(self, request: Request) -> Request:
        """Ask for the size; there is no id yet."""
        return request.with_params({self.size_param: self.size}) if self.size_param and self.size else request

    def next_request(self, page: Page) -> Request | None:
        """Ask for what follows the last record, until a page is empty.

        Raises:
            DecodeError: The last record has no id, or `more` says that another page follows one without records.
        """
        last = page.last_record
        if self.more and not is_set(page.find(self.more)):
            return None
        if last is None:
            _refuse_more(self.more, "the page has no record to go on from", "`records`")
            return None
        if not self.more and is_short(page.count, self.size, self.until):
            return None
        value: Json = find(last, self.record_field)
        if value is None:
            raise DecodeError(f"the last record has no {self.record_field!r}", "set `last_id: {field: ...}`")
        return page.request.with_params({self.param: value})


def _refuse_more(more: str | None, lacks: str, where: str) -> None:
    """Raise `DecodeError` where a flag *more* was looked at, and said yes, but the page *lacks* what leads on."""
    if more:
        raise DecodeError(
            f"{more!r} says that another page follows, and {lacks}", f"check {where}, or leave `more` out"
        )


class HasMore(Paginator):
    """Pages are numbered, and a flag in the body says whether another follows."""

    source: JmesPath = Field("has_more", alias="from", description="JMESPath to the flag")
    param: str = Field("page", description="query parameter for the page number")
    start_at: int = Field(1, alias="first", ge=0, description="number of the first page")

    @property
    def is_numbered(self) -> bool:
        """It is."""
        return True

    def first(self, request: Request) -> Request:
        """Ask for the first page by its number."""
        return request.with_params({self.param: self.start_at})

    def next_request(self, page: Page) -> Request | None:
        """Count one further while the flag is true."""
        if not is_set(page.find(self.source)):
            return None
        number = int(page.request.param(self.param) or self.start_at)
        return page.request.with_params({self.param: number + 1})


AnyPaginator = Annotated[
    NoPages | PageNumber | TotalPages | Offset | LinkHeader | NextUrl | Cursor | LastId | HasMore,
    OneOf(
        {
            "none": NoPages,
            "page_number": PageNumber,
            "total_pages": TotalPages,
            "offset": Offset,
            "link_header": LinkHeader,
            "next_url": NextUrl,
            "cursor": Cursor,
            "last_id": LastId,
            "has_more": HasMore,
        },
        scalar={"next_url": "from", "has_more": "from", "total_pages": "from"},
    ),
]
