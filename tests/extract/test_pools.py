"""A connection that is kept asks for the next page as a new one would, and takes its answer as a new one would."""

from __future__ import annotations

import gzip
import http.client
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import PipelineError
from pipelines.extract.client import Client
from pipelines.extract.connection import Connection
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.heads import plain_head
from pipelines.extract.request import Request
from tests.extract.conftest import IMPATIENT
from tests.fake_api import Answer, FakeApi, say

ROWS = b'[{"id": 1}, {"id": 2}]'
PACKED = gzip.compress(ROWS)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Total: 7\r\n"

HINTS = Answer(103, b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", framing="none")
ANSWERS = [
    pytest.param(Answer(200, ROWS), id="whole"),
    pytest.param(Answer(200, b"[" + b" " * 300_000 + b"]"), id="large"),
    pytest.param(Answer(200, b""), id="empty"),
    pytest.param(Answer(200, b"", framing="close"), id="empty-until-closed"),
    pytest.param(Answer(200, PACKED, {"Content-Encoding": "gzip"}), id="gzip"),
    pytest.param(Answer(200, PACKED[:20], {"Content-Encoding": "gzip"}), id="half-a-gzip"),
    pytest.param(Answer(200, ROWS, framing="chunked"), id="chunked"),
    pytest.param(Answer(200, ROWS, framing="chunked", cut=len(ROWS) + 4), id="chunks-cut"),
    pytest.param(Answer(200, ROWS, framing="close"), id="until-closed"),
    pytest.param(Answer(200, ROWS, {"Connection": "close"}), id="last-of-its-connection"),
    pytest.param(Answer(200, ROWS, cut=5), id="cut"),
    pytest.param(Answer(200, ROWS, cut=5, reset=True), id="reset-in-the-body"),
    pytest.param(Answer(reset=True), id="reset"),
    pytest.param(Answer(200, b"[" + b" " * 70_000 + b"]"), id="larger-than-allowed"),
    pytest.param(Answer(200, b"[", framing="close", endless=b" " * 10_000), id="endless"),
    pytest.param(Answer(200, ROWS, delay_s=0.5), id="late"),
    pytest.param(Answer(200, ROWS, drip_s=0.05), id="dripping"),
    pytest.param(Answer(200, ROWS, drip_s=0.01, drip_from="head"), id="dripping-head"),
    pytest.param(Answer(204), id="no-content"),
    pytest.param(Answer(304), id="not-modified"),
    pytest.param(Answer(302, b"", {"Location": "/elsewhere"}), id="redirect"),
    pytest.param(Answer(429, b"", {"Retry-After": "0"}), id="throttled"),
    pytest.param(Answer(503, b"busy"), id="busy"),
    pytest.param(Answer(404, b'{"message": "no"}'), id="not-there"),
    pytest.param(Answer(100, b"", framing="none"), id="go-on"),
    pytest.param(Answer(101, b"", framing="none"), id="another-protocol"),
    pytest.param(Answer(102, b"", framing="none"), id="nothing-after-an-interim-answer"),
    pytest.param(HINTS, id="hints-before"),
    pytest.param(Answer(200, ROWS, {"Link": ("</a>; rel=next", "</b>; rel=last")}), id="a-list-on-two-lines"),
    pytest.param(Answer(200, ROWS, {"X-Total": ("1", "2")}), id="a-value-twice"),
    pytest.param(Answer(200, ROWS, {"X-Note": "\x85 \x0b\x1c \xe4 \t"}), id="odd-bytes"),
    pytest.param(Answer(200, ROWS, {"X-Note": "a\r\n b"}), id="folded"),
    pytest.param(Answer(200, ROWS, {"X Note": "a"}), id="no-name"),
    pytest.param(Answer(200, ROWS, {"X-Long": "a" * 70_000}), id="a-long-line"),
    pytest.param(Answer(200, ROWS, {f"X-{number}": "a" for number in range(99)}), id="a-long-head"),
    pytest.param(Answer(200, ROWS, {f"X-{number}": "a" for number in range(101)}), id="too-many-lines"),
    pytest.param(Answer(200, ROWS, {"Content-Length": ("22", "21")}), id="two-lengths"),
    pytest.param(Answer(200, ROWS, {"Content-Length": ("22", "22")}), id="a-length-twice"),
    pytest.param(Answer(200, ROWS, {"Content-Length": "-1"}, framing="close"), id="a-negative-length"),
    pytest.param(Answer(200, ROWS, {"Content-Length": "2x"}, framing="close"), id="a-length-in-words"),
    pytest.param(Answer(200, ROWS, {"Content-Length": "9" * 30}, cut=5), id="a-length-beyond-all"),
    pytest.param(Answer(200, ROWS, {"Content-Length": "22", "Transfer-Encoding": "chunked"}), id="both-framings"),
]


@contextmanager
def client_of(api: FakeApi, **settings: object) -> Iterator[Client]:
    """A client that is soon done with a bad API."""
    quick = {"connect": "2s", "read": "300ms", "total": "900ms"}
    client = Client(
        Connection.model_validate(
            {
                "base_url": api.url,
                "retry": {**IMPATIENT, "attempts": 1},
                "timeout": quick,
                "max_response": "64KB",
                **settings,
            }
        )
    )
    try:
        yield client
    finally:
        client.close()


def fetched(client: Client, path: str = "/odd", method: str = "GET", body: bytes | None = None) -> object:
    """What comes of one request, in full."""
    url = client.connection.base_url + path
    try:
        page = client.fetch(Request(method, url, body=body), Endpoint(path=path, records="@"))
    except PipelineError as error:
        return type(error), error.message, error.hint
    return page.status, dict(page.headers), page.body


def warm(client: Client, api: FakeApi) -> None:
    """Let *client* keep a connection that has asked before."""
    api.answer("/warm", say([]))
    fetched(client, "/warm")


def test_interim_answers_are_passed_over(api: FakeApi) -> None:
    """What follows them is the answer, and not that of the next request."""
    api.answer("/odd", HINTS)
    with client_of(api) as client:
        assert fetched(client) == (200, {"content-length": "2"}, b"[]")


def test_a_head_that_is_odd_is_logged_by_no_library(api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 would tell the whole query, with the key in it."""
    api.answer("/odd", Answer(200, ROWS, {"X Note": "a"}))
    with client_of(api, params={"key": "c4nary"}) as client:
        fetched(client)

    assert caplog.records == []


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer_ends_on_a_kept_connection_as_on_a_new_one(api: FakeApi, answer: Answer) -> None:
    """Page or error, to the last word; and the request after it gets its own answer."""
    api.answer("/odd", answer)
    api.answer("/elsewhere", say([{"id": 3}]))
    with client_of(api) as new, client_of(api) as kept:
        warm(kept, api)

        outcome = fetched(kept)
        after = fetched(kept, "/warm")

        assert outcome == fetched(new)
    assert after == (200, {"content-type": "application/json", "content-length": "2"}, b"[]")


@pytest.mark.parametrize(
    "target",
    [
        "/a%2fb",
        "/a%2Fb",
        "/%zz",
        "/ä",
        "/a?b=%e4&c=+ /?d",
        "/[1]",
        '/"a"|b',
        "/a//b/../c",
        "/?a=b#c",
        "/a;b=c:d@e!$'()*,",
    ],
)
def test_every_target_is_asked_for_by_a_kept_connection_as_by_a_new_one(api: FakeApi, target: str) -> None:
    api.route_all(lambda asked: say([]))
    with client_of(api) as new, client_of(api) as kept:
        warm(kept, api)

        fetched(kept, target)
        fetched(new, target)

    once, again = api.asked[-2:]
    assert (once.path, once.query, list(once.headers.items())) == (again.path, again.query, list(again.headers.items()))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(st.characters(max_codepoint=0x17F), max_size=12))
def test_no_text_in_a_target_is_sent_differently_by_a_kept_connection(api: FakeApi, text: str) -> None:
    api.route_all(lambda asked: say([]))
    with client_of(api) as new, client_of(api) as kept:
        warm(kept, api)
        asked_before = len(api.asked)

        outcomes = [fetched(client, f"/{text}") for client in (kept, new)]

        asked = [(one.path, one.query) for one in api.asked[asked_before:]]
    assert outcomes[0] == outcomes[1]
    assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]


def test_pages_of_one_connection_cost_no_head_of_http_client(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second page on, with what the first one sent beside its target."""
    api.route_all(lambda asked: say([{"page": asked.params.get("page")}]))
    with client_of(api, headers={"X-Team": "mill"}) as client:
        fetched(client, "/orders?page=1")
        monkeypatch.delattr(http.client.HTTPConnection, "putrequest")
        monkeypatch.delattr(http.client.HTTPConnection, "getresponse")

        pages = [fetched(client, f"/orders?page={number}") for number in (2, 3)]

    assert [page[2] for page in pages] == [b'[{"page": "2"}]', b'[{"page": "3"}]']  # type: ignore[index]
    assert len({tuple(asked.headers.items()) for asked in api.asked}) == 1
    assert (api.asked[0].headers["x-team"], api.connections) == ("mill", 1)


def test_bodies_and_questions_take_turns_on_one_connection(api: FakeApi) -> None:
    """A head is repeated for the same question alone: never that of a POST for a GET, or the other way."""
    api.route_all(lambda asked: say([{"asked": asked.method, "body": asked.body.decode()}]))
    turns = ["GET", "GET", "POST", "POST", "GET", "GET"]
    with client_of(api) as client:
        for number, method in enumerate(turns):
            fetched(client, f"/{number}", method, None if method == "GET" else b'{"a": 1}')

    assert [(one.method, one.path, one.body) for one in api.asked] == [
        (method, f"/{number}", b"" if method == "GET" else b'{"a": 1}') for number, method in enumerate(turns)
    ]
    assert [one.headers.get("content-length", "") for one in api.asked] == ["", "", "8", "8", "", ""]
    assert api.connections == 1


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(HEAD, id="not-all-of-it"),
        pytest.param(HEAD.replace(b"1.1", b"1.0") + b"\r\n", id="http-1.0"),
        pytest.param(HEAD.replace(b"200", b"206") + b"\r\n", id="a-part"),
        pytest.param(HEAD + b"Connection: close\r\n\r\n", id="closes"),
        pytest.param(HEAD + b"content-length: 3\r\n\r\n", id="two-lengths"),
        pytest.param(HEAD + b"Transfer-Encoding: identity\r\n\r\n", id="encoded"),
        pytest.param(HEAD + b" more\r\n\r\n", id="folded"),
        pytest.param(HEAD.replace(b": 2", b": 2\xb2") + b"\r\n", id="no-digit"),
        pytest.param(HEAD.replace(b": 2", b": +2") + b"\r\n", id="signed"),
        pytest.param(HEAD.replace(b"\r\n", b"\n") + b"\n", id="bare-line-ends"),
    ],
)
def test_a_head_that_leaves_anything_to_decide_is_not_plain(start: bytes) -> None:
    assert plain_head(start) is None


def test_a_plain_head_is_told_with_its_size() -> None:
    head = HEAD + b"Connection: Keep-Alive\r\nX-Note:  a b \r\n\r\n"

    found = plain_head(head + b"[]")

    assert found == (
        {"content-length": "2", "x-total": "7", "connection": "Keep-Alive", "x-note": "a b "},
        len(head),
    )
