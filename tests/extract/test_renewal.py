"""Tokens that end: refresh tokens that rotate, logins, and where both may be seen."""

from __future__ import annotations

import fcntl
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson
import pytest

from pipelines.errors import AuthError, Interrupted, PipelineError, Timeout
from pipelines.extract.client import Client
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.request import Request
from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, FakeApi, say


class Issuer:
    """A token endpoint whose refresh tokens are good for one use each."""

    def __init__(self, api: FakeApi) -> None:
        self.refresh, self.access, self.count = "refresh-number-0", "", 0
        self.forms: list[dict[str, str]] = []
        api.route("/token", self._give)
        api.route("/orders", self._orders)

    def _give(self, asked: Asked) -> Answer:
        form = dict(parse_qsl(asked.body.decode()))
        self.forms.append(form)
        if form["refresh_token"] != self.refresh:
            return say({"error": "invalid_grant"}, 400)
        self.count += 1
        self.refresh, self.access = f"refresh-number-{self.count}", f"access-number-{self.count}"
        return say({"access_token": self.access, "refresh_token": self.refresh, "expires_in": 3600})

    def _orders(self, asked: Asked) -> Answer:
        if asked.headers.get("authorization") != f"Bearer {self.access}":
            return say({"message": f"bad {asked.headers.get('authorization')}"}, 401)
        return say({"data": [{"id": 1}]})


def client(shop: Shop, path: Path | None, secrets: list[str] | None = None, **auth: Any) -> Client:
    told = {"token_url": f"{shop.api.url}/token", "client_id": "c", "refresh_token": "refresh-number-0", **auth}
    shop.settings = {**shop.settings, "auth": {"oauth2_refresh_token": told}}
    return Client(shop.connection(), keepsake=path, conceal=(secrets if secrets is not None else []).append)


def fetch(client: Client, shop: Shop, stop: threading.Event | None = None) -> int:
    orders = Endpoint(path="/orders", records="data")
    try:
        return client.fetch(Request("GET", f"{shop.api.url}/orders"), orders, stop=stop).count
    finally:
        client.close()


def test_a_rotated_refresh_token_is_kept_for_the_next_run_where_only_its_owner_reads_it(shop: Shop) -> None:
    """Each is good for one use; three runs, and the file names no access token."""
    issuer, path = Issuer(shop.api), shop.folder / "auth" / "shop.json"
    secrets: list[str] = []

    counts = [fetch(client(shop, path, secrets, client_secret="hush"), shop) for _ in range(3)]

    assert counts == [1, 1, 1]
    assert [form["refresh_token"] for form in issuer.forms] == [f"refresh-number-{number}" for number in range(3)]
    assert orjson.loads(path.read_bytes())["refresh_token"] == "refresh-number-3"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert b"access-number" not in path.read_bytes()
    assert b"refresh-number-0" not in path.read_bytes()
    assert {"access-number-3", "refresh-number-3"} <= set(secrets)


def test_who_renews_later_uses_the_token_that_another_process_got_meanwhile(shop: Shop) -> None:
    """A run and a look at the same source: both have begun before one of them renews."""
    issuer, path = Issuer(shop.api), shop.folder / "auth" / "shop.json"
    run, look = client(shop, path), client(shop, path)

    counts = [fetch(look, shop), fetch(run, shop)]

    assert counts == [1, 1]
    assert [form["refresh_token"] for form in issuer.forms] == ["refresh-number-0", "refresh-number-1"]


@contextmanager
def renewed_by_another(path: Path) -> Iterator[None]:
    """Within the block a process that never answers is renewing the token."""
    path.parent.mkdir(parents=True)
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.parametrize(("total", "kind"), [("300s", Interrupted), ("100ms", Timeout)])
def test_k04_who_waits_for_a_token_that_another_process_renews_can_be_stopped(
    shop: Shop, total: str, kind: type[PipelineError]
) -> None:
    """At once where the run is asked to, or when the time for an answer is over."""
    issuer, path, stop = Issuer(shop.api), shop.folder / "auth" / "shop.json", threading.Event()
    shop.settings = {"timeout": {"total": total}}
    run = client(shop, path)

    with ThreadPoolExecutor() as threads, renewed_by_another(path):
        waiting = threads.submit(fetch, run, shop, stop)
        if kind is Interrupted:
            stop.set()
        error = waiting.exception(timeout=10)

    assert type(error) is kind
    assert issuer.forms == []


