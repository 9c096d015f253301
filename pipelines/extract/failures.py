"""Our errors for what went wrong on the way: the libraries' texts hold whole queries, ours none."""

from __future__ import annotations

import http.client
import ssl

import urllib3
from urllib3.util.ssl_match_hostname import CertificateError

from pipelines.errors import (
    HttpError,
    OriginError,
    PipelineError,
    RedirectRefused,
    Timeout,
    TlsError,
    Truncated,
)
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.patience import TryAgain

_NOT_SENT = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
_TOO_LATE = (urllib3.exceptions.TimeoutError, TimeoutError)
_CUT = (urllib3.exceptions.IncompleteRead, http.client.IncompleteRead, urllib3.exceptions.InvalidChunkLength)
_NO_HEADER = "it holds a line break or other text that no header can; look at `headers`, their placeholders and tokens"


def _repeatable(error: PipelineError, endpoint: Endpoint) -> PipelineError | TryAgain:
    if endpoint.may_repeat:
        return TryAgain(error)
    return HttpError(error.message, "the request may have had an effect; if it may be repeated, say `idempotent: true`")


def translated(what: str, error: Exception, endpoint: Endpoint) -> PipelineError | TryAgain:
    """The error with its URL; ours for one of the libraries', whose texts hold whole queries."""
    if isinstance(error, OriginError | RedirectRefused):
        return error
    if isinstance(error, PipelineError):
        ours = type(error)(f"{what}: {error.message}", error.hint)
        return _repeatable(ours, endpoint) if isinstance(error, Timeout | Truncated) else ours
    if isinstance(error, ValueError) and not isinstance(error, urllib3.exceptions.HTTPError | OSError):
        return HttpError(f"{what}: a header cannot be sent", _NO_HEADER)
    return _network_error(what, _causes(error), endpoint)


def _network_error(what: str, chain: list[BaseException], endpoint: Endpoint) -> PipelineError | TryAgain:
    def holds(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in chain)

    if holds(ssl.SSLCertVerificationError, CertificateError):
        return TlsError(f"{what}: the server's certificate could not be verified", "name its authority in `ca_bundle`")
    if holds(ssl.SSLError, urllib3.exceptions.SSLError):
        return _tls_error(what, [one for one in chain if isinstance(one, ssl.SSLError)], endpoint)
    if holds(*_NOT_SENT):
        reason = next((cause.strerror for cause in chain if isinstance(cause, OSError) and cause.strerror), "no answer")
        return TryAgain(HttpError(f"{what}: cannot connect: {reason}", "check `base_url` and the network"))
    if holds(*_TOO_LATE):
        return _repeatable(Timeout(f"{what}: no answer in time", "raise `timeout`, or ask for smaller pages"), endpoint)
    if holds(*_CUT):
        return _repeatable(Truncated(f"{what}: the answer ended before it was whole", "run again"), endpoint)
    return _repeatable(HttpError(f"{what}: the connection broke: {type(chain[-1]).__name__}", "run again"), endpoint)


def _tls_error(what: str, found: list[ssl.SSLError], endpoint: Endpoint) -> PipelineError | TryAgain:
    if any(one.library == "X509" for one in found):
        return TlsError(f"{what}: the certificates to trust cannot be read", "`ca_bundle` takes a file in PEM format")
    reason = next((one.reason for one in found if one.reason), "no reason is told")
    broke = HttpError(f"{what}: the TLS connection broke: {reason}", "run again; does the port speak HTTPS?")
    return _repeatable(broke, endpoint)


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
