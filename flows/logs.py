"""The library's log lines in a flow run: to Prefect's log of that run, once, and nowhere else.

Flow runs may be side by side in one process, as the sub-runs of a backfill are. The
library has one logger, so each flow run takes the lines of its own run from it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from pipelines.config.redact import RedactingFilter, Redactor
from pipelines.logs import OURS, TextLines

Adapter = logging.LoggerAdapter[logging.Logger]
_CHANGING = threading.Lock()


@contextmanager
def log_of(flow_run: logging.Logger | Adapter, secrets: Redactor, sources: Collection[str]) -> Iterator[None]:
    """Give the library's lines of a run of *sources* to *flow_run*'s logger while the block lasts, *secrets* hidden.

    It knows its flow run whatever thread a line comes from; a line of no run goes to
    all flow runs. The library's own lines go no further up: Prefect's handler at the
    root would print them again.
    """
    ours = logging.getLogger(OURS)
    with _CHANGING:
        beside = _forwarding(ours)
        before = beside[0].before if beside else (ours.level, ours.propagate)
        handler = _Forward(flow_run, frozenset(sources), before)
        handler.addFilter(RedactingFilter(secrets))
        ours.addHandler(handler)
        ours.setLevel(flow_run.getEffectiveLevel())
        ours.propagate = False
    try:
        yield
    finally:
        with _CHANGING:
            ours.removeHandler(handler)
            if not _forwarding(ours):
                ours.setLevel(before[0])
                ours.propagate = before[1]


class _Forward(logging.Handler):
    """Hands each record of a run of *sources* on as a line of the flow run.

    `before` is what the library's logger was before any flow run: its level, and whether it propagates.
    """

    def __init__(self, flow_run: logging.Logger | Adapter, sources: frozenset[str], before: tuple[int, bool]) -> None:
        super().__init__()
        self._flow_run, self._sources, self.before = flow_run, sources, before
        self.addFilter(self._is_of_its_run)

    def emit(self, record: logging.LogRecord) -> None:
        """Log *record* again, there."""
        if self._flow_run.isEnabledFor(record.levelno):
            self._flow_run.log(record.levelno, "%s", TextLines().message(record))

    def _is_of_its_run(self, record: logging.LogRecord) -> bool:
        sources = getattr(record, "sources", None)
        return sources is None or self._sources == set(sources)


def _forwarding(logger: logging.Logger) -> list[_Forward]:
    return [one for one in logger.handlers if isinstance(one, _Forward)]
