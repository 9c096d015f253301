"""One chain of requests for each parent: whose children are asked, with which values, from where."""

from __future__ import annotations

import threading

import pytest

from pipelines.extract.watermark import Watermark
from tests.extract.conftest import Shop
from tests.fake_api import Answer, Asked, say


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


def test_a_skipped_child_is_counted_and_nothing_of_it_arrives(shop: Shop) -> None:
    shop.api.answer("/items/1", say([{"id": 1}]))

    outcome = shop.one(
        path="/items/{n}", records="@", for_each={"values": {"n": [1, 2]}}, errors=[{"status": 404, "do": "skip"}]
    )

    assert len(outcome.pages["orders"]) == 1
    assert outcome.extractions["orders"].skipped == 1


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
