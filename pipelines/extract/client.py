"""The only way out: every request to an API leaves here.

A request leaves with the connection's headers and credentials, in its turn, to
an allowed origin; its answer comes back whole, in time and checked, or not at
all. Cookies, `.netrc`, proxies of the environment and automatic redirects are off.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import urllib3

from pipelines.errors import Interrupted, OriginError, PipelineError, RedirectRefused
from pipelines.extract import body
from pipelines.extract.auth import Granted, Renewable
from pipelines.extract.connection import Connection
from pipelines.extract.curl import MASK, Refer, curl_line
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.events import Listen, nobody
from pipelines.extract.failures import translated
from pipelines.extract.limits import Budgets
from pipelines.extract.origins import Origins, origin_of
from pipelines.extract.page import Page
from pipelines.extract.patience import TryAgain, least_pause_s, patiently
from pipelines.extract.request import Request, text
from pipelines.extract.tokens import Keepsake, Tokens, not_given, parsed
from pipelines.extract.verdict import accept
from pipelines.extract.watch import Watch
from pipelines.extract.wire import Wire, headers_of, with_missing

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_NOTABLE_S = 0.001
_BODY_HINT = "list the origin in `allow_hosts` with `with_credentials: true` if it may see what is asked"
_ACCEPT_TYPE = {"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}


class Client:
    """All requests of one connection; safe to share between threads."""

    def __init__(  # noqa: PLR0913  # what a client is made of, each by name
        self,
        connection: Connection,
        *,
        origin_map: Mapping[str, str] | None = None,
        budgets: Budgets | None = None,
        keepsake: Path | None = None,
        conceal: Callable[[str], object] = lambda secret: None,
        refer: Refer | None = None,
        counts: Path | None = None,
    ) -> None:
        """*keepsake* is the file for refresh tokens that change; *conceal* is told of every token that comes in.

        *counts* is the folder where the requests of a day are counted.

        Errors carry the line that repeats their request where *refer* can hide its secrets.
        """
        self.connection = connection
        allowed = {host.origin: host.with_credentials for host in connection.allow_hosts}
        self.origins = Origins(connection.origin, allowed, origin_map)
        self._budget = (budgets or Budgets()).of(connection.origin, connection.limits, counts)
        self._watch = Watch()
        auth = connection.auth
        self._renewable = auth if isinstance(auth, Renewable) else None
        self._conceal, self._refer = conceal, refer
        self._keepsake = Keepsake(keepsake, self._renewable.first_refresh if self._renewable else "")
        self._tokens = Tokens(partial(self._new_token, self._renewable)) if self._renewable else None
        self._wire = Wire(
            connections=connection.limits.in_flight,
            verify=str(connection.ca_bundle) if connection.ca_bundle else True,
        )
        common = {"User-Agent": connection.user_agent, "Accept-Encoding": "gzip, br, zstd", "Connection": "keep-alive"}
        self._bare = common
        self._headers = headers_of([common, connection.headers, auth.headers() if auth else {}])
        self._ready: dict[tuple[bool, str], dict[str, str]] = {}
        self._params = [
            (name, text(item))
            for name, value in {**connection.params, **(auth.params() if auth else {})}.items()
            for item in (value if isinstance(value, list) else [value])
            if item is not None
        ]

    def fetch(
        self, request: Request, endpoint: Endpoint, *, stop: threading.Event | None = None, listen: Listen = nobody
    ) -> Page:
        """The answer to *request*: whole, accepted, with a list of records where *endpoint* says.

        *listen* hears of every answer, retry and throttle of this request, from this thread.

        Raises:
            PipelineError: No acceptable answer, after all retries that make sense.
        """
        stop = stop or threading.Event()
        began, idle_s, is_renewed = time.monotonic(), 0.0, False

        def spent_s() -> float:
            return time.monotonic() - began - idle_s

        def attempt() -> Page:
            nonlocal idle_s, is_renewed
            with self._budget.place(endpoint.weight, stop) as place:
                idle_s += place.waited_s
                turn_s = place.waited_s - place.paused_s
                if place.paused_s > _NOTABLE_S:
                    listen("paused", place.paused_s, 0, "", turn_s)
                if turn_s > _NOTABLE_S:
                    listen("waited", turn_s, 0, "")
                try:
                    return self._exchange(request, endpoint, listen, stop, renews=not is_renewed)
                except TryAgain as failure:
                    is_renewed = is_renewed or failure.renews
                    place.welcome = not failure.throttled
                    if (pause_s := least_pause_s(failure, self.connection.retry)) is not None:
                        self._budget.pause(pause_s)  # before others that wait can have the place
                    raise

        def notice(failure: TryAgain, wait_s: float) -> None:
            if failure.throttled and failure.wait_s is None:
                self._budget.pause(wait_s)
            listen("throttled" if failure.throttled else "retried", wait_s, 0, failure.error.kind)

        try:
            return patiently(attempt, self.connection.retry, stop=stop, notice=notice, spent_s=spent_s)
        except PipelineError as error:
            error.curl = "" if isinstance(error, Interrupted) else self.repeat_line(request, endpoint)
            raise

    def abort(self) -> None:
        """End every exchange under way; their threads get `Interrupted`."""
        self._watch.stop()

    def close(self) -> None:
        """Close every connection."""
        self._wire.close()
        self._watch.close()

    def repeat_line(self, request: Request, endpoint: Endpoint) -> str:
        """The line that repeats *request* in a shell, secrets hidden."""
        if self._refer is None:
            return ""
        url, auth = self.origins.configured(request.full_url), self.connection.auth
        sent = self._headers_for(url, request, endpoint, MASK)
        secret = [*auth.headers(), *auth.params()] if auth else []
        secret += self._renewable.carrying(MASK) if self._renewable else []
        full_url = with_missing(url, self._params) if self.origins.sees_credentials(url) else url
        return curl_line(request.method, full_url, sent, request.body, secret=secret, refer=self._refer)

    def _exchange(
        self, request: Request, endpoint: Endpoint, listen: Listen, stop: threading.Event, *, renews: bool
    ) -> Page:
        """One attempt, from sending to the verdict on the answer; unless it *renews*, a refused token ends it."""
        began = time.monotonic()
        deadline = began + self.connection.timeout.total
        token = self._tokens.current(stop) if self._tokens else ""
        answer = self._watched(request, endpoint, deadline, stop, lambda: self._ask(request, endpoint, deadline, token))
        listen("answered", time.monotonic() - began, answer.wire_bytes, str(answer.status))
        self._budget.learn(self.connection.limits, answer.headers, time.time())
        page = Page(request, answer.status, answer.headers, answer.body, endpoint.records, endpoint.format)
        try:
            page = accept(page, endpoint, self.connection.retry.statuses)
        except TryAgain as failure:
            if failure.renews and not (renews and self._tokens and self._tokens.refused(token, endpoint.path)):
                raise failure.error from None
            raise
        if self._tokens:
            self._tokens.accepted(token, endpoint.path)
        return page

    def _watched(
        self,
        request: Request,
        endpoint: Endpoint,
        deadline: float,
        stop: threading.Event,
        ask: Callable[[], body.Answer],
    ) -> body.Answer:
        """*ask*, unless *stop* is set, and turn whatever goes wrong on the way into an error of ours."""
        stopped = Interrupted("the run was asked to stop", "run again to resume")
        with self._watch.until(deadline) as exchange:
            if stop.is_set():  # `abort` ends the exchanges that it finds; this one came after it
                raise stopped
            try:
                answer = ask()
            except (PipelineError, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                if exchange.ended == "stopped":
                    raise stopped from None
                what = f"{request.method} {request.safe_url}"
                raise translated(what, TimeoutError() if exchange.ended == "late" else error, endpoint) from None
            is_framed = {"content-length", "transfer-encoding"} & answer.headers.keys()
            if exchange.ended == "stopped" and not is_framed:  # it seems to end where its socket was let go
                raise stopped
            return answer

    def _new_token(self, auth: Renewable, stop: threading.Event) -> Granted:
        """What the token endpoint gives; it is asked once, no redirect is followed."""
        address = self.connection.url(auth.address)
        asked, endpoint = Request("POST", address), Endpoint(path=address, idempotent=True)
        with self._keepsake.held(stop, self.connection.timeout.total):
            deadline = time.monotonic() + self.connection.timeout.total
            headers, form = auth.question(self._keepsake.newest)
            sent = headers_of([self._bare, headers, {"Content-Length": str(len(form))}])
            answer = self._watched(
                asked, endpoint, deadline, stop, lambda: self._send("POST", address, sent, form, deadline)
            )
            if answer.status != 200:
                raise not_given(f"POST {asked.safe_url}", answer.status)
            granted = auth.granted(parsed(answer.body), answer.headers)
            for secret in filter(None, (granted.token, granted.refresh)):
                self._conceal(secret)
            self._keepsake.replace(granted.refresh)
        return granted

    def _ask(self, request: Request, endpoint: Endpoint, deadline: float, token: str) -> body.Answer:
        """Send *request*, following redirects within its origin and to those that are allowed."""
        url = self.origins.configured(request.full_url)
        method = request.method
        for _ in range(_MAX_REDIRECTS + 1):
            trusted = self.origins.sees_credentials(url)
            if request.body is not None and not (trusted or endpoint.shows_body(request, url)):
                raise OriginError(f"{request.safe_url}: no body goes there, as no credentials do", _BODY_HINT)
            headers = self._headers_for(url, request, endpoint, token)
            address = with_missing(url, self._params) if trusted else url
            answer = self._send(
                method,
                self.origins.on_the_wire(address),
                headers,
                request.body,
                deadline,
                needs_frame=endpoint.format != "json",
            )
            target = answer.headers.get("location")
            if answer.status not in _REDIRECTS or not target:
                return answer
            url = self._redirected(url, target)
            if answer.status in (301, 302, 303) and method != "GET":
                raise RedirectRefused(f"{request.safe_url} redirects a {method}", "give the final address in `path`")
        raise RedirectRefused(f"{request.safe_url} redirects more than {_MAX_REDIRECTS} times", "check `path`")

    def _redirected(self, url: str, target: str) -> str:
        """Where a redirect from *url* leads, in its configured origin."""
        try:
            followed = self.origins.configured(urljoin(self.origins.on_the_wire(url), target))
        except (OriginError, ValueError):
            what = f"{origin_of(url)} redirects to another origin"
            raise RedirectRefused(
                what, "put the final address into `base_url`, or list its origin in `allow_hosts`"
            ) from None
        if url.startswith("https:") and not followed.startswith("https:"):
            raise RedirectRefused(f"{origin_of(url)} redirects from HTTPS to HTTP", "put the final address into `path`")
        return followed

    def _headers_for(self, url: str, request: Request, endpoint: Endpoint, token: str) -> dict[str, str]:
        """The headers that *request* leaves with; those that all pages share are put together once."""
        trusted, layout = self.origins.sees_credentials(url), endpoint.format
        carried = self._renewable.carrying(token) if self._renewable and token and trusted else {}
        is_plain = not (request.headers or carried or request.body is not None)
        if is_plain and (trusted, layout) in self._ready:
            return self._ready[trusted, layout]
        has_body = request.body is not None
        length = {"Content-Length": str(len(request.body or b""))} if has_body else {}
        headers = headers_of(
            [
                {"Accept": _ACCEPT_TYPE[layout], **({"Content-Type": "application/json"} if has_body else {})},
                self._headers if trusted else self._bare,
                dict(request.headers if trusted else endpoint.harmless(request, url)),
                carried,
                length,
            ]
        )
        if is_plain:
            self._ready[trusted, layout] = headers
        return headers

    def _send(  # noqa: PLR0913  # what a request is made of
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None,
        deadline: float,
        *,
        needs_frame: bool = False,
    ) -> body.Answer:
        """Send, and read the whole answer."""
        timeout = self.connection.timeout
        raw = self._wire.send(method, url, headers, content, connect_s=timeout.connect, read_s=timeout.read)
        return body.whole(raw, cap=self.connection.max_response, deadline=deadline, needs_frame=needs_frame)
