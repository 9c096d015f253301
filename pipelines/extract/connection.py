"""What every request to one API has in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from pipelines.extract.auth import AnyAuth
from pipelines.extract.endpoint import Params
from pipelines.extract.limits import Limits
from pipelines.extract.origins import origin_of
from pipelines.values import Bytes, Headers, Line, Seconds, Value


def _checked_url(url: str) -> str:
    origin_of(url)
    if "?" in url or "#" in url:
        raise ValueError("a query belongs into `params`")
    return url.rstrip("/")


class Retry(Value):
    """When and how long a failed request is repeated; each wait is about twice the one before, half of it chance."""

    attempts: int = Field(5, ge=1, description="requests at most, the first included; one more with a renewed token")
    wait: Seconds = Field("500ms", validate_default=True, description="first wait; doubled each time, with jitter")
    max_wait: Seconds = Field("30s", validate_default=True, description="longest wait between two attempts")
    total: Seconds = Field(
        "5min", validate_default=True, description="longest time for one page, waits for Retry-After included"
    )
    statuses: tuple[int, ...] = Field((408, 425, 429, 500, 502, 503, 504), description="statuses worth repeating")


class Deadlines(Value):
    """How long to wait for a connection, for the next bytes, for one whole answer; `timeout: 30s` sets the last two."""

    connect: Seconds = Field("10s", validate_default=True, description="until the connection stands")
    read: Seconds = Field("30s", validate_default=True, description="until the next bytes arrive")
    total: Seconds = Field("5min", validate_default=True, description="until the answer is complete")


class AllowedHost(Value):
    """An origin besides `base_url`'s that links and redirects may lead to."""

    origin: Annotated[str, AfterValidator(origin_of)]
    with_credentials: bool = Field(False, description="send credentials, headers and bodies there, too")


def _as_deadlines(value: object) -> object:
    return {"total": value, "read": value} if isinstance(value, str) else value


def _as_host(value: object) -> object:
    return {"origin": value} if isinstance(value, str) else value


class Connection(Value):
    """One API: where it is, who asks, how fast, how patiently."""

    base_url: Annotated[str, AfterValidator(_checked_url)] = Field(description="what every path is appended to")
    headers: Headers = Field({}, description="sent with every request")
    params: Params = Field({}, description="sent with every request")
    auth: AnyAuth | None = Field(None, description="who asks")
    limits: Limits = Field(default_factory=Limits, description="what the host allows, for all resources together")
    retry: Retry = Field(default_factory=Retry, description="how patiently a request is repeated")
    timeout: Annotated[Deadlines, BeforeValidator(_as_deadlines)] = Field(default_factory=Deadlines)
    max_response: Bytes = Field("64MB", validate_default=True, description="size of one answer once inflated, at most")
    allow_hosts: tuple[Annotated[AllowedHost, BeforeValidator(_as_host)], ...] = Field(
        (), description="origins besides base_url's that links and redirects may lead to"
    )
    user_agent: Line = Field("threadmill/0.1", description="who we say we are")
    ca_bundle: Path | None = Field(None, description="certificates to trust instead of the usual ones")

    @property
    def origin(self) -> str:
        """Scheme, host and port of `base_url`."""
        return origin_of(self.base_url)

    def url(self, path: str) -> str:
        """The absolute URL of *path*; a path that is a URL already stays."""
        if path.startswith(("http://", "https://")):
            return path
        return f"{self.base_url}/{path.lstrip('/')}" if path.strip("/") else self.base_url + path
