"""Where one resource is and how it is fetched, as the YAML says it."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, PrivateAttr, model_validator

from pipelines.batch import Json, as_written
from pipelines.extract.fan_out import ForEachField
from pipelines.extract.numbered import Paginator
from pipelines.extract.origins import origin_of
from pipelines.extract.paginators import AnyPaginator, NoPages
from pipelines.extract.request import Request
from pipelines.extract.rules import ErrorRule
from pipelines.extract.watermark import Incremental
from pipelines.records import Format, Records, RecordsField, selector
from pipelines.values import Headers, Value


def _as_text(value: object) -> object:
    """A date, and a number that would be written in another way, as the text that a parameter is."""
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    return value.isoformat() if isinstance(value, dt.date) else as_written(value)


MOST_WEIGHT = 1_000_000
Scalar = str | int | float | bool | None
Params = Annotated[dict[str, Scalar | list[Scalar]], BeforeValidator(_as_text)]


class GraphQL(Value):
    """A query sent as a POST body."""

    query: str
    variables: dict[str, JsonValue] = Field({}, description="values for the query's variables")


class Count(Value):
    """A second address that tells how many records the same question has, in a field or as a bare number.

    It tells nothing where a rule of `errors` skips its answer, such as the 404 of a parent that is gone.
    """

    path: str = Field(description="asked with the same parameters, those of paging aside; may hold {placeholders}")
    value: str = Field("count", description="JMESPath to the number, where the answer is more than the number")

    @model_validator(mode="after")
    def _value_compiles(self) -> Count:
        selector(self.value)
        return self


class NoRecords(Records):
    """For an answer of which no record is wanted, whatever it is."""

    def select(self, document: Json) -> list[dict[str, Json]]:
        """None."""
        return []


class Endpoint(Value):
    """The request for a resource, where its records are, where the next page is."""

    path: str = Field(description="appended to base_url; may hold {placeholders}")
    method: Literal["GET", "POST"] | None = Field(None, description="GET, or POST where there is a body")
    params: Params = Field({}, description="query parameters; may hold {placeholders}")
    headers: Headers = Field({}, description="headers of this resource; may hold {placeholders}")
    body: JsonValue = Field(None, description="JSON body; may hold {placeholders}")
    graphql: GraphQL | None = Field(None, description="a GraphQL query as the body; may hold {placeholders}")
    idempotent: bool | None = Field(None, description="may be repeated; by default true for GET, false for POST")
    records: RecordsField = Field(default_factory=Records, description="where the records are in an answer")
    format: Format = Field("json", description="json, ndjson or csv")
    paginate: AnyPaginator | None = Field(None, description="how the next page is found; without it one page is read")
    for_each: ForEachField | None = Field(None, description="one chain of requests for each parent")
    carry: dict[str, str] = Field({}, description="column: field of the parent that every record gets")
    incremental: Incremental | None = Field(None, description="ask only for what is new")
    errors: tuple[ErrorRule, ...] = Field((), description="what certain answers mean")
    max_pages: int | None = Field(None, ge=1, description="pages of one chain, at most; beyond is an error")
    count: Count | None = Field(None, description="address that tells the number of records, as a proof")
    weight: int = Field(1, ge=1, le=MOST_WEIGHT, description="how much one request counts in `limits`, rate and daily")

    _lent: frozenset[tuple[str | int, ...]] = PrivateAttr(frozenset())
    """The keys whose values are those of `defaults`."""

    @model_validator(mode="after")
    def _one_body(self) -> Endpoint:
        if self.body is not None and self.graphql is not None:
            raise ValueError("`body` and `graphql` exclude each other")
        if self.method == "GET" and (self.body is not None or self.graphql is not None):
            raise ValueError("a GET has no body; say `method: POST` or leave `method` out")
        if self.carry and self.for_each is None:
            raise ValueError("`carry` needs `for_each`")
        return self

    @property
    def verb(self) -> str:
        """The method, said or implied."""
        return self.method or ("POST" if self.body is not None or self.graphql is not None else "GET")

    @property
    def payload(self) -> JsonValue:
        """The JSON body, if there is one."""
        return self.graphql.model_dump(mode="json") if self.graphql else self.body

    @property
    def paginator(self) -> Paginator:
        """How the next page is found; without a word about it there is one page."""
        return self.paginate or NoPages()

    @property
    def may_repeat(self) -> bool:
        """Whether a request that may have arrived can be sent again."""
        return self.verb == "GET" if self.idempotent is None else self.idempotent

    @property
    def home(self) -> str:
        """The origin that the file names in `path`; empty where it names none, or a placeholder does."""
        try:
            origin = origin_of(self.path)
        except ValueError:
            return ""
        return "" if "{" in origin else origin

    def shows_body(self, request: Request, url: str) -> bool:
        """Whether the body of *request* goes to *url*, where no credentials go: one of its own does at home."""
        return not self._lent & {("body",), ("graphql",)} and request.home == origin_of(url)

    def harmless(self, request: Request, url: str) -> list[tuple[str, str]]:
        """Those headers of *request* that go to *url*, where no credentials go.

        What paging added, the format that is wanted and, at home, what the resource itself says.
        """
        at_home = request.home == origin_of(url)
        withheld = {name.lower() for name in self.headers if not at_home or self._is_lent(name)} - {"accept"}
        return [(name, value) for name, value in request.headers if name.lower() not in withheld]

    def _is_lent(self, header: str) -> bool:
        return bool(self._lent & {("headers",), ("headers", header)})
