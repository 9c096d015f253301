"""Credentials go where they belong, and nowhere else."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.errors import OriginError
from pipelines.extract.connection import Connection
from pipelines.extract.origins import Origins
from tests.extract.conftest import Shop
from tests.fake_api import Answer, FakeApi, fake_api, say

CANARY = "c4nary-s3cret"

KINDS = [
    pytest.param({"auth": {"bearer": CANARY}}, id="bearer"),
    pytest.param({"auth": {"basic": {"user": "u", "password": CANARY}}}, id="basic"),
    pytest.param({"auth": {"api_key": {"header": "X-Key", "value": CANARY}}}, id="header"),
    pytest.param({"auth": {"api_key": {"param": "key", "value": CANARY}}}, id="query"),
    pytest.param({"headers": {"X-Common": CANARY}, "params": {"k": CANARY}}, id="common"),
]


@pytest.fixture
def elsewhere() -> Iterator[FakeApi]:
    """Another origin: `localhost` instead of `127.0.0.1`."""
    with fake_api("localhost") as running:
        running.answer("/orders", say({"data": [{"id": 3}], "next": None}))
        yield running


@pytest.mark.parametrize(
    ("auth", "header", "param"),
    [
        pytest.param({"bearer": "t"}, ("authorization", "Bearer t"), None, id="bearer"),
        pytest.param(
            {"basic": {"user": "ü", "password": "p:w"}},
            ("authorization", "Basic " + base64.b64encode("ü:p:w".encode()).decode()),
            None,
            id="basic",
        ),
        pytest.param({"api_key": {"header": "X-Key", "value": "k"}}, ("x-key", "k"), None, id="key-in-a-header"),
        pytest.param({"api_key": {"param": "key", "value": "k&="}}, None, ("key", "k&="), id="key-in-the-query"),
    ],
)
def test_each_kind_of_auth_reaches_the_api_on_every_page(shop: Shop, auth: Any, header: Any, param: Any) -> None:
    shop.settings = {"auth": auth}
    shop.api.pages("/orders", records=20, page_size=10)

    shop.one(paginate="next_url", params={"per_page": 10})

    assert len(shop.api.asked) == 2
    for asked in shop.api.asked:
        assert header is None or asked.headers[header[0]] == header[1]
        assert param is None or asked.params[param[0]] == param[1]


@pytest.mark.parametrize("settings", KINDS)
def test_a01_a_next_link_elsewhere_is_refused_before_any_packet(shop: Shop, elsewhere: FakeApi, settings: Any) -> None:
    shop.settings = settings
    shop.api.answer("/orders", say({"data": [{"id": 1}], "next": f"{elsewhere.url}/orders"}))

    error = shop.one(paginate="next_url").error("orders")

    assert error.kind == "OriginError"
    assert elsewhere.connections == 0
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    "link",
    [
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "ftp://{there}/x",
        "//{there}/x",
        "http://user@{here}/orders",
        "http://{here}@{there}/x",
    ],
)
def test_a01_links_of_every_form_are_refused(shop: Shop, elsewhere: FakeApi, link: str) -> None:
    """No connection leaves; a user name is refused even for the API's own origin."""
    next_link = link.format(here=f"127.0.0.1:{shop.api.port}", there=f"localhost:{elsewhere.port}")
    shop.api.answer("/orders", say({"data": [{"id": 1}], "next": next_link}))

    error = shop.one(paginate="next_url").error("orders")

    assert (error.kind, len(shop.api.asked), elsewhere.connections) == ("OriginError", 1, 0)


