"""Tokens that an API gives out: asked for once for all threads, renewed in time, refused for good."""

from __future__ import annotations

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.errors import AuthError, Interrupted
from pipelines.extract.client import Client
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.page import Page
from pipelines.extract.request import Request
from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.processes import eventually

CANARY = "c4nary-s3cret"


def test_s22_a_token_with_a_line_break_is_an_auth_error_without_it(shop: Shop) -> None:
    shop.settings = TokenApi(shop.api).settings
    shop.api.answer("/token", say({"access_token": f"{CANARY}\n"}))

    error = shop.one().error("orders")

    assert (error.kind, "control character" in error.message) == ("AuthError", True)
    assert CANARY not in "".join(traceback.format_exception(error))


def test_k04_threads_that_queue_for_a_token_ask_for_none_once_the_run_is_stopped(shop: Shop) -> None:
    """The first one waits for an endpoint that does not answer; the others would each wait as long, one by one."""
    shop.settings = TokenApi(shop.api).settings
    shop.api.answer("/token", say({}, delay_s=30))
    client, stop, orders = Client(shop.connection()), threading.Event(), Endpoint(path="/orders")

    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(client.fetch, Request("GET", f"{shop.api.url}/orders"), orders, stop=stop) for _ in range(8)
        ]
        eventually(lambda: shop.api.calls["/token"] == 1)
        stop.set()
        client.abort()
        errors = [one.exception(timeout=5) for one in asked]
    client.close()

    assert {type(error) for error in errors} == {Interrupted}
    assert shop.api.calls["/token"] == 1


class TokenApi:
    """An API whose tokens end when the test says so; `issued` counts them."""

    def __init__(self, api: FakeApi, *, lasts_s: int = 3600) -> None:
        self.api, self.issued, self.good, self.lasts_s = api, 0, "", lasts_s
        api.route("/token", self.issue)
        api.route("/orders", self.orders)
        self.settings = {
            "auth": {
                "oauth2_client_credentials": {
                    "token_url": f"{api.url}/token",
                    "client_id": "me",
                    "client_secret": CANARY,
                }
            },
            "limits": {"in_flight": 16},
        }
        self.revoke_at: set[int] = set()

    def issue(self, asked: Asked) -> Answer:
        """A new token; the one before ends with it."""
        self.issued += 1
        self.good = f"token-{self.issued}"
        return say({"access_token": self.good, "token_type": "bearer", "expires_in": self.lasts_s}, delay_s=0.02)

    def orders(self, asked: Asked) -> Answer:
        """One record for the current token, 401 for any other."""
        if self.api.calls["/orders"] in self.revoke_at:
            self.good = ""
        if asked.headers.get("authorization") != f"Bearer {self.good}":
            return say({"message": "token expired"}, 401, delay_s=0.02)
        return say({"data": [{"id": asked.params["n"]}]}, delay_s=0.02)


MANY = {"params": {"n": "{n}"}, "for_each": {"values": {"n": list(range(64))}}}


def test_a03_one_thread_renews_an_expired_token_while_sixteen_wait(shop: Shop) -> None:
    tokens = TokenApi(shop.api)
    tokens.revoke_at = {32}
    shop.settings = tokens.settings

    outcome = shop.one(**MANY)

    assert sorted(int(row["id"]) for row in outcome.rows("orders")) == list(range(64))
    assert tokens.issued == 2
    assert shop.api.calls["/orders"] <= 64 + 16


def test_a03_a_token_is_renewed_before_it_ends(shop: Shop) -> None:
    """Tokens of one second are renewed after half of it; no request meets a 401."""
    tokens = TokenApi(shop.api, lasts_s=1)
    shop.settings = {**tokens.settings, "limits": {"in_flight": 1}}

    outcome = shop.one(**MANY)

    assert outcome.extractions["orders"].retries == 0
    assert tokens.issued >= 2


def test_a04_a_token_that_was_never_accepted_is_not_asked_for_again(shop: Shop) -> None:
    tokens = TokenApi(shop.api)
    shop.api.answer("/orders", say({"message": "no"}, 401))
    shop.settings = tokens.settings

    error = shop.one(**MANY).error("orders")

    assert error.kind == "AuthError"
    assert tokens.issued <= 2


