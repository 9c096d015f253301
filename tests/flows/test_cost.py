"""What telling Prefect costs, and what happens when it cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.fake_api import Answer, Asked
from tests.flows.conftest import ShopProject
from tests.flows.heard import calls
from tests.flows.line import Line
from tests.shop import Ended

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("prefect_api")]


def test_calls_to_prefect_do_not_grow_with_pages_or_rows(shop: ShopProject) -> None:
    """At most 25 calls for two resources, whether they have 6 pages or 400; with the tag that deployments have."""
    from prefect import tags

    from flows.sync import sync

    with calls() as few, tags("threadmill"):
        sync(return_state=True)
    shop.api.pages("/orders", records=3000)
    shop.api.pages("/refunds", records=1000)

    with calls() as many, tags("threadmill"):
        state: State[Any] = sync(return_state=True)

    assert state.is_completed()
    assert shop.api.calls["/orders"] > 300
    assert len(many) <= len(few) + 3  # log records are sent by the second
    assert len(many) <= 25


def test_a_server_that_goes_down_in_mid_run_costs_no_data_and_the_run_says_what_it_could_not_report(
    shop: ShopProject, prefect_api: str
) -> None:
    """The line to it is cut while page 3 is fetched."""
    line = Line(int(prefect_api.removesuffix("/api").rpartition(":")[2]))
    answers = shop.api.routed("/orders")

    def cut(asked: Asked) -> Answer:
        if asked.params.get("page") == "3":
            line.cut()
        return answers(asked)

    shop.api.route("/orders", cut)
    url = f"http://127.0.0.1:{line.port}/api"
    ended = Ended.of(shop.start("-m", "flows", PREFECT_API_URL=url, PREFECT_CLIENT_MAX_RETRIES="0"), 120)

    assert ended.code == 0, ended
    assert "60 rows written" in ended.out
    assert pq.read_table("data/parquet/shop/orders").num_rows == 40
    assert "Prefect's server did not answer: it could not be told " in ended.err
    assert "the result, how the run ended; the data is there" in ended.err
