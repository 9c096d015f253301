"""The library's log lines in a flow run: once, for people, without secrets, from any thread."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from flows.logs import log_of
from pipelines.config.redact import Redactor

if TYPE_CHECKING:
    import pytest

TOKEN = "sesame-open-7341"


def test_lines_go_to_the_flow_runs_log_once_and_only_while_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    """The root's handlers, where Prefect would print them again, hear of the flow run's line alone."""
    flow_run, ours = logging.getLogger("flow-run"), logging.getLogger("pipelines.run")
    before = logging.getLogger("pipelines").level
    more = {"source": "shop", "resource": "events", "fields": {"pages": 2, "key": TOKEN}}
    with caplog.at_level(logging.INFO, "flow-run"), log_of(flow_run, Redactor([TOKEN])):
        thread = threading.Thread(target=ours.info, args=("resource fetched",), kwargs={"extra": more})
        thread.start()
        thread.join()
        ours.debug("page fetched")

    told = [(one.name, one.levelname, one.getMessage()) for one in caplog.records]
    assert told == [("flow-run", "INFO", "shop.events: resource fetched pages=2 key=***")]
    assert (logging.getLogger("pipelines").level, logging.getLogger("pipelines").propagate) == (before, True)
