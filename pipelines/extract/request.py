"""What is asked: a frozen value that paginators read and make the next one of."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode, urljoin, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from pipelines.batch import Json, digest
from pipelines.envelope import dumps, loads
from pipelines.records import find

_ABSOLUTE = ("http://", "https://")


class Request(Struct, frozen=True):
    """One question to the API, without what the connection adds (credentials, common headers).

    `url` is absolute and in the configured origin; a followed link keeps its query there.
    """

    method: str
    url: str
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    home: str = ""
    """The origin that the file names for it, in the resource's own `path`."""

    @property
    def fingerprint(self) -> str:
        """Equal for two requests that ask the same."""
        return digest(dumps([self.method, self.url, self.params, self.headers, (self.body or b"").hex()]))

    @property
    def full_url(self) -> str:
        """The URL with its query."""
        if not self.params:
            return self.url
        return f"{self.url}{'&' if '?' in self.url else '?'}{urlencode(self.params)}"

    @property
    def safe_url(self) -> str:
        """The URL for messages: no query, no user."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def param(self, name: str) -> str | None:
        """The value of the query parameter *name*."""
        for key, value in (*self.params, *parse_qsl(urlsplit(self.url).query)):
            if key == name:
                return value
        return None

    def with_params(self, params: Mapping[str, Json]) -> Request:
        """The same request with *params* set; a None takes its parameter away."""
        kept = tuple(pair for pair in self.params if pair[0] not in params)
        return replace(
            self, params=kept + tuple((key, text(value)) for key, value in params.items() if value is not None)
        )

    def with_header(self, name: str, value: str) -> Request:
        """The same request with one header set."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=(*kept, (name, value)))

    def with_field(self, path: str, value: Json) -> Request:
        """The same request with the field at the dotted *path* of its JSON body set."""
        document = loads(self.body) if self.body else {}
        level = document
        *above, last = path.split(".")
        for name in above:
            level = level.setdefault(name, {})
        level[last] = value
        return replace(self, body=dumps(document))

    def field(self, path: str) -> Json:
        """The field at the dotted *path* of the JSON body."""
        return find(loads(self.body), path) if self.body else None

    def with_link(self, link: str) -> Request:
        """Follow *link*, which may be relative; its query replaces the parameters."""
        link = link.strip()
        url = (link if link.startswith(_ABSOLUTE) else urljoin(self.full_url, link)).partition("#")[0]
        return replace(self, url=quote(url, safe="%/:=&?~+!$,;'@()*[]"), params=())


def text(value: Json) -> str:
    """A parameter's value as it stands in a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
