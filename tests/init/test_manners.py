"""`init` asks little, waits when told to, and keeps secrets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.errors import AuthError, ConfigError, RateLimited
from pipelines.init.drafting import summary
from pipelines.init.prober import Prober
from pipelines.init.subject import subject_of
from tests.fake_api import Answer, FakeApi, say
from tests.init.apis import Listing, drafted, ids, link_header, orders, page_number, run_draft

_TOKEN = "sesame-open-7341"


@pytest.mark.parametrize(
    ("header", "sent", "auth"),
    [
        pytest.param(
            "Authorization: Bearer ${T}", {"Authorization": f"Bearer {_TOKEN}"}, 'auth: {bearer: "${T}"}', id="bearer"
        ),
        pytest.param("X-API-Key: ${T}", {"X-API-Key": _TOKEN}, 'api_key: {header: X-API-Key, value: "${T}"}', id="key"),
    ],
)
def test_a_secret_is_asked_with_and_written_by_its_name_only(
    api: FakeApi, tmp_path: Path, header: str, sent: dict[str, str], auth: str
) -> None:
    api.route("/v1/orders", Listing(api, orders(30), link_header, headers=sent))

    written = drafted(f"{api.url}/v1/orders", headers=[header], env={"T": _TOKEN})
    report = run_draft(written, tmp_path, T=_TOKEN)

    assert auth in written.text
    assert _TOKEN not in written.text + summary(written, 20)
    assert report.problems == []
    assert ids(tmp_path) == list(range(1, 31))


@pytest.mark.parametrize(
    ("param", "name"),
    [
        ("api_key", "SHOP_API_KEY"),
        ("accessToken", "SHOP_ACCESSTOKEN"),
        ("sig", "SHOP_SIG"),
        ("hapikey", "SHOP_HAPIKEY"),
    ],
)
def test_a_secret_given_literally_becomes_a_reference_to_set(api: FakeApi, param: str, name: str) -> None:
    api.answer("/v1/orders", say([{"id": 1, "seen": f"hello {_TOKEN}"}]))

    written = drafted(f"{api.url}/v1/orders?{param}={_TOKEN}")

    assert api.asked[0].params[param] == _TOKEN
    assert written.to_set == (name,)
    assert f"${{{name}}}" in written.text
    assert _TOKEN not in written.text + summary(written, 20)


def test_a_secret_given_as_a_default_becomes_a_reference_to_set(api: FakeApi, tmp_path: Path) -> None:
    """A default that may be seen stays."""
    api.route("/v1/orders", Listing(api, orders(5), link_header, headers={"X-API-Key": _TOKEN}))
    url = f"{api.url}/v1/orders?from=${{FROM:-2024-01-01}}"

    written = drafted(url, headers=[f"X-API-Key: ${{T:-{_TOKEN}}}"])

    assert written.to_set == ("T",)
    assert 'api_key: {header: X-API-Key, value: "${T}"}' in written.text
    assert 'params: {from: "${FROM:-2024-01-01}"}' in written.text
    assert _TOKEN not in written.text + summary(written, 20)
    assert run_draft(written, tmp_path, T=_TOKEN).problems == []


def test_no_more_is_asked_than_allowed_and_the_file_is_still_valid(api: FakeApi, tmp_path: Path) -> None:
    """Three requests: the records are found, pages are not, and the summary says so."""
    api.route("/v1/orders", Listing(api, orders(57), page_number(1)))

    written = drafted(f"{api.url}/v1/orders", most=3)

    assert api.calls["/v1/orders"] == len(written.asked) == 3
    assert "raise --max-requests" in summary(written, 3)
    assert run_draft(written, tmp_path).problems == []


def test_every_request_says_what_it_was_for(api: FakeApi) -> None:
    api.route("/v1/orders", Listing(api, orders(57), link_header))

    told = summary(drafted(f"{api.url}/v1/orders"), 20)

    assert re.search(r"^\d+ of at most 20 requests:$", told, re.MULTILINE)
    assert "  1. 200  as given: where are the records?" in told
    assert "per_page=1000: does the server cap the page size?" in told


def test_requests_come_one_at_a_time_and_say_who_asks(api: FakeApi) -> None:
    api.route("/v1/orders", Listing(api, orders(57), page_number(1)))

    drafted(f"{api.url}/v1/orders")

    assert api.most_running == 1
    assert {asked.headers["user-agent"].partition("/")[0] for asked in api.asked} == {"threadmill"}


def test_retry_after_is_waited_for(api: FakeApi) -> None:
    waits: list[float] = []
    api.answer("/v1/orders", Answer(429, headers={"Retry-After": "7"}), say([{"id": 1}]))
    subject = subject_of(f"{api.url}/v1/orders", env={})

    with Prober(subject, pause=waits.append) as prober:
        page = prober.ask(subject.request, "as given", "why")

    assert (page.status, waits, len(prober.asked)) == (200, [7.0], 2)


def test_a_wait_that_is_too_long_is_refused(api: FakeApi) -> None:
    api.answer("/v1/orders", Answer(429, headers={"Retry-After": "7200"}))

    with pytest.raises(RateLimited, match=r"asks to wait 7,200 s"):
        drafted(f"{api.url}/v1/orders")


def test_a_refusal_of_the_first_request_asks_for_credentials(api: FakeApi) -> None:
    api.answer("/v1/orders", say({"message": "who are you?"}, 401))

    with pytest.raises(AuthError, match=r"who are you") as refused:
        drafted(f"{api.url}/v1/orders")

    assert "--header" in refused.value.hint


def test_a_variable_that_is_not_set_is_named(api: FakeApi) -> None:
    with pytest.raises(ConfigError, match=r"\$\{NOWHERE\} is not set"):
        drafted(f"{api.url}/v1/orders", headers=["Authorization: Bearer ${NOWHERE}"])

    assert api.asked == []


def test_a_next_link_to_another_host_is_not_followed(api: FakeApi) -> None:
    api.answer("/v1/orders", say({"data": [{"id": 1}, {"id": 2}], "next": "http://evil.example/v1/orders?page=2"}))

    written = drafted(f"{api.url}/v1/orders")

    assert any("evil.example" in question and "allow_hosts" in question for question in written.questions)
