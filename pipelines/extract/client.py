"""The only module that speaks HTTP.

A request leaves with the connection's headers and credentials, in its turn, to
an allowed origin; its answer comes back whole, in time and checked, or not at
all. Cookies, `.netrc`, proxies of the environment and automatic redirects are off.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from pipelines.errors import (
    HttpError,
    Interrupted,
    OriginError,
    PipelineError,
    RedirectRefused,
    Timeout,
    TlsError,
    Truncated,
)
from pipelines.extract import body
from pipelines.extract.connection import Connection, origin_of
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.events import EventKind
from pipelines.extract.limits import Budgets
from pipelines.extract.origins import Origins
from pipelines.extract.page import Page, Request, text
from pipelines.extract.patience import TryAgain, patiently
from pipelines.extract.verdict import accept
from pipelines.extract.watch import Watch, use_watched_connections

Listen = Callable[[EventKind, float, int, str], None]
"""Takes the kind of event, its seconds, its bytes and a note."""
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_NOTABLE_S = 0.001
_NO_FRAME = "the server must send Content-Length, chunks or a compressed stream"
_NOT_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
_TOO_LATE = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
_CUT = (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead, urllib3.exceptions.InvalidChunkLength)
_ACCEPT_TYPE = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}


def _nobody(kind: EventKind, seconds: float, size: int, note: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class _Answer:
    """A complete response, decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    wire_bytes: int


