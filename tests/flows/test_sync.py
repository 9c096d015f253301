"""Flows against a real Prefect server: states, artifacts, secrets, calls, retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.fake_api import Answer, Asked, say
from tests.flows.conftest import ShopProject, worker_modules
from tests.flows.heard import artifacts, materialized, message, tasks

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_MART = """\
marts:
  country_day:
    inputs: {exposure: shop.orders, refunds: shop.refunds}
    sql: country_day.sql
"""
_EVENT = {
    "id": 1,
    "event_id": "e",
    "country_code": "ES",
    "country": "Spain",
    "date": "2024-01-01",
    "mag": 4.6,
    "km_to_city": 1.0,
    "people_100km": 5,
    "currency": "EUR",
    "rate": 1.0,
    "rate_change_pct": 0.5,
}
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("prefect_api"),
]


def test_a_failed_resource_is_named_and_the_others_are_committed(shop: ShopProject) -> None:
    from flows.sync import sync

    shop.api.answer("/refunds", say({"error": "no"}, 401))

    state: State[Any] = sync(return_state=True)

    ended = tasks(state)
    assert state.is_failed()
    assert "failed: shop.refunds" in str(state.message)
    assert pq.read_table("data/parquet/shop/orders").num_rows == 40
    assert ended["extract shop.refunds"].state_name == "Failed"
    assert "hint: " in message(ended["extract shop.refunds"])
    assert {ended[name].state_name for name in ("extract shop.orders", "mill shop.orders", "commit shop.orders")} == {
        "Completed"
    }


def test_a_run_with_problems_may_end_completed_by_policy(shop: ShopProject) -> None:
    from flows.sync import sync

    shop.api.answer("/refunds", say({"error": "no"}, 404))

    state: State[Any] = sync(on_problem="warn", return_state=True)

    assert (state.is_completed(), state.name) == (True, "Incomplete")
    assert "shop.refunds" in str(state.message)


def test_a_configuration_that_cannot_be_read_fails_the_flow_with_file_and_line(shop: ShopProject) -> None:
    from flows.sync import sync

    (shop.folder / "config/shop.yaml").write_text("base_url: https://a.example\nresorces: {}\n")

    state: State[Any] = sync(return_state=True)

    assert state.is_failed()
    assert "shop.yaml:2: resorces" in str(state.message)
    assert shop.api.asked == []


def test_the_result_is_an_artifact_and_so_are_the_problems(shop: ShopProject) -> None:
    from flows.sync import sync

    shop.api.answer("/refunds", say({"error": "no"}, 401))

    state: State[Any] = sync(return_state=True)

    found = artifacts(state)
    table, text = str(found["sync-result"].data), str(found["sync-summary"].data)
    assert "shop.orders" in table
    assert "unproved" in table
    assert "**shop.refunds**: AuthError" in text
    assert "data/parquet/shop/" in text


def test_a_token_from_a_secret_block_reaches_the_api_and_nothing_else(
    shop: ShopProject, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect.blocks.system import Secret

    from flows.sync import sync_source

    Secret(value="sesame-open-7341").save("shop-token", overwrite=True)
    config = shop.folder / "config/shop.yaml"
    config.write_text(config.read_text() + "auth: {bearer: 'prefect-secret:shop-token'}\n")
    shop.api.answer("/refunds", say({"error": "bad token sesame-open-7341"}, 401))

    state: State[Any] = sync_source.with_options(retries=0)("shop", return_state=True)

    told = f"{state.message} {tasks(state)} {artifacts(state)} {caplog.text}"
    assert {asked.headers["authorization"] for asked in shop.api.asked} == {"Bearer sesame-open-7341"}
    assert state.is_failed()
    assert "sesame" not in told
    assert not any(b"sesame" in path.read_bytes() for path in (shop.folder / "data").rglob("*") if path.is_file())


def test_a_prefect_variable_is_a_value_in_a_source_file(shop: ShopProject) -> None:
    """The environment comes first; what is not named there is asked of Prefect, in small letters."""
    from prefect.variables import Variable

    from flows.sync import sync_source

    Variable.set("shop_region", "north", overwrite=True)
    config = shop.folder / "config/shop.yaml"
    config.write_text(config.read_text() + "headers: {X-Region: '${SHOP_REGION}', X-Size: '${SHOP_SIZE:-9}'}\n")

    state: State[Any] = sync_source.with_options(retries=0)("shop", return_state=True)

    assert state.is_completed()
    assert {(asked.headers["x-region"], asked.headers["x-size"]) for asked in shop.api.asked} == {("north", "9")}


def test_a_missing_secret_block_is_a_problem_with_its_line(shop: ShopProject) -> None:
    from flows.sync import sync

    config = shop.folder / "config/shop.yaml"
    config.write_text(config.read_text() + "auth: {bearer: 'prefect-secret:no-such-block'}\n")

    state: State[Any] = sync(return_state=True)

    assert "Prefect has no Secret block 'no-such-block'" in str(state.message)
    assert shop.api.asked == []


def test_commits_materialize_assets_that_know_what_they_are_made_from(shop: ShopProject) -> None:
    """The API > two datasets > a mart, each with its rows, columns and commit."""
    from flows.sync import sync

    (shop.folder / "config/marts.yaml").write_text(_MART)
    shop.api.answer("/orders", say({"data": [_EVENT], "next": None}))

    state: State[Any] = sync(return_state=True)

    made = materialized(state)
    assert state.is_completed(), state.message
    assert {key: event["related"] for key, event in made.items()} == {
        "threadmill://shop/orders": {"threadmill://shop"},
        "threadmill://shop/refunds": {"threadmill://shop"},
        "threadmill://marts/country_day": {"threadmill://shop/orders", "threadmill://shop/refunds"},
    }
    orders = made["threadmill://shop/orders"]["payload"]
    assert (orders["rows"], orders["commit"], orders["columns"]["id"]) == (1, 1, "int64")
    assert orders["committed_at"].startswith("20")


def test_progress_is_an_artifact_that_ends_at_a_hundred(shop: ShopProject) -> None:
    from flows.sync import sync

    state: State[Any] = sync(return_state=True)

    progress = artifacts(state)["sync-progress"]
    assert progress.data == 100.0
    assert "6 of 6 stages" in str(progress.description)
    assert "60 rows read" in str(progress.description)


def test_a_retry_resumes_from_the_pages_that_were_fetched(shop: ShopProject) -> None:
    """Page 3 of 4 fails once: the second attempt asks for pages 3 and 4 only."""
    from flows.sync import sync_source

    answers = shop.api._routes["/orders"]
    broken = [True]

    def route(asked: Asked) -> Answer:
        if asked.params.get("page") == "3" and broken:
            broken.pop()
            return say({"error": "no"}, 500)
        return answers(asked)

    shop.api.route("/orders", route)

    state: State[Any] = sync_source.with_options(retries=1, retry_delay_seconds=0)("shop", return_state=True)

    pages = [asked.params.get("page", "1") for asked in shop.api.asked if asked.path == "/orders"]
    assert state.is_completed(), state.message
    assert sorted(pages) == ["1", "2", "3", "3", "4"]
    assert pq.read_table("data/parquet/shop/orders").num_rows == 40


def test_workers_of_a_flow_called_in_a_program_never_import_prefect(shop: ShopProject) -> None:
    from flows.sync import sync_source

    sync_source("shop", return_state=True)

    modules = worker_modules(shop.noted)
    assert modules
    assert not any(name.split(".")[0] in ("prefect", "flows", "pytest") for worker in modules for name in worker)
