"""The library's log lines in a flow run: once, for people, without secrets, from any thread."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flows.logs import log_of
from pipelines.config.redact import Redactor
from pipelines.extract.events import Event
from pipelines.report.result import RunReport
from pipelines.run_log import RunLog

if TYPE_CHECKING:
    import pytest

TOKEN = "sesame-open-7341"
NONE = Redactor([])


def test_lines_go_to_the_flow_runs_log_once_and_only_while_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    """The root's handlers, where Prefect would print them again, hear of the flow run's line alone."""
    flow_run, ours = logging.getLogger("flow-run"), logging.getLogger("pipelines.run")
    before = logging.getLogger("pipelines").level
    more = {"source": "shop", "resource": "events", "fields": {"pages": 2, "key": TOKEN}}
    with caplog.at_level(logging.INFO, "flow-run"), log_of(flow_run, Redactor([TOKEN]), ["shop"]):
        thread = threading.Thread(target=ours.info, args=("resource fetched",), kwargs={"extra": more})
        thread.start()
        thread.join()
        ours.debug("page fetched")

    told = [(one.name, one.levelname, one.getMessage()) for one in caplog.records]
    assert told == [("flow-run", "INFO", "shop.events: resource fetched pages=2 key=***")]
    assert (logging.getLogger("pipelines").level, logging.getLogger("pipelines").propagate) == (before, True)


def test_flow_runs_side_by_side_hear_each_its_own_run_and_go_on_when_another_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As the sub-runs of a backfill of two sources; shop begins and ends first."""
    shop, bank, shop_runs = RunLog("r1"), RunLog("r2"), ExitStack()
    before = logging.getLogger("pipelines").level
    for name in ("flow-run.shop", "flow-run.bank"):
        caplog.set_level(logging.INFO, name)
    shop_runs.enter_context(log_of(logging.getLogger("flow-run.shop"), NONE, ["shop"]))
    with log_of(logging.getLogger("flow-run.bank"), NONE, ["bank"]):
        for log, source in ((shop, "shop"), (bank, "bank")):
            log.began([source], 1)
            log.listen(source, Event("committed", "", 0.0))
        shop_runs.close()
        bank.listen("bank", Event("throttled", "accounts", 0.0))
        bank.ended(RunReport("r2", "", 0.0, "", (), warnings=("late",)))

    told = [f"{one.name.removeprefix('flow-run.')} {one.getMessage().split('=')[0]}" for one in caplog.records]
    assert (logging.getLogger("pipelines").level, logging.getLogger("pipelines").propagate) == (before, True)
    assert told == [
        "shop pipelines.run: run began sources",
        "shop shop: source committed commit",
        "bank pipelines.run: run began sources",
        "bank bank: source committed commit",
        "bank bank.accounts: request throttled wait_s",
        "bank pipelines.run: warning text",
        "bank pipelines.run: run ended exit_code",
    ]
