"""Backfills as sub-runs of one flow run, against a real Prefect server."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipelines.load.lake import Lake
from tests.fake_api import FakeApi, say
from tests.flows.conftest import ShopProject
from tests.ledger_api import LedgerApi, row
from tests.processes import children, ended, eventually

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("prefect_api")]

_JANUARY = "from flows.backfill import backfill; backfill(['ledger'], '2024-01-01', '2024-02-01', marts=False)"
ROWS = [row(number, f"2024-0{1 + number % 4}-10T00:00:00Z") for number in range(8)]


@pytest.fixture
def ledger(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerApi:
    """Two rows in each of four months; none is read yet."""
    monkeypatch.chdir(tmp_path)
    ledger = LedgerApi(api, tmp_path)
    ledger.configure()
    ledger.is_half_open = True
    ledger.rows = list(ROWS)
    return ledger


def _backfill(end: str = "2024-05-01", *, start: str = "2024-01-01", marts: bool = False, **more: Any) -> Any:
    from flows.backfill import backfill

    return backfill(["ledger"], start, end, retries=0, marts=marts, return_state=True, **more)


def _notes(ledger: LedgerApi) -> list[str]:
    log = Lake(ledger.data, "ledger").log
    return [log.read(number).note for number in log.numbers()]


def test_a_dry_run_shows_windows_and_requests_and_asks_nothing(ledger: LedgerApi) -> None:
    state = _backfill(dry_run=True)

    assert (state.is_completed(), state.name) == (True, "Planned")
    assert state.message == "4 windows of 1 sources; about 4 requests"
    assert ledger.api.asked == []


def test_windows_that_lie_ahead_are_named_and_cost_no_request(ledger: LedgerApi) -> None:
    state = _backfill("3024-01-03", start="3024-01-01", every="day")

    assert state.is_completed(), state.message
    assert state.message.startswith("2 windows of 1 sources; about 0 requests\nledger: 3024-01-01 to 3024-01-03 is not")
    assert ledger.api.asked == []


def test_a_backfill_that_failed_goes_on_where_it_ended(ledger: LedgerApi) -> None:
    """March is refused; the next attempt asks for March and April only. Each month is a commit and a sub-run."""
    route = ledger.api.routed("/rows")
    is_march = "2024-03-01T00:00:00Z"
    ledger.api.route("/rows", lambda asked: say({}, 401) if asked.params["since"] == is_march else route(asked))
    failed = _backfill()
    ledger.api.route("/rows", route)
    before = len(ledger.api.asked)

    done = _backfill()

    assert done.is_completed(), done.message
    assert failed.is_failed()
    assert "ledger 2024-03-01 to 2024-04-01: Failed" in failed.message
    assert done.message.startswith("4 windows of 1 sources, 2 of them done before")
    assert [one.params["since"][:7] for one in ledger.api.asked[before:]] == ["2024-03", "2024-04"]
    assert ledger.stored("id") == list(range(8))
    assert [note[:24] for note in _notes(ledger)] == [f"backfill from 2024-0{month}-01" for month in (1, 2, 3, 4)]
    assert len(_sub_runs(done)) == 2


def test_windows_that_were_rolled_back_or_are_wanted_again_are_read_again(ledger: LedgerApi) -> None:
    """That a window is done is part of its commit: it goes with it."""
    _backfill("2024-03-01")
    _backfill("2024-03-01")
    lake = Lake(ledger.data, "ledger")
    with lake.lock("test"):
        lake.rollback(1, "test")

    _backfill("2024-03-01")
    again = _backfill("2024-03-01", again=True, marts=True)

    asked = [one.params["since"][5:7] for one in ledger.api.asked]
    assert asked == ["01", "02", "02", "01", "02"]
    assert again.is_completed(), again.message
    assert ledger.stored("id") == [0, 1, 4, 5]


@pytest.mark.parametrize("moment", ["under way", "between two attempts"])
def test_a_backfill_that_is_told_to_end_ends_within_ten_seconds_and_tries_nothing_again(
    moment: str, shop: ShopProject, ledger: LedgerApi, prefect_api: str, over: threading.Event
) -> None:
    """January is under way, or has failed and waits a minute for the next of its three attempts."""
    is_held = moment == "under way"
    ledger.api.route("/rows", lambda asked: say({"held": is_held and over.wait(60)}, 500))
    process = shop.start("-c", _JANUARY, PREFECT_API_URL=prefect_api)
    eventually(lambda: ledger.api.asked)
    eventually(lambda: is_held or _newest("backfill-window").run_count == 2)
    processes, asked = [process.pid, *children(process.pid)], len(ledger.api.asked)

    told_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=30)
    finally:
        process.kill()
    took_s = time.monotonic() - told_at

    assert took_s < 10
    assert ended(processes, within_s=1)
    assert (_newest("backfill").state_name, _newest("backfill-window").state_name) == ("Crashed", "Cancelled")
    assert len(ledger.api.asked) == asked


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when the test is over, so that an answer that is held back is given."""
    over = threading.Event()
    yield over
    over.set()


def _newest(flow: str) -> FlowRun:
    """The run of *flow* that began last."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName
    from prefect.client.schemas.sorting import FlowRunSort

    wanted = FlowFilter(name=FlowFilterName(any_=[flow]))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_filter=wanted, sort=FlowRunSort.START_TIME_DESC, limit=1)[0]


def _sub_runs(state: Any) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterParentFlowRunId

    parent = state.state_details.flow_run_id
    with get_client(sync_client=True) as client:
        return list(
            client.read_flow_runs(
                flow_run_filter=FlowRunFilter(
                    id=FlowRunFilterId(not_any_=[parent]),
                    parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent]),
                )
            )
        )
