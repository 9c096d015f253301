"""Resources fetched side by side: order, resume, limits, failures."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, say


@pytest.mark.parametrize(
    ("style", "paginate", "verdict"),
    [
        pytest.param("next_url", "next_url", "unproved", id="next-url"),
        pytest.param("link_header", "link_header", "unproved", id="link-header"),
        pytest.param("page_number", "page_number", "unproved", id="page-number"),
        pytest.param("page_number", {"page_number": {"total": "total"}}, "complete", id="page-number-total"),
        pytest.param("page_number", {"total_pages": "pages"}, "complete", id="total-pages"),
        pytest.param("offset", {"offset": {"total": "total"}}, "complete", id="offset-total"),
        pytest.param("offset", "offset", "unproved", id="offset"),
    ],
)
def test_every_record_arrives_once_and_in_order(shop: Shop, style: str, paginate: Any, verdict: str) -> None:
    """100 records behind 15 pages."""
    shop.api.pages("/orders", records=100, page_size=7, style=style)

    outcome = shop.one(paginate=paginate)

    assert [row["id"] for row in outcome.rows("orders")] == list(range(100))
    assert [page.order[-1] for page in outcome.pages["orders"]] == list(range(15))
    assert outcome.extractions["orders"].verdict == verdict, outcome.extractions["orders"].evidence


def test_links_on_several_lines_are_one_list(shop: Shop) -> None:
    """`next` on a line of its own, before `last`."""
    shop.api.pages("/orders", records=35, page_size=10, style="link_header")
    whole = shop.api.routed("/orders")

    def page(asked: Asked) -> Answer:
        answer = whole(asked)
        following = [link for link in answer.headers.values() if isinstance(link, str)]
        return replace(answer, headers={"Link": (*following, f'<{shop.api.url}/orders?page=4>; rel="last"')})

    shop.api.route("/orders", page)

    outcome = shop.one(paginate="link_header")

    assert [row["id"] for row in outcome.rows("orders")] == list(range(35))


def test_addressable_pages_are_fetched_side_by_side(shop: Shop) -> None:
    shop.settings = {"limits": {"in_flight": 8}}
    shop.api.pages("/orders", records=170, page_size=10, style="page_number")
    whole = shop.api.routed("/orders")
    shop.api.route("/orders", lambda asked: Answer(200, whole(asked).body, delay_s=0.05))

    outcome = shop.one(paginate={"page_number": {"total": "total"}})

    assert (shop.api.most_running, shop.api.calls["/orders"]) == (8, 17)
    assert [row["id"] for row in outcome.rows("orders")] == list(range(170))


def test_no_more_requests_run_at_once_than_the_limit(shop: Shop) -> None:
    shop.settings = {"limits": {"in_flight": 2}}
    shop.api.route("/orders", lambda asked: say({"data": [{"id": 1}]}, delay_s=0.01))

    shop.one(for_each={"values": {"n": list(range(20))}}, params={"n": "{n}"})

    assert shop.api.most_running == 2


def test_a_rate_spreads_the_requests(shop: Shop) -> None:
    """Of 15 requests at 10 a second, the last five come when the first second is over."""
    shop.settings = {"limits": {"rate": "10/s", "in_flight": 8}}
    shop.api.route("/orders", lambda asked: say({"data": [{"id": 1}]}))
    began = time.monotonic()

    shop.one(for_each={"values": {"n": list(range(15))}}, params={"n": "{n}"})

    times = sorted(shop.api.times("/orders"))
    assert len(times) == 15
    assert times[10] - began >= 1.0


def test_an_extraction_cut_short_resumes_at_the_page_after_the_last(shop: Shop) -> None:
    """Four of ten pages came; the next run asks for the other six, with the same clock."""
    shop.api.pages("/orders", records=100, page_size=10)
    whole = shop.api.routed("/orders")
    shop.api.route("/orders", lambda asked: Answer(500) if asked.params.get("page") == "5" else whole(asked))
    assert shop.one(paginate="next_url").error("orders").kind == "HttpError"
    shop.api.route("/orders", whole)
    shop.api.calls.clear()

    outcome = shop.one(paginate="next_url")

    assert (shop.api.calls["/orders"], outcome.extractions["orders"].from_spool) == (6, 4)
    assert [row["id"] for row in outcome.rows("orders")] == list(range(100))


def test_another_configuration_does_not_take_pages_of_the_old_one(shop: Shop) -> None:
    shop.api.pages("/orders", records=20, page_size=10)
    endpoint = {"orders": {"path": "/orders", "records": "data", "paginate": "next_url"}}
    shop.extract(endpoint, plan="old")

    outcome = shop.extract(endpoint, plan="new")

    assert (outcome.extractions["orders"].from_spool, shop.api.calls["/orders"]) == (0, 4)


def test_a_torn_page_in_the_spool_is_asked_for_again(shop: Shop) -> None:
    shop.api.pages("/orders", records=50, page_size=10)
    shop.one(paginate="next_url")
    file = shop.folder / "spool" / "orders.pages"
    file.write_bytes(file.read_bytes()[:-7])
    shop.api.calls.clear()

    outcome = shop.one(paginate="next_url")

    assert shop.api.calls["/orders"] == 1
    assert [row["id"] for row in outcome.rows("orders")] == list(range(50))


def test_a_masked_page_reaches_the_spool_masked_only(shop: Shop, tmp_path: Path) -> None:
    shop.api.answer("/orders", say({"data": [{"id": 1, "email": "a@b.example"}]}))
    shop.masks = {"orders": lambda body: body.replace(b"a@b.example", b"***")}

    outcome = shop.one()

    assert outcome.rows("orders") == [{"id": 1, "email": "***"}]
    assert b"a@b.example" not in (tmp_path / "spool" / "orders.pages").read_bytes()


def test_a_full_disk_fails_the_resource_and_keeps_the_spool_readable(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.api.pages("/orders", records=30, page_size=10)

    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwritev", full)
        assert shop.one(paginate="next_url").error("orders").kind == "StoreError"

    assert len(shop.one(paginate="next_url").rows("orders")) == 30


def test_a_resource_that_fails_fails_alone(shop: Shop) -> None:
    shop.api.pages("/orders", records=20, page_size=10)
    shop.api.answer("/broken", say({"oops": 1}))

    outcome = shop.extract(
        {
            "broken": {"path": "/broken", "records": "data"},
            "orders": {"path": "/orders", "records": "data", "paginate": "next_url"},
        }
    )

    assert outcome.error("broken").kind == "RecordsMissing"
    assert outcome.extractions["broken"].verdict == "incomplete"
    assert len(outcome.rows("orders")) == 20


def test_a_defect_with_one_resource_fails_it_alone(shop: Shop) -> None:
    """A mask that nobody foresaw to fail: the other resource is whole."""
    shop.api.pages("/orders", records=20, page_size=10)
    shop.api.answer("/broken", say({"data": [{"id": 1}]}))

    def broken(body: bytes) -> bytes:
        raise ZeroDivisionError("in the mask")

    shop.masks = {"broken": broken}

    outcome = shop.extract(
        {
            "broken": {"path": "/broken", "records": "data"},
            "orders": {"path": "/orders", "records": "data", "paginate": "next_url"},
        }
    )

    assert outcome.error("broken").kind == "Defect"
    assert "shop.broken: ZeroDivisionError: in the mask" in outcome.error("broken").message
    assert len(outcome.rows("orders")) == 20


def test_one_slow_resource_delays_no_other(shop: Shop) -> None:
    """50 slow chains of one resource wait in line; the single request of the other takes its turn at once."""
    shop.settings = {"limits": {"in_flight": 2}}
    shop.api.route("/slow", lambda asked: say([{"n": asked.params["n"]}], delay_s=0.02))
    shop.api.answer("/quick", say([{"id": 1}]))

    shop.extract(
        {
            "slow": {"path": "/slow", "params": {"n": "{n}"}, "for_each": {"values": {"n": list(range(50))}}},
            "quick": {"path": "/quick"},
        }
    )

    assert [asked.path for asked in shop.api.asked].index("/quick") <= 2


def test_events_tell_what_happens_while_it_happens(shop: Shop) -> None:
    shop.api.answer("/orders", Answer(503), say({"data": [{"id": 1}]}))
    began = time.monotonic()

    kinds = [event.kind for event in shop.one().events]

    assert kinds == ["planned", "answered", "retried", "answered", "spooled", "finished"]
    assert time.monotonic() - began < 5
