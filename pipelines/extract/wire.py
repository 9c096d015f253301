"""Requests on the wire: requests' own adapter, without what no API's answer needs.

`HTTPAdapter` works out proxies, certificates and the pool anew for each request
and wraps each answer in cookies and history; for pages of one API that is a
fifth of what a request costs. The methods overridden here are those that
requests exposes for subclasses.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pipelines.extract.lean_requests import HTTPAdapter, requests
from pipelines.extract.pools import use_watched_connections

if TYPE_CHECKING:
    from urllib3 import HTTPHeaderDict, HTTPResponse
    from urllib3.connectionpool import ConnectionPool

_ORIGINS = 64
_LISTS = ("link", "set-cookie", "content-encoding")


class Wire:
    """Sends requests and returns answers that are yet to be read; safe to share between threads.

    *verify* is a file of certificates, or True for the usual ones.
    """

    def __init__(self, *, connections: int, verify: str | bool = True) -> None:
        self._verify = verify
        self._adapter = _Adapter(pool_connections=_ORIGINS, pool_maxsize=connections)
        use_watched_connections(self._adapter.poolmanager)

    def send(  # noqa: PLR0913  # what a request is made of
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        connect_s: float,
        read_s: float,
    ) -> HTTPResponse:
        """The answer, its headers read; *headers* are sent as they are, and no redirect is followed.

        Raises:
            OSError: requests' errors, around those of urllib3.
        """
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = method, url, body
        prepared.headers = headers  # type: ignore[assignment]  # any mapping will do, and a plain one is quicker
        answer = self._adapter.send(
            prepared, stream=True, timeout=(connect_s, read_s), verify=self._verify, proxies=_NO_PROXIES
        )
        return answer.raw

    def close(self) -> None:
        """Close every connection."""
        self._adapter.close()


def headers_of(layers: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """All headers of *layers*; of one that is in several, whatever its case, the last counts."""
    found = {name.lower(): (name, value) for layer in layers for name, value in layer.items()}
    return dict(found.values())


def received(lines: HTTPHeaderDict) -> dict[str, str]:
    """The headers of an answer by their names in lower case.

    A list that is sent on several lines is one list; of any other header the last line counts.
    """
    found = {name.lower(): value for name, value in lines.items()}
    return found | {name: lines[name] for name in _LISTS if name in found}


def with_missing(url: str, params: list[tuple[str, str]]) -> str:
    """*url* with those of *params* that it does not carry already."""
    if not params:
        return url
    present = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    added = urlencode([pair for pair in params if pair[0] not in present])
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url


_NO_PROXIES: dict[str, str] = {}


class _Answer(requests.Response):
    """What urllib3 gave, and nothing else."""

    def __init__(self, raw: HTTPResponse) -> None:
        self.raw = raw


class _Adapter(HTTPAdapter):
    """Knows the pool of each origin, and that there are no proxies."""

    def __init__(self, **sizes: Any) -> None:
        super().__init__(**sizes)
        self._pools: dict[str, Any] = {}
        self._verified: set[ConnectionPool] = set()
        self._lock = threading.Lock()

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool of the request's origin."""
        origin = _split(request.url or "")[0]
        pool = self._pools.get(origin)
        if pool is None or pool.pool is None:
            with self._lock:
                pool = self._pools[origin] = super().get_connection_with_tls_context(request, verify, proxies, cert)
        return pool

    def close(self) -> None:
        """Close all connections; requests would leave that to the garbage collector."""
        for pool in self._pools.values():
            pool.close()
        super().close()

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Tell a pool once which certificates to trust."""
        if conn not in self._verified:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # requests has none for it
            self._verified.add(conn)

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Path and query, as the request line has them."""
        return _split(request.url or "")[1]

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """What urllib3 gave."""
        return _Answer(resp)


def _split(url: str) -> tuple[str, str]:
    """The origin of *url*, and its path with the query."""
    begin = url.index("://") + 3
    ends = [end for end in (url.find("/", begin), url.find("?", begin)) if end >= 0]
    end = min(ends, default=len(url))
    target = url[end:].partition("#")[0]
    return url[:end], target if target.startswith("/") else f"/{target}"