@pytest.mark.parametrize("settings", KINDS)
def test_a01_an_allowed_origin_is_asked_without_credentials(shop: Shop, elsewhere: FakeApi, settings: Any) -> None:
    shop.settings = {**settings, "allow_hosts": [elsewhere.url]}
    shop.api.answer("/orders", say({"data": [{"id": 1}], "next": f"{elsewhere.url}/orders"}))

    outcome = shop.one(paginate="next_url")

    (asked,) = elsewhere.asked
    assert len(outcome.rows("orders")) == 2
    assert CANARY not in repr(asked)
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("trusted", [False, True])
def test_a01_headers_of_a_resource_go_where_credentials_go(shop: Shop, elsewhere: FakeApi, *, trusted: bool) -> None:
    """But for the format that is wanted, which is no secret; by a link, and for a count."""
    shop.settings = {"allow_hosts": [{"origin": elsewhere.url, "with_credentials": trusted}]}
    shop.api.answer("/orders", say({"data": [{"id": 1}], "next": f"{elsewhere.url}/orders"}))
    elsewhere.answer("/count", say({"count": 2}))
    headers = {"Authorization": f"Bearer {CANARY}", "Accept": "application/vnd.shop+json"}

    outcome = shop.one(paginate="next_url", headers=headers, count={"path": f"{elsewhere.url}/count"})

    assert len(outcome.rows("orders")) == 2
    assert {asked.path: CANARY in repr(asked) for asked in elsewhere.asked} == {"/orders": trusted, "/count": trusted}
    assert {asked.headers["accept"] for asked in elsewhere.asked} == {"application/vnd.shop+json"}


def test_a01_the_token_of_a_page_goes_to_an_allowed_origin_in_its_header(shop: Shop, elsewhere: FakeApi) -> None:
    shop.settings = {"headers": {"X-Key": CANARY}, "allow_hosts": [elsewhere.url]}
    elsewhere.answer("/orders", say({"data": [{"id": 1}], "after": "p-2"}), say({"data": [{"id": 2}]}))
    cursor = {"cursor": {"from": "after", "header": "X-After"}}

    outcome = shop.one(path=f"{elsewhere.url}/orders", paginate=cursor)

    assert len(outcome.rows("orders")) == 2
    assert [asked.headers.get("x-after") for asked in elsewhere.asked] == [None, "p-2"]
    assert CANARY not in repr(elsewhere.asked)


def test_a01_no_body_goes_to_an_origin_that_sees_no_credentials(shop: Shop, elsewhere: FakeApi) -> None:
    shop.settings = {"allow_hosts": [elsewhere.url]}
    shop.api.answer("/orders", say({"data": [{"id": 1}], "next": f"{elsewhere.url}/orders"}))

    error = shop.one(paginate="next_url", body={"key": CANARY}, idempotent=True).error("orders")

    assert (error.kind, elsewhere.connections) == ("OriginError", 0)
    assert CANARY not in str(error)


@pytest.mark.parametrize(
    "question",
    [
        pytest.param({}, id="headers"),
        pytest.param({"body": {"q": "all"}}, id="body"),
        pytest.param({"graphql": {"query": "all"}}, id="graphql"),
    ],
)
def test_a01_what_a_resource_says_goes_where_its_own_path_leads(
    shop: Shop, elsewhere: FakeApi, question: dict[str, Any]
) -> None:
    """But no credentials, which are for base_url."""
    common = {"auth": {"bearer": CANARY}, "headers": {"X-Common": CANARY}, "params": {"k": CANARY}}
    shop.settings = {**common, "allow_hosts": [elsewhere.url]}
    elsewhere.answer("/count", say({"count": 1}))
    count = {"path": f"{elsewhere.url}/count"}

    outcome = shop.one(path=f"{elsewhere.url}/orders", headers={"X-Key": "own"}, count=count, **question)

    told = [(asked.path, asked.headers.get("x-key"), b"all" in asked.body) for asked in elsewhere.asked]
    assert len(outcome.rows("orders")) == 1
    assert told == [("/orders", "own", bool(question)), ("/count", "own", bool(question))]
    assert CANARY not in repr(elsewhere.asked)


