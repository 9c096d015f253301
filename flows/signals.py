"""Ctrl-C that ends a flow run, heard where nothing is half done.

SIGTERM stays Prefect's: it takes a cancelled run for cancelled, not crashed, only
while its own handler is the one that is there.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT,)


@contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """While the block lasts, the first Ctrl-C waits until the block calls what is yielded.

    Handlers raise, and may break in anywhere: half way through a request, or in
    a finalizer, where Python drops the exception and nobody ever hears of it. A
    second signal does what it did before. Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number))}
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if len(told) > 1:
            before[signal.Signals(number)](number, frame)

    def heed() -> None:
        if told:
            before[signal.Signals(told[0])](told[0], None)

    for number in before:
        signal.signal(number, note)
    try:
        yield heed
        heed()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