class Client:
    """All requests of one connection; safe to share between threads."""

    def __init__(
        self,
        connection: Connection,
        *,
        origin_map: Mapping[str, str] | None = None,
        budgets: Budgets | None = None,
    ) -> None:
        self.connection = connection
        self.origins = Origins(connection, origin_map)
        self._budget = (budgets or Budgets()).of(connection.origin, connection.limits)
        self._watch = Watch()
        self._verify = str(connection.ca_bundle) if connection.ca_bundle else True
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            adapter = HTTPAdapter(pool_connections=8, pool_maxsize=connection.limits.in_flight)
            use_watched_connections(adapter.poolmanager)
            self._session.mount(scheme, adapter)
        auth = connection.auth
        common = {"User-Agent": connection.user_agent, "Accept-Encoding": "gzip, br, zstd", "Connection": "keep-alive"}
        self._bare = common
        self._headers = {**common, **connection.headers, **(auth.headers() if auth else {})}
        self._params = [
            (name, text(item))
            for name, value in {**connection.params, **(auth.params() if auth else {})}.items()
            for item in (value if isinstance(value, list) else [value])
            if item is not None
        ]

    def fetch(
        self, request: Request, endpoint: Endpoint, *, stop: threading.Event | None = None, listen: Listen = _nobody
    ) -> Page:
        """The answer to *request*: whole, accepted, with a list of records where *endpoint* says.

        *listen* hears of every answer, retry and throttle of this request, from this thread.

        Raises:
            PipelineError: No acceptable answer, after all retries that make sense.
        """
        stop = stop or threading.Event()
        deadline = time.monotonic() + self.connection.retry.total

        def attempt() -> Page:
            with self._budget.place(endpoint.weight, stop, deadline) as place:
                if place.waited_s > _NOTABLE_S:
                    listen("waited", place.waited_s, 0, "")
                try:
                    return self._exchange(request, endpoint, listen)
                except TryAgain as failure:
                    place.welcome = not failure.throttled
                    raise

        def notice(failure: TryAgain, wait_s: float) -> None:
            if failure.throttled:
                self._budget.pause(wait_s)
            listen("throttled" if failure.throttled else "retried", wait_s, 0, failure.error.kind)

        return patiently(attempt, self.connection.retry, stop=stop, notice=notice)

    def abort(self) -> None:
        """End every exchange under way; their threads get `Interrupted`."""
        self._watch.stop()

    def close(self) -> None:
        """Close every connection."""
        self._session.close()
        self._watch.close()

    def _exchange(self, request: Request, endpoint: Endpoint, listen: Listen) -> Page:
        """One attempt, from sending to the verdict on the answer."""
        began = time.monotonic()
        answer = self._ask_watched(request, endpoint, began + self.connection.timeout.total)
        listen("answered", time.monotonic() - began, answer.wire_bytes, str(answer.status))
        self._budget.learn(self.connection.limits, answer.headers, time.time())
        page = Page(request, answer.status, answer.headers, answer.body, endpoint.records, endpoint.format)
        return accept(page, endpoint, self.connection.retry.statuses)

    def _ask_watched(self, request: Request, endpoint: Endpoint, deadline: float) -> _Answer:
        """Ask, and turn whatever goes wrong on the way into an error of ours."""
        what = f"{request.method} {request.safe_url}"
        with self._watch.until(deadline) as exchange:
            try:
                return self._ask(request, endpoint, deadline)
            except (PipelineError, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                if exchange.ended == "stopped":
                    raise Interrupted("the run was asked to stop", "run again to resume") from None
                raise _translated(what, TimeoutError() if exchange.ended == "late" else error, endpoint) from None

    def _ask(self, request: Request, endpoint: Endpoint, deadline: float) -> _Answer:
        """Send *request*, following redirects within its origin."""
        url = self.origins.configured(request.full_url)
        method, payload = request.method, request.body
        for _ in range(_MAX_REDIRECTS + 1):
            prepared = self._prepared(method, url, payload, request.headers, endpoint.format)
            answer = self._send(prepared, deadline, needs_frame=endpoint.format != "json")
            target = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not target:
                return answer
            url = self._redirected(url, target)
            if answer.status in (301, 302, 303) and method != "GET":
                raise RedirectRefused(f"{request.safe_url} redirects a {method}", "give the final address in `path`")
        raise RedirectRefused(f"{request.safe_url} redirects more than {_MAX_REDIRECTS} times", "check `path`")

    def _redirected(self, url: str, target: str) -> str:
        try:
            followed = self.origins.configured(urljoin(self.origins.on_the_wire(url), target))
        except OriginError:
            followed = ""
        if not followed or origin_of(followed) != origin_of(url):
            origin = url[: url.index("/", len("https://"))]
            raise RedirectRefused(f"{origin} redirects to another origin", "put the final address into `base_url`")
        return followed

    def _prepared(
        self, method: str, url: str, payload: bytes | None, headers: tuple[tuple[str, str], ...], layout: str
    ) -> requests.PreparedRequest:
        """The request as it leaves; prepared by hand, a tenth of what Session.prepare_request costs."""
        trusted = self.origins.sees_credentials(url)
        prepared = requests.PreparedRequest()
        prepared.method = method
        prepared.url = self.origins.on_the_wire(_with_missing(url, self._params) if trusted else url)
        prepared.headers = CaseInsensitiveDict(self._headers if trusted else self._bare)
        prepared.headers.setdefault("Accept", _ACCEPT_TYPE[layout])
        prepared.headers.update(headers)
        if payload is not None:
            prepared.headers.setdefault("Content-Type", "application/json")
            prepared.headers["Content-Length"] = str(len(payload))
        prepared.body = payload
        return prepared

    def _send(self, prepared: requests.PreparedRequest, deadline: float, *, needs_frame: bool) -> _Answer:
        """Send, and read the whole answer; on any failure the connection is closed, not reused."""
        timeout = self.connection.timeout
        adapter = self._session.get_adapter(prepared.url or "")
        response = adapter.send(
            prepared, stream=True, timeout=(timeout.connect, timeout.read), verify=self._verify, proxies={}
        )
        raw = response.raw
        try:
            headers = {name.lower(): value for name, value in raw.headers.items()}
            cap = self.connection.max_response
            codings = body.codings(headers.get("content-encoding", ""))
            wire = body.read(raw, cap=cap, deadline=deadline)
            if needs_frame and wire and not (codings or "content-length" in headers or raw.chunked):
                raise Truncated("an answer of lines without length may have been cut", _NO_FRAME)
            raw.release_conn()
            return _Answer(raw.status, headers, body.inflate(wire, codings, cap), len(wire))
        except BaseException:
            raw.close()
            raise


def _with_missing(url: str, params: list[tuple[str, str]]) -> str:
    """*url* with those of *params* that it does not carry already."""
    if not params:
        return url
    present = {name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    added = urlencode([pair for pair in params if pair[0] not in present])
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url


def _repeatable(error: PipelineError, endpoint: Endpoint) -> PipelineError | TryAgain:
    if endpoint.may_repeat:
        return TryAgain(error)
    return HttpError(error.message, "the request may have had an effect; if it may be repeated, say `idempotent: true`")


def _translated(what: str, error: Exception, endpoint: Endpoint) -> PipelineError | TryAgain:
    """The error with its URL; ours for one of the libraries', whose texts hold whole queries."""
    if isinstance(error, OriginError | RedirectRefused):
        return error
    if isinstance(error, PipelineError):
        ours = type(error)(f"{what}: {error.message}", error.hint)
        return _repeatable(ours, endpoint) if isinstance(error, Timeout | Truncated) else ours
    chain = _causes(error)
    if any(isinstance(cause, ssl.SSLError | requests.exceptions.SSLError) for cause in chain):
        return TlsError(f"{what}: the server's certificate could not be verified", "name its authority in `ca_bundle`")
    if any(isinstance(cause, _NOT_SENT) for cause in chain):
        reason = next((cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror), "no answer")
        return TryAgain(HttpError(f"{what}: cannot connect: {reason}", "check `base_url` and the network"))
    if any(isinstance(cause, _TOO_LATE) for cause in chain):
        return _repeatable(Timeout(f"{what}: no answer in time", "raise `timeout`, or ask for smaller pages"), endpoint)
    if any(isinstance(cause, _CUT) for cause in chain):
        return _repeatable(Truncated(f"{what}: the answer ended before it was whole", "run again"), endpoint)
    return _repeatable(HttpError(f"{what}: the connection broke: {type(chain[-1]).__name__}", "run again"), endpoint)


def _causes(error: BaseException) -> list[BaseException]:
    """*error* and what it wraps: libraries keep causes in arguments, in `reason` and in the chain."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting and len(found) < 20:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found
