"""How often and how long a request is repeated.

A failed attempt is a `TryAgain` around the error that the run would end with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar, cast

from pipelines.errors import Interrupted, PipelineError, RateLimited
from pipelines.extract.connection import Retry

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")


class TryAgain(Exception):
    """An attempt failed in a way that may pass; `wait_s` is what the API asked for, if it did.

    `throttled`: all of the host is to wait. `renews`: it may pass with another access token, at once.
    """

    def __init__(
        self, error: PipelineError, wait_s: float | None = None, *, throttled: bool = False, renews: bool = False
    ) -> None:
        super().__init__(error, wait_s)
        self.error = error
        self.wait_s = wait_s
        self.throttled = throttled
        self.renews = renews


def patiently(
    attempt: Callable[[], Result],
    retry: Retry,
    *,
    stop: threading.Event,
    notice: Callable[[TryAgain, float], None],
    spent_s: Callable[[], float],
) -> Result:
    """Call *attempt* until it succeeds, by *retry*; *notice* hears of each failure and the wait before the next.

    One attempt with another access token is allowed beyond `attempts`.

    A throttled attempt's wait is left to the host's budget, as it concerns all of the host. *spent_s* is the time
    since the call, without what attempts waited for their turn; the waits that the API asked for count.

    Raises:
        PipelineError: The last error, once attempts or time are used up.
        RateLimited: At once, where the API asks to wait longer than the time that is left.
    """
    try:
        return attempt()
    except TryAgain as failure:
        return _again(failure, attempt, retry, stop=stop, notice=notice, spent_s=spent_s)


def _again(  # noqa: PLR0913  # what `patiently` was told, and how it began
    first: TryAgain,
    attempt: Callable[[], Result],
    retry: Retry,
    *,
    stop: threading.Event,
    notice: Callable[[TryAgain, float], None],
    spent_s: Callable[[], float],
) -> Result:
    """The same after a *first* attempt that failed."""
    # asyncio comes with it, 50 ms that runs without a failure need not wait for
    from tenacity import Retrying, retry_if_exception_type, wait_random_exponential

    asked_s = 0.0
    renewals = 0
    failed = [first]
    growing = wait_random_exponential(multiplier=retry.wait, max=retry.max_wait)

    def wait_s(state: RetryCallState) -> float:
        nonlocal asked_s
        failure = _failure(state)
        if failure.renews:
            notice(failure, 0.0)
            return 0.0
        asked = failure.wait_s
        wait = retry.wait / 2 + growing(state) / 2 if asked is None else asked
        left = retry.total - spent_s() - asked_s
        if asked is not None and asked > left:
            hint = f"run again in {asked:,.0f} s, or raise `retry: {{total: ...}}`"
            raise RateLimited(f"{failure.error.message}; it asks to wait {asked:,.0f} s", hint) from None
        if wait > left:
            raise failure.error from None
        notice(failure, wait)
        asked_s += wait if failure.throttled else 0.0
        return 0.0 if failure.throttled else wait

    def is_spent(state: RetryCallState) -> bool:
        nonlocal renewals
        renewals = 1 if _failure(state).renews else renewals  # once, it is no repetition of what failed
        return state.attempt_number >= retry.attempts + renewals

    def sleep(seconds: float) -> None:
        if stop.wait(seconds) if seconds else stop.is_set():
            raise Interrupted("the run was asked to stop", "run again to resume")

    def once_more() -> Result:
        if failed:
            raise failed.pop()
        return attempt()

    def give_up(state: RetryCallState) -> Result:
        raise _failure(state).error from None

    return Retrying(
        stop=is_spent,
        wait=wait_s,
        sleep=sleep,
        retry=retry_if_exception_type(TryAgain),
        retry_error_callback=give_up,
    )(once_more)


def least_pause_s(failure: TryAgain, retry: Retry) -> float | None:
    """Seconds for which all of the host waits in any case; None for an attempt that concerns no other.

    None, too, where the host asks for more than anybody waits: each request then fails by itself, at once.
    """
    pause_s = retry.wait / 2 if failure.wait_s is None else failure.wait_s
    return pause_s if failure.throttled and pause_s <= retry.total else None


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that `Retry-After` asks for, given as a number or a date; None where it makes no sense."""
    written = headers.get("retry-after", "").strip()
    if written.isdigit():
        return float(written)
    try:
        moment = parsedate_to_datetime(written)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return seconds if seconds >= 0 else None


def _failure(state: RetryCallState) -> TryAgain:
    return cast("TryAgain", state.outcome.exception() if state.outcome else None)