def test_a01_what_goes_where_the_path_leads_follows_no_link_to_another_origin(shop: Shop, elsewhere: FakeApi) -> None:
    """The other origin gives a link to a third one, which is allowed as well."""
    with fake_api("localhost") as third:
        third.answer("/orders", say({"data": [{"id": 2}]}))
        elsewhere.answer("/orders", say({"data": [{"id": 1}], "next": f"{third.url}/orders"}))
        shop.settings = {"allow_hosts": [elsewhere.url, third.url]}
        asked = {"path": f"{elsewhere.url}/orders", "paginate": "next_url"}

        outcome = shop.one(**asked, headers={"X-Key": CANARY})
        error = shop.one(**asked, body={"key": CANARY}, idempotent=True).error("orders")

        assert (len(outcome.rows("orders")), len(third.asked)) == (2, 1)
        assert CANARY not in repr(third.asked)
        assert error.kind == "OriginError"


def test_a01_an_origin_that_a_placeholder_names_is_not_named_by_the_file(shop: Shop, elsewhere: FakeApi) -> None:
    shop.settings = {"allow_hosts": [elsewhere.url]}
    hosts = {"values": {"host": [elsewhere.url.removeprefix("http://")]}}

    outcome = shop.one(path="http://{host}/orders", for_each=hosts, headers={"X-Key": CANARY})

    assert (len(outcome.rows("orders")), len(elsewhere.asked)) == (1, 1)
    assert CANARY not in repr(elsewhere.asked)


