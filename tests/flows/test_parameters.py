"""What a person may choose for a run: a span, a full refresh, a time-out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

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


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        pytest.param({"start": "2024-01-02"}, "a span needs both of its ends", id="half-a-span"),
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