def test_another_refresh_token_in_the_configuration_goes_before_the_one_that_was_kept(shop: Shop) -> None:
    issuer, path = Issuer(shop.api), shop.folder / "shop.json"
    fetch(client(shop, path), shop)
    issuer.refresh = "a-fresh-consent"

    count = fetch(client(shop, path, refresh_token="a-fresh-consent"), shop)

    assert count == 1
    assert issuer.forms[-1]["refresh_token"] == "a-fresh-consent"


def test_a07_no_token_is_in_an_error_or_a_log(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The second run has only the first token, which was used up."""
    Issuer(shop.api)
    caplog.set_level(logging.DEBUG)
    fetch(client(shop, None), shop)

    with pytest.raises(AuthError) as refused:
        fetch(client(shop, None), shop)

    assert "/token: no token, but 400" in refused.value.message
    assert "number" not in str(refused.value) + caplog.text


@pytest.mark.parametrize(
    ("auth", "answer", "carried"),
    [
        pytest.param(
            {"login": "/login", "body": {"user": "u", "password": "p"}, "token": "data.token"},
            say({"data": {"token": "t-1"}}),
            ("authorization", "Bearer t-1"),
            id="token",
        ),
        pytest.param(
            {"login": "/login", "form": {"user": "u"}, "token": "key", "header": "X-Session", "prefix": ""},
            say({"key": "k-1"}),
            ("x-session", "k-1"),
            id="header",
        ),
        pytest.param(
            {"login": "/login", "body": {"user": "u"}, "cookie": "SID"},
            say({}, headers={"Set-Cookie": "lang=en, SID=s-1; Path=/; HttpOnly"}),
            ("cookie", "SID=s-1"),
            id="cookie",
        ),
        pytest.param(
            {"login": "/login", "body": {"user": "u"}, "cookie": "SID"},
            say({}, headers={"Set-Cookie": ("SID=s-1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Path=/", "lang=en")}),
            ("cookie", "SID=s-1"),
            id="cookies-on-two-lines",
        ),
    ],
)
def test_a_login_gives_what_every_request_carries(
    shop: Shop, auth: dict[str, Any], answer: Answer, carried: tuple[str, str]
) -> None:
    shop.settings = {"auth": {"session": auth}}
    shop.api.answer("/login", answer)
    shop.api.pages("/orders", records=20, page_size=5)

    outcome = shop.one(paginate="next_url")

    assert len(outcome.rows("orders")) == 20
    assert shop.api.calls["/login"] == 1
    assert [asked.headers.get(carried[0]) for asked in shop.api.asked if asked.path == "/orders"] == [carried[1]] * 4


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_session_that_ends_is_begun_again_once(shop: Shop, attempts: int) -> None:
    """However few attempts there are: another token makes it another request."""
    auth = {"session": {"login": "/login", "body": {"user": "u"}, "token": "token"}}
    shop.settings = {"auth": auth, "retry": {"attempts": attempts}}
    shop.api.answer("/login", say({"token": "one"}), say({"token": "two"}))
    good = ["Bearer one"]

    def page(asked: Asked) -> Answer:
        if asked.params.get("page") == "2":
            good[0] = "Bearer two"
        if asked.headers["authorization"] != good[0]:
            return say({"message": "expired"}, 401)
        return say({"data": [{"id": asked.params.get("page", "1")}], "more": asked.params.get("page") != "2"})

    shop.api.route("/orders", page)

    outcome = shop.one(paginate={"has_more": "more"})

    assert len(outcome.rows("orders")) == 2
    assert shop.api.calls == {"/login": 2, "/orders": 3}


def test_of_one_attempt_nothing_but_the_renewal_is_repeated(shop: Shop) -> None:
    """The answer to the new token is a 500: two logins, and no third request for page 2."""
    auth = {"session": {"login": "/login", "body": {"user": "u"}, "token": "token"}}
    shop.settings = {"auth": auth, "retry": {"attempts": 1}}
    shop.api.answer("/login", say({"token": "one"}), say({"token": "two"}))
    first = say({"data": [{"id": 1}], "more": True})
    shop.api.answer("/orders", first, say({"message": "expired"}, 401), say({"message": "down"}, 503))

    error = shop.one(paginate={"has_more": "more"}).error("orders")

    assert (error.kind, "503" in error.message) == ("HttpError", True)
    assert shop.api.calls == {"/login": 2, "/orders": 3}


def test_a04_a_login_that_gives_no_token_is_an_auth_error(shop: Shop) -> None:
    shop.settings = {"auth": {"session": {"login": "/login", "body": {"password": "c4nary"}, "token": "token"}}}
    shop.api.answer("/login", say({"welcome": True}))

    error = shop.one().error("orders")

    assert error.kind == "AuthError"
    assert "no token at 'token'" in error.message
    assert "c4nary" not in str(error)
    assert shop.api.calls == {"/login": 1}
