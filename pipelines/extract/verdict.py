"""What an answer means: a page, an empty page, an error, or another attempt."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

from msgspec.structs import replace

from pipelines.errors import ApiError, AuthError, DecodeError, HttpError, PipelineError, RateLimited, RecordsMissing
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.page import Page
from pipelines.extract.patience import TryAgain, retry_after_s
from pipelines.extract.rules import error_text, first_rule

ACCEPTED = (200, 201, 203, 204)
_HINTS = {
    400: "the API refuses the parameters; check `params`",
    401: "check `auth`: the API does not accept the credentials",
    403: "the credentials lack a permission, or the host refuses us; check `auth` and `user_agent`",
    404: "check `path`; if it only means that there is nothing, say `errors: [{status: 404, do: skip}]`",
    410: "the API no longer has this address; check `path`",
}


def accept(page: Page, endpoint: Endpoint, retried_statuses: Collection[int]) -> Page:
    """*page*, where its status and content are what *endpoint* expects; rules come first.

    Raises:
        TryAgain: It may be different the next time.
        PipelineError: It is an error.
    """
    rule = first_rule(endpoint.errors, page)
    if rule is not None and rule.action in ("skip", "split"):
        return replace(page, skipped=True, splits=rule.action == "split")
    if rule is not None and rule.action == "refresh_token":
        raise TryAgain(
            AuthError(_what(page, f"refuses the token by the rule {rule.outline!r}"), _HINTS[401]), renews=True
        )
    if rule is not None:
        mistake = ApiError(_what(page, f"is an error by the rule {rule.outline!r}"), "see `errors` of the resource")
        if rule.action == "retry":
            asked = retry_after_s(page.headers)
            raise TryAgain(mistake, asked, throttled=asked is not None)
        mistake.lasting = True
        raise mistake
    if page.status not in ACCEPTED:
        _refuse(page, endpoint, retried_statuses)
    _check_content(page)
    return page


def _refuse(page: Page, endpoint: Endpoint, retried_statuses: Collection[int]) -> NoReturn:
    error = _error_of(page)
    asked = retry_after_s(page.headers)
    if page.status == 401:
        raise TryAgain(error, renews=True)
    if page.status == 429 and 429 in retried_statuses:
        raise TryAgain(error, asked, throttled=True)
    if page.status in retried_statuses and endpoint.may_repeat:
        raise TryAgain(error, asked, throttled=asked is not None)
    raise error


def _error_of(page: Page) -> PipelineError:
    what = _what(page, f"answered {page.status}")
    if page.status == 401:
        return AuthError(what, _HINTS[401])
    if page.status == 403:
        return AuthError(what, _HINTS[403])
    if page.status == 429:
        return RateLimited(what, "lower `limits: {rate: ..., in_flight: ...}`, or run again later")
    hint = _HINTS.get(page.status, "the server failed; run again later" if page.status >= 500 else "look at the answer")
    error = HttpError(what, hint)
    error.lasting = page.status < 500 and page.status not in (408, 425)
    return error


def _check_content(page: Page) -> None:
    if page.format == "json" and page.body[:256].lstrip()[:1] == b"<":
        sort = (page.header("content-type") or "markup").partition(";")[0][:60]
        raise DecodeError(_what(page, f"answered {sort}, not JSON"), "check `path`, `params` (a format?) and `auth`")
    try:
        if not page.body.isascii():
            page.body.decode("utf-8")
        page.check()
    except UnicodeDecodeError as error:
        what = _what(page, f"the answer is not UTF-8: {error.reason} at byte {error.start:,}")
        raise DecodeError(what, "the server must send UTF-8") from None
    except (RecordsMissing, DecodeError) as error:
        raise type(error)(_what(page, error.message), error.hint) from None


def _what(page: Page, says: str) -> str:
    told = error_text(page)
    return f"{page.request.method} {page.request.safe_url}: {says}" + (f" ({told})" if told else "")
