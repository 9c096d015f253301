"""The library's log lines in a flow run: to Prefect's log of that run, once, and nowhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.config.redact import RedactingFilter, Redactor
from pipelines.logs import OURS, TextLines

Adapter = logging.LoggerAdapter[logging.Logger]


@contextmanager
def log_of(flow_run: logging.Logger | Adapter, secrets: Redactor) -> Iterator[None]:
    """Give the library's lines to *flow_run*'s logger while the block lasts, *secrets* hidden.

    It knows its flow run whatever thread a line comes from. The library's own
    lines go no further up: Prefect's handler at the root would print them again.
    """
    ours = logging.getLogger(OURS)
    before = (ours.level, ours.propagate)
    handler = _Forward(flow_run)
    handler.addFilter(RedactingFilter(secrets))
    ours.addHandler(handler)
    ours.setLevel(flow_run.getEffectiveLevel())
    ours.propagate = False
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(before[0])
        ours.propagate = before[1]


class _Forward(logging.Handler):
    """Hands each record on as a line of the flow run."""

    def __init__(self, flow_run: logging.Logger | Adapter) -> None:
        super().__init__()
        self._flow_run = flow_run

    def emit(self, record: logging.LogRecord) -> None:
        """Log *record* again, there."""
        if self._flow_run.isEnabledFor(record.levelno):
            self._flow_run.log(record.levelno, "%s", TextLines().message(record))
