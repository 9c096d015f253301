"""What a person may choose for a run: a span, a full refresh, a time-out."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from pipelines.load.lake import Lake
from tests.fake_api import say
from tests.flows.conftest import ShopProject

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("prefect_api")]
_BY_DAY = """\
base_url: {url}
resources:
  days:
    path: /days
    paginate: none
    incremental: {{cursor: day, since_param: since, start: 2024-01-01}}
    key: id
    write: upsert
    columns: {{day: date}}
"""


def test_a_run_that_takes_too_long_is_stopped_and_the_next_one_resumes(shop: ShopProject) -> None:
    from flows.sync import sync_source

    answers = shop.api.routed("/orders")
    over = threading.Event()
    shop.api.route(
        "/orders", lambda asked: answers(asked) if asked.params.get("page") != "3" or over.wait(60) else say({}, 500)
    )

    late: State[Any] = sync_source("shop", timeout_minutes=0.05, return_state=True)
    over.set()
    again: State[Any] = sync_source("shop", return_state=True)

    pages = [asked.params.get("page", "1") for asked in shop.api.asked if asked.path == "/orders"]
    assert (late.is_failed(), late.name) == (True, "TimedOut")
    assert "stopped after 0.05 minutes" in str(late.message)
    assert again.is_completed(), again.message
    assert pages.count("1") == 1
    assert pq.read_table("data/parquet/shop/orders").num_rows == 40


def test_a_span_is_read_again_and_a_full_refresh_reads_everything(shop: ShopProject) -> None:
    from flows.sync import sync_source

    config = shop.folder / "config/shop.yaml"
    config.write_text(_BY_DAY.format(url=shop.api.url))
    shop.api.answer("/days", say([{"id": 1, "day": "2024-01-02"}, {"id": 2, "day": "2024-01-05"}]))

    for parameters in ({}, {}, {"start": "2024-01-02", "end": "2024-01-03"}, {"full_refresh": True}):
        state: State[Any] = sync_source("shop", **parameters, return_state=True)
        assert state.is_completed(), state.message

    days = [asked.params["since"][8:10] for asked in shop.api.asked]
    assert days == ["01", "05", "02", "01"]
    assert pq.read_table("data/parquet/shop/days").num_rows == 2


def test_a_full_refresh_that_found_the_lake_busy_begins_at_the_start_in_its_next_attempt(shop: ShopProject) -> None:
    from flows.sync import sync_source

    config = shop.folder / "config/shop.yaml"
    config.write_text(_BY_DAY.format(url=shop.api.url))
    shop.api.answer("/days", say([{"id": 1, "day": "2024-01-05"}]))
    sync_source("shop", return_state=True)
    held, attempts = ExitStack(), list[object]()

    def busy_at_first(flow: object, flow_run: object, state: object) -> None:
        attempts.append(state)
        if len(attempts) == 1:
            held.enter_context(Lake(Path("data"), "shop").lock("another"))
        else:
            held.close()

    again = sync_source.with_options(retries=1, retry_delay_seconds=0, on_running=[busy_at_first])
    state: State[Any] = again("shop", full_refresh=True, return_state=True)

    assert state.is_completed(), state.message
    assert len(attempts) == 2
    assert [asked.params["since"][8:10] for asked in shop.api.asked] == ["01", "01"]


@pytest.mark.parametrize("runs_before", [1, 0])
def test_a_full_refresh_forgets_nothing_that_it_has_read_when_it_is_tried_again(
    shop: ShopProject, runs_before: int
) -> None:
    """Days are committed in the first attempt, in which weeks fail."""
    from flows.sync import sync_source

    days = _BY_DAY.format(url=shop.api.url) + "retry: {attempts: 1}\n"
    weeks = days[days.index("  days:") : days.index("retry:")].replace("days", "weeks")
    (shop.folder / "config/shop.yaml").write_text(days.replace("resources:\n", f"resources:\n{weeks}"))
    found = say([{"id": 1, "day": "2024-01-05"}])
    shop.api.answer("/days", found)
    shop.api.answer("/weeks", *[found] * runs_before, say({}, 500), found)
    for _ in range(runs_before):
        sync_source("shop", return_state=True)

    again = sync_source.with_options(retries=1, retry_delay_seconds=0)
    state: State[Any] = again("shop", full_refresh=True, return_state=True)

    asked = [(one.path, one.params["since"][8:10]) for one in shop.api.asked[2 * runs_before :]]
    log = Lake(Path("data"), "shop").log
    assert state.is_completed(), state.message
    assert sorted(asked) == [("/days", "01"), ("/days", "05"), ("/weeks", "01"), ("/weeks", "01")]
    assert [log.read(number).note for number in log.numbers()].count("state of weeks, days: reset") == 1


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        pytest.param({"start": "2024-01-02"}, "hint: give `start` and `end`, or neither", id="half-a-span"),
        pytest.param(
            {"start": "2", "end": "3", "full_refresh": True},
            "exclude each other",
            id="span-and-refresh",
        ),
    ],
)
def test_parameters_that_contradict_each_other_are_refused_before_any_request(
    parameters: dict[str, Any], told: str, shop: ShopProject
) -> None:
    from flows.sync import sync_source

    state: State[Any] = sync_source.with_options(retries=0)("shop", **parameters, return_state=True)

    assert state.is_failed()
    assert told in str(state.message)
    assert shop.api.asked == []