def test_a02_a_base_url_that_redirects_elsewhere_is_refused(shop: Shop, elsewhere: FakeApi) -> None:
    shop.api.answer("/", Answer(302, headers={"Location": elsewhere.url}))

    error = shop.one(path="").error("orders")

    assert (error.kind, elsewhere.connections) == ("RedirectRefused", 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("settings", KINDS)
def test_a02_a_redirect_elsewhere_is_refused(
    shop: Shop, elsewhere: FakeApi, settings: Any, method: str, status: int
) -> None:
    shop.settings = settings
    shop.api.answer("/orders", Answer(status, headers={"Location": f"{elsewhere.url}/orders"}))

    error = shop.one(method=method, **({"body": {"secret": CANARY}} if method == "POST" else {})).error("orders")

    assert (error.kind, elsewhere.connections) == ("RedirectRefused", 0)
    assert CANARY not in str(error)


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("settings", KINDS)
def test_a02_a_redirect_to_an_allowed_origin_is_followed_with_what_a_link_there_would_have(
    shop: Shop, elsewhere: FakeApi, settings: Any, *, trusted: bool
) -> None:
    shop.settings = {**settings, "allow_hosts": [{"origin": elsewhere.url, "with_credentials": trusted}]}
    shop.api.answer("/orders", Answer(302, headers={"Location": f"{elsewhere.url}/orders?signed=1"}))

    outcome = shop.one()

    (asked,) = elsewhere.asked
    shown = CANARY in repr(asked) or asked.headers.get("authorization", "").startswith("Basic")
    assert len(outcome.rows("orders")) == 1
    assert (asked.params["signed"], shown) == ("1", trusted)


@pytest.mark.parametrize("status", [307, 308])
def test_a02_no_body_is_redirected_to_an_origin_that_sees_no_credentials(
    shop: Shop, elsewhere: FakeApi, status: int
) -> None:
    shop.settings = {"allow_hosts": [elsewhere.url]}
    shop.api.answer("/orders", Answer(status, headers={"Location": f"{elsewhere.url}/orders"}))

    error = shop.one(body={"secret": CANARY}, idempotent=True).error("orders")

    assert (error.kind, elsewhere.connections) == ("OriginError", 0)
    assert CANARY not in str(error)


def test_a02_a_redirect_within_the_origin_is_followed_but_not_for_ever(shop: Shop) -> None:
    shop.settings = {"auth": {"bearer": CANARY}}
    shop.api.answer("/orders", Answer(307, headers={"Location": "/v2/orders?a=1"}))
    shop.api.answer("/v2/orders", say({"data": [{"id": 1}]}))
    shop.api.answer("/loop", Answer(302, headers={"Location": "/loop"}))

    outcome = shop.extract({"orders": {"path": "/orders", "records": "data"}, "loop": {"path": "/loop"}})

    assert len(outcome.rows("orders")) == 1
    assert shop.api.asked[-1].headers["authorization"] == f"Bearer {CANARY}"
    assert outcome.error("loop").kind == "RedirectRefused"
    assert shop.api.calls["/loop"] == 6


def test_a04_refused_credentials_are_an_auth_error_after_one_request(shop: Shop) -> None:
    shop.settings = {"auth": {"bearer": CANARY}}
    shop.api.answer("/orders", say({"message": "bad token"}, 401))

    error = shop.one().error("orders")

    assert (error.kind, shop.api.calls["/orders"]) == ("AuthError", 1)
    assert "bad token" in error.message
    assert CANARY not in str(error)


def test_a05_netrc_is_not_used(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login u password {CANARY}\ndefault login u password {CANARY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    shop.api.answer("/orders", say({"data": []}))

    shop.one()

    assert "authorization" not in shop.api.asked[0].headers


def test_a06_a_proxy_of_the_environment_is_not_used(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_api() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        shop.api.answer("/orders", say({"data": [{"id": 1}]}))

        assert len(shop.one().rows("orders")) == 1
        assert proxy.connections == 0


def test_cookies_are_not_sent_back(shop: Shop) -> None:
    shop.api.pages("/orders", records=20, page_size=10)
    whole = shop.api.routed("/orders")
    shop.api.route("/orders", lambda asked: Answer(200, whole(asked).body, {"Set-Cookie": f"session={CANARY}"}))

    shop.one(paginate="next_url")

    assert len(shop.api.asked) == 2
    assert all("cookie" not in asked.headers for asked in shop.api.asked)


def test_a_value_with_line_breaks_goes_encoded_into_the_query(shop: Shop) -> None:
    shop.api.answer("/orders", say({"data": []}))

    shop.one(params={"since": "a\r\nX-Evil: y"})

    assert shop.api.asked[0].params["since"] == "a\r\nX-Evil: y"
    assert "x-evil" not in shop.api.asked[0].headers


@pytest.mark.parametrize("value", ["c4nary\ns3cret", "c4nary€"], ids=["line-break", "not-latin-1"])
def test_s22_a_header_that_cannot_be_sent_is_an_error_without_its_value(shop: Shop, value: str) -> None:
    """As a parent's field may give it."""
    error = shop.one(headers={"X-Of": "{of}"}, for_each={"values": {"of": [value]}}).error("orders")

    assert (error.kind, error.message) == ("HttpError", f"GET {shop.api.url}/orders: a header cannot be sent")
    assert "c4nary" not in "".join(traceback.format_exception(error))
    assert shop.api.asked == []


def test_a_mapped_origin_is_asked_at_its_stand_in_and_links_of_both_forms_are_followed(shop: Shop) -> None:
    live = "https://api.live.example"
    shop.origin_map = {live: shop.api.url}
    shop.settings = {"base_url": f"{live}/v1", "auth": {"bearer": CANARY}}
    links = {"1": f"{live}/v1/orders?page=2", "2": f"{shop.api.url}/v1/orders?page=3", "3": None}
    shop.api.route(
        "/v1/orders",
        lambda asked: say({"data": [{"id": asked.params.get("page")}], "next": links[asked.params.get("page", "1")]}),
    )

    outcome = shop.one(paginate="next_url")

    assert len(outcome.rows("orders")) == 3
    assert all(asked.headers["authorization"] == f"Bearer {CANARY}" for asked in shop.api.asked)


def test_https_never_becomes_http() -> None:
    origins = Origins("https://api.example", {})

    with pytest.raises(OriginError):
        origins.configured("http://api.example/next")


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "https://user:pass@api.example"},
        {"base_url": "ftp://api.example"},
        {"base_url": "https://api.example?key=1"},
        {"headers": {"X-A": "a\r\nX-B: b"}},
        {"verify": False},
    ],
)
def test_a_connection_that_would_leak_is_refused(settings: Any) -> None:
    with pytest.raises(ValidationError):
        Connection.model_validate({"base_url": "https://api.example", **settings})
