"""Resources fetched side by side: order, resume, parents, windows, completeness."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.extract.watermark import Watermark
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


def test_a_combination_of_values_is_asked_for_each_and_carried(shop: Shop) -> None:
    shop.api.route("/holidays/2017/US", lambda asked: say([{"d": 1}]))
    for path in ("/holidays/2017/FR", "/holidays/2018/US", "/holidays/2018/FR"):
        shop.api.answer(path, say([{"d": 2}, {"d": 3}]))

    outcome = shop.extract(
        {
            "holidays": {
                "path": "/holidays/{year}/{country}",
                "for_each": {"values": {"year": [2017, 2018], "country": ["US", "FR"]}},
                "carry": {"land": "country", "year": "year"},
                "paginate": "none",
            }
        }
    )

    assert [(row["year"], row["land"]) for row in outcome.rows("holidays")] == [
        (2017, "US"), (2017, "FR"), (2017, "FR"), (2018, "US"), (2018, "US"), (2018, "FR"), (2018, "FR"),
    ]  # fmt: skip
    assert outcome.extractions["holidays"].verdict == "complete"


def test_rows_of_a_file_are_parents(shop: Shop) -> None:
    places = shop.folder / "places.csv"
    places.write_text("name,lat\nBerlin,52.5\nYork,53.9\n", encoding="utf-8")
    shop.api.route("/weather", lambda asked: say([{"t": asked.params["latitude"]}]))

    outcome = shop.extract(
        {
            "weather": {
                "path": "/weather",
                "params": {"latitude": "{lat}"},
                "for_each": {"file": str(places)},
                "carry": {"city": "name"},
            }
        }
    )

    assert outcome.rows("weather") == [{"t": "52.5", "city": "Berlin"}, {"t": "53.9", "city": "York"}]


def test_children_start_while_their_parents_still_page(shop: Shop) -> None:
    """The parents' last page waits for the first child's request."""
    child_asked = threading.Event()
    shop.api.pages("/repos", records=[{"full_name": f"acme/r{n}"} for n in range(6)], page_size=3)
    whole = shop.api.routed("/repos")

    def parents(asked: Asked) -> Answer:
        assert asked.params.get("page") is None or child_asked.wait(10)
        return whole(asked)

    def issues(asked: Asked) -> Answer:
        child_asked.set()
        return say([{"path": asked.path}])

    shop.api.route("/repos", parents)
    for number in range(6):
        shop.api.route(f"/repos/acme/r{number}/issues", issues)

    outcome = shop.extract(
        {
            "repos": {"path": "/repos", "records": "data", "paginate": "next_url"},
            "issues": {
                "path": "/repos/{repos.full_name}/issues",
                "for_each": {"resource": "repos"},
                "carry": {"repo": "full_name"},
            },
        }
    )

    assert [row["repo"] for row in outcome.rows("issues")] == [f"acme/r{number}" for number in range(6)]
    assert outcome.extractions["issues"].chains == 6


def test_children_of_children_name_all_their_parents(shop: Shop) -> None:
    """Three levels, and two states of each comment: a path with two parents, a carried column carried on."""
    shop.api.answer("/repos", say([{"id": "a", "owner": "ann"}, {"id": "b", "owner": "bob"}]))
    shop.api.answer("/repos/a/issues", say([{"id": 1}, {"id": 2}]))
    shop.api.answer("/repos/b/issues", say([{"id": 1}]))
    shop.api.route_all(lambda asked: say([{"path": asked.path, "state": asked.params["state"]}]))

    outcome = shop.extract(
        {
            "repos": {"path": "/repos"},
            "issues": {
                "path": "/repos/{repos.id}/issues", "for_each": {"resource": "repos"}, "carry": {"by": "owner"}
            },
            "comments": {
                "path": "/repos/{repos.id}/issues/{issues.id}/comments",
                "params": {"state": "{state}"},
                "for_each": {"resource": "issues", "values": {"state": ["open", "shut"]}},
                "carry": {"by": "by", "repo": "repos.id", "issue": "id"},
            },
        }
    )  # fmt: skip

    assert [(row["path"], row["state"], row["by"], row["repo"], row["issue"]) for row in outcome.rows("comments")] == [
        (f"/repos/{repo}/issues/{issue}/comments", state, owner, repo, issue)
        for repo, owner, issue in (("a", "ann", 1), ("a", "ann", 2), ("b", "bob", 1))
        for state in ("open", "shut")
    ]


def test_children_of_a_failed_parent_fail_with_it(shop: Shop) -> None:
    outcome = shop.extract(
        {
            "repos": {"path": "/repos"},
            "issues": {"path": "/repos/{repos.id}", "for_each": {"resource": "repos"}},
            "labels": {"path": "/labels/{issues.id}", "for_each": {"resource": "issues"}},
        }
    )

    assert [outcome.error(name).kind for name in ("repos", "issues", "labels")] == ["HttpError"] * 3
    assert "its parent repos failed" in outcome.error("issues").message


def test_a_parent_value_cannot_lead_out_of_its_place(shop: Shop) -> None:
    shop.api.answer("/repos", say([{"id": "../../admin"}]))

    outcome = shop.extract(
        {"repos": {"path": "/repos"}, "issues": {"path": "/repos/{repos.id}", "for_each": {"resource": "repos"}}}
    )

    assert outcome.extractions["issues"].error is not None
    assert [asked.path for asked in shop.api.asked] == ["/repos"]


def test_windows_are_asked_side_by_side_up_to_the_frozen_bound(shop: Shop) -> None:
    together = threading.Barrier(3)

    def route(asked: Asked) -> Answer:
        together.wait(10)
        return say([{"from": asked.params["from"], "to": asked.params["to"]}])

    shop.api.route("/spend", route)

    outcome = shop.extract(
        {
            "spend": {
                "path": "/spend",
                "incremental": {
                    "cursor": "date", "since_param": "from", "until_param": "to", "format": "date", "bounds": "closed",
                    "start": "2024-01-01", "window": "10d", "settle": "1d",
                },
            }
        }
    )  # fmt: skip

    assert [(row["from"], row["to"]) for row in outcome.rows("spend")] == [
        ("2024-01-01", "2024-01-10"), ("2024-01-11", "2024-01-20"), ("2024-01-21", "2024-01-30"),
    ]  # fmt: skip
    assert shop.api.most_running == 3
    assert outcome.extractions["spend"].asked_until == "2024-01-30"


def test_each_window_that_came_is_kept_when_another_fails(shop: Shop) -> None:
    """The last of three windows fails: the next run asks for that one alone."""
    shop.settings = {"limits": {"in_flight": 1}}
    fails = {"2024-01-21"}
    shop.api.route(
        "/spend", lambda asked: Answer(400) if asked.params["from"] in fails else say([{"from": asked.params["from"]}])
    )
    spend = {
        "path": "/spend",
        "incremental": {
            "cursor": "date", "since_param": "from", "until_param": "to", "format": "date", "bounds": "closed",
            "start": "2024-01-01", "window": "10d", "settle": "1d",
        },
    }  # fmt: skip
    first = shop.extract({"spend": spend})
    fails.clear()
    before = len(shop.api.asked)

    second = shop.extract({"spend": spend})

    assert first.error("spend").kind == "HttpError"
    assert [asked.params["from"] for asked in shop.api.asked[before:]] == ["2024-01-21"]
    assert [row["from"] for row in second.rows("spend")] == ["2024-01-01", "2024-01-11", "2024-01-21"]


def test_a_window_may_stand_in_the_paths_and_begins_at_the_watermark(shop: Shop) -> None:
    """In that of the records, and of their count."""
    shop.api.answer("/v1/2024-01-20..2024-01-31", say({"rates": {"2024-01-20": {"USD": 1.1}}}))
    shop.api.answer("/count/2024-01-20", say({"count": 1}))

    outcome = shop.extract(
        {
            "rates": {
                "path": "/v1/{window.start}..{window.end}",
                "records": {"entries": "rates", "keys": ["date"]},
                "incremental": {"cursor": "date", "format": "date", "start": "1999-01-04"},
                "count": {"path": "/count/{window.start}"},
            }
        },
        {"rates": Watermark("2024-01-20")},
    )

    assert (outcome.extractions["rates"].error, outcome.extractions["rates"].verdict) == (None, "complete")
    assert len(outcome.pages["rates"]) == 1


def test_each_parent_is_asked_from_its_own_watermark(shop: Shop) -> None:
    shop.api.answer("/repos", say([{"id": "a"}, {"id": "b"}]))
    for name in ("a", "b"):
        shop.api.route(f"/repos/{name}", lambda asked: say([{"since": asked.params["since"]}]))

    outcome = shop.extract(
        {
            "repos": {"path": "/repos"},
            "issues": {
                "path": "/repos/{repos.id}",
                "for_each": {"resource": "repos"},
                "incremental": {"cursor": "u", "since_param": "since", "start": "2020-01-01", "per": "repos"},
            },
        },
        {"issues": Watermark(parents={"b": "2024-01-05T00:00:00Z"})},
    )

    assert [row["since"] for row in outcome.rows("issues")] == ["2020-01-01T00:00:00Z", "2024-01-05T00:00:00Z"]
    assert sorted(page.parent for page in outcome.pages["issues"]) == ["a", "b"]


def test_a_value_that_joins_a_list_is_read_from_the_start(shop: Shop) -> None:
    shop.api.route("/orders", lambda asked: say({"data": [{"since": asked.params["since"]}]}))

    outcome = shop.extract(
        {
            "orders": {
                "path": "/orders", "records": "data", "params": {"shop": "{shop}"},
                "for_each": {"values": {"shop": ["old", "new"]}},
                "incremental": {"cursor": "u", "since_param": "since", "start": "2020-01-01"},
            }
        },
        {"orders": Watermark(parents={"old": "2024-01-05T00:00:00Z"})},
    )  # fmt: skip

    assert [row["since"] for row in outcome.rows("orders")] == ["2024-01-05T00:00:00Z", "2020-01-01T00:00:00Z"]


def test_parents_whose_values_hold_slashes_are_told_apart(shop: Shop) -> None:
    """`a/b` of `c` and `a` of `b/c` have a watermark each."""
    shop.api.route_all(lambda asked: say([{"since": asked.params["since"]}]))

    outcome = shop.extract(
        {
            "files": {
                "path": "/{repo}", "params": {"file": "{file}"},
                "for_each": [{"repo": "a/b", "file": "c"}, {"repo": "a", "file": "b/c"}],
                "incremental": {"cursor": "u", "since_param": "since", "start": "2020-01-01"},
            }
        }
    )  # fmt: skip

    assert len({page.parent for page in outcome.pages["files"]}) == 2


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        pytest.param("epoch_s", 1704067200, id="seconds"),
        pytest.param("epoch_ms", 1704067200000, id="milliseconds"),
        pytest.param("iso", "2024-01-01T00:00:00Z", id="iso"),
        pytest.param("%Y%m%d", "20240101", id="strftime"),
    ],
)
def test_a_bound_in_a_json_body_is_a_number_where_its_format_is_one(
    shop: Shop, layout: str, expected: int | str
) -> None:
    shop.api.route("/search", lambda asked: say([{"query": orjson.loads(asked.body)}]))

    outcome = shop.extract(
        {
            "found": {
                "path": "/search", "body": {"query": {"from": "{window.start}", "text": "since {window.start}"}},
                "incremental": {"cursor": "u", "start": "2024-01-01", "format": layout},
            }
        }
    )  # fmt: skip

    (row,) = outcome.rows("found")
    assert row["query"]["query"] == {"from": expected, "text": f"since {expected}"}


def test_a_skipped_child_is_counted_and_nothing_of_it_arrives(shop: Shop) -> None:
    shop.api.answer("/items/1", say([{"id": 1}]))

    outcome = shop.one(
        path="/items/{n}", records="@", for_each={"values": {"n": [1, 2]}}, errors=[{"status": 404, "do": "skip"}]
    )

    assert len(outcome.pages["orders"]) == 1
    assert outcome.extractions["orders"].skipped == 1


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


@pytest.mark.parametrize("order", [["cities", "days"], ["days", "cities"]], ids="-".join)
def test_children_of_a_parent_that_cannot_even_be_asked_fail_with_it(shop: Shop, order: list[str]) -> None:
    """Whichever stands first in the file; nothing waits for them."""
    resources = {
        "cities": {"path": "/cities/{name}", "for_each": {"values": {"name": ["a", ""]}}},
        "days": {"path": "/cities/{cities.id}/days", "for_each": {"resource": "cities"}},
    }
    shop.api.answer("/cities/a", say([{"id": 1}], delay_s=0.2))

    outcome = shop.extract({name: resources[name] for name in order})

    assert {name: outcome.error(name).kind for name in order} == dict.fromkeys(order, "ConfigError")


def test_a_parent_that_comes_twice_is_asked_for_its_children_once(shop: Shop) -> None:
    """Order 1 is on two pages; for what each of its copies carries otherwise, children are asked."""
    orders = [{"id": 1, "by": "a"}, {"id": 2, "by": "a"}], [{"id": 1, "by": "a"}, {"id": 1, "by": "b"}]
    shop.api.answer("/orders", say({"data": orders[0], "next": f"{shop.api.url}/more"}))
    shop.api.answer("/more", say({"data": orders[1], "next": None}))
    for number in (1, 2):
        shop.api.answer(f"/orders/{number}/lines", say([{"line": number}]))
    lines = {"path": "/orders/{orders.id}/lines", "for_each": {"resource": "orders"}, "carry": {"of": "id"}}

    outcome = shop.extract(
        {
            "orders": {"path": "/orders", "records": "data", "paginate": {"next_url": "next"}},
            "lines": lines,
            "buyers": {**lines, "carry": {"of": "id", "by": "by"}},
        }
    )

    assert sorted(row["line"] for row in outcome.rows("lines")) == [1, 2]
    assert sorted(row["line"] for row in outcome.rows("buyers")) == [1, 1, 2]


def test_a_parent_that_comes_twice_is_asked_again_for_what_its_grandchildren_are_told_apart_by(shop: Shop) -> None:
    """Both users are of one organisation, whose projects are asked for once for each of them."""
    shop.api.answer("/members", say([{"org": "x", "user": 1}, {"org": "x", "user": 2}]))
    shop.api.answer("/orgs/x/projects", say([{"id": 5}]))
    for user in (1, 2):
        shop.api.answer(f"/users/{user}/projects/5/tasks", say([{"task": user}]))

    outcome = shop.extract(
        {
            "members": {"path": "/members"},
            "projects": {"path": "/orgs/{members.org}/projects", "for_each": {"resource": "members"}},
            "tasks": {
                "path": "/users/{members.user}/projects/{projects.id}/tasks",
                "for_each": {"resource": "projects"},
            },
        }
    )

    assert sorted(row["task"] for row in outcome.rows("tasks")) == [1, 2]


def test_a_field_of_a_record_is_not_taken_for_a_listed_value_above_it(shop: Shop) -> None:
    """An order of the region `eu` has a field `region` of its own, which `carry` gives."""
    shop.api.answer("/eu/orders", say([{"id": 1, "region": "EMEA"}]))
    shop.api.answer("/eu/orders/1/lines", say([{"line": 7}]))

    outcome = shop.extract(
        {
            "orders": {"path": "/{region}/orders", "for_each": {"values": {"region": ["eu"]}}},
            "lines": {
                "path": "/{region}/orders/{orders.id}/lines",
                "for_each": {"resource": "orders"},
                "carry": {"of": "region"},
            },
        }
    )

    assert outcome.rows("lines") == [{"line": 7, "of": "EMEA"}]


@pytest.mark.parametrize("kind", ["number", "text"])
def test_an_upper_bound_that_there_is_not_is_not_asked_for(shop: Shop, kind: str) -> None:
    """Ids have no now; with `end` there is one."""
    shop.api.answer("/orders", say({"data": [{"id": 1}]}))
    incremental = {"cursor": "id", "format": kind, "start": "0", "since_param": "min", "until_param": "max"}

    shop.one(incremental=incremental)
    shop.extract({"others": {"path": "/orders", "records": "data", "incremental": {**incremental, "end": "9"}}})

    assert [asked.params.get("max") for asked in shop.api.asked] == [None, "9"]