def test_a04_a_path_that_refuses_every_token_has_one_new_token_asked_for(shop: Shop) -> None:
    """The client may read orders and no reports, which four threads ask for beside them."""
    tokens = TokenApi(shop.api)
    shop.settings = tokens.settings
    shop.api.answer("/reports", say({"message": "no scope"}, 401, delay_s=0.1))
    reports = {"path": "/reports", "for_each": {"values": {"n": [1, 2, 3, 4]}}, "params": {"n": "{n}"}}

    outcome = shop.extract({"orders": {"path": "/orders", "records": "data", **MANY}, "reports": reports})

    assert (len(outcome.rows("orders")), outcome.error("reports").kind) == (64, "AuthError")
    assert tokens.issued == 2


def test_a04_a_request_that_refuses_every_token_has_one_new_token_asked_for(shop: Shop) -> None:
    """Another account takes each token before this one refuses it."""
    shop.settings = {**TokenApi(shop.api).settings, "retry": {"attempts": 5, "wait": "5ms"}}
    shop.api.answer("/accounts/1/orders", say({"data": [{"id": 1}]}))
    client = Client(shop.connection())

    def ask(account: int) -> Page:
        endpoint = Endpoint(path="/accounts/{id}/orders", records="data")
        return client.fetch(Request("GET", f"{shop.api.url}/accounts/{account}/orders"), endpoint)

    def refuse(asked: Asked) -> Answer:
        ask(1)
        return say({"message": "no"}, 401)

    shop.api.route("/accounts/7/orders", refuse)

    with pytest.raises(AuthError):
        ask(7)

    client.close()
    assert shop.api.calls == {"/token": 2, "/accounts/1/orders": 2, "/accounts/7/orders": 2}


@pytest.mark.parametrize("status", [400, 401])
def test_a04_a_token_endpoint_that_refuses_is_asked_once_for_all_threads(shop: Shop, status: int) -> None:
    """A login that is repeated with a wrong password locks the account."""
    shop.settings = TokenApi(shop.api).settings
    shop.api.answer("/token", say({"error": "invalid_client"}, status, delay_s=0.05))
    orders = {"path": "/orders", "records": "data", **MANY}

    outcome = shop.extract({"orders": orders, "returns": {**orders, "path": "/returns"}})

    told = {outcome.error(name).message for name in ("orders", "returns")}
    assert told == {f"POST {shop.api.url}/token: no token, but {status}"}
    assert shop.api.calls == {"/token": 1}


def test_a_token_endpoint_that_fails_once_fails_no_other_resource(shop: Shop) -> None:
    shop.settings = {**TokenApi(shop.api).settings, "limits": {"in_flight": 1}}
    issue = shop.api.routed("/token")
    shop.api.route("/token", lambda asked: say({}, 503) if shop.api.calls["/token"] == 1 else issue(asked))
    orders = {"path": "/orders", "records": "data", "params": {"n": 1}}

    outcome = shop.extract({"first": orders, "second": orders})

    assert (outcome.error("first").kind, outcome.extractions["second"].error) == ("HttpError", None)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(say({"error": "invalid_client"}, 401), id="refused"),
        pytest.param(say({"error": "invalid_client"}), id="no-token"),
        pytest.param(Answer(302, headers={"Location": "http://localhost:1/token"}), id="redirected"),
    ],
)
def test_a04_a_token_endpoint_that_refuses_is_an_auth_error_without_the_secret(shop: Shop, answer: Answer) -> None:
    shop.settings = TokenApi(shop.api).settings
    shop.api.answer("/token", answer)

    error = shop.one().error("orders")

    assert (error.kind, shop.api.calls["/token"], shop.api.calls["/orders"]) == ("AuthError", 1, 0)
    assert CANARY not in str(error)


def test_a_rule_may_say_that_the_token_has_ended(shop: Shop) -> None:
    tokens = TokenApi(shop.api)
    shop.settings = {**tokens.settings, "limits": {"in_flight": 1}}
    orders = [say({"data": [{"id": 1}], "next": "?p=2"}), say({"error": "expired"}), say({"data": [{"id": 2}]})]
    shop.api.answer("/orders", *orders)

    outcome = shop.one(paginate="next_url", errors=[{"when": "error == 'expired'", "do": "refresh_token"}])

    assert len(outcome.rows("orders")) == 2
    assert tokens.issued == 2
