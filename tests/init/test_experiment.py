"""What `init` finds by experiment is enough to read every record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.init.subject import subject_of
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.init.apis import (
    Listing,
    Row,
    cursor,
    drafted,
    ids,
    last_id,
    link_header,
    next_url,
    offset,
    orders,
    page_number,
    run_draft,
)

_ALL = list(range(1, 58))
_COUNTED = {"param": "page", "size": 25, "size_param": "per_page"}


def _resource(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["resources"]["orders"]
    return found


@pytest.mark.parametrize(
    ("listing", "paginate", "most"),
    [
        pytest.param({"page": page_number(1)}, {"page_number": {**_COUNTED, "first": 1}}, 13, id="page-number-from-1"),
        pytest.param({"page": page_number(0)}, {"page_number": {**_COUNTED, "first": 0}}, 13, id="page-number-from-0"),
        pytest.param(
            {"page": page_number(1, total=True)},
            {"page_number": {**_COUNTED, "first": 1, "total": "meta.total"}},
            11,
            id="page-number-with-total",
        ),
        pytest.param(
            {"page": page_number(1, total=True, pages=True)},
            {"total_pages": {**_COUNTED, "first": 1, "total": "meta.total", "from": "meta.totalPages"}},
            11,
            id="total-pages",
        ),
        pytest.param(
            {"page": page_number(1, "p"), "size_param": None},
            {"page_number": {"param": "p", "first": 1, "size": 10}},
            12,
            id="page-number-without-size",
        ),
        pytest.param(
            {"page": offset(), "size_param": "limit"},
            {"offset": {"param": "offset", "first": 0, "size": 25, "size_param": "limit"}},
            15,
            id="offset-from-0",
        ),
        pytest.param(
            {"page": offset(1, "start"), "size_param": "limit", "known": frozenset({"start", "limit"})},
            {"offset": {"param": "start", "first": 1, "size": 25, "size_param": "limit"}},
            18,
            id="offset-from-1-of-a-strict-api",
        ),
        pytest.param({"page": link_header}, "link_header", 8, id="link-header"),
        pytest.param({"page": next_url}, {"next_url": {"from": "links.next", "total": "count"}}, 8, id="next-url"),
        pytest.param(
            {"page": cursor, "size_param": "pageSize"},
            {"cursor": {"from": "nextPageToken", "param": "page_token"}},
            18,
            id="cursor-token",
        ),
        pytest.param(
            {"page": last_id, "size_param": "limit"},
            {"last_id": {"field": "id", "param": "starting_after", "more": "has_more"}},
            15,
            id="last-id",
        ),
    ],
)
def test_the_page_style_is_found_and_the_draft_reads_every_record(
    api: FakeApi, tmp_path: Path, listing: dict[str, Any], paginate: object, most: int
) -> None:
    """57 orders, 10 a page by default, at most 25: all 57 ids are committed."""
    api.route("/v1/orders", Listing(api, orders(57), **listing))

    written = drafted(f"{api.url}/v1/orders")
    asked = sum(api.calls.values())
    report = run_draft(written, tmp_path)

    assert _resource(written.text)["paginate"] == paginate
    assert report.problems == []
    assert ids(tmp_path) == _ALL
    assert asked == len(written.asked) <= most


def test_a_cap_of_the_server_is_told_with_its_evidence(api: FakeApi) -> None:
    api.route("/v1/orders", Listing(api, orders(57), link_header))

    written = drafted(f"{api.url}/v1/orders")

    assert _resource(written.text)["params"] == {"per_page": 25}
    assert "asked for 1,000, 25 came and more pages follow: the server's cap" in written.text


def test_a_filter_by_time_makes_the_draft_incremental(api: FakeApi, tmp_path: Path) -> None:
    """The second run asks for what was updated since the newest of the first, and finds the four new orders."""
    rows = orders(57)
    api.route("/v1/orders", Listing(api, rows, page_number(1, total=True), since_param="updated_since"))

    written = drafted(f"{api.url}/v1/orders")
    first = run_draft(written, tmp_path)
    rows += orders(69)[65:]
    api.asked.clear()
    second = run_draft(written, tmp_path)

    resource = _resource(written.text)
    assert (resource["write"], resource["key"], resource["version"]) == ("upsert", ["id"], "updated_at")
    assert resource["incremental"]["since_param"] == "updated_since"
    assert "gave a total of 52 and no older one; 5 of 10 are older" in written.text
    assert [report.problems for report in (first, second)] == [[], []]
    assert ids(tmp_path) == [*_ALL, 66, 67, 68, 69]
    assert {asked.params["updated_since"][:7] for asked in api.asked} == {"2024-01"}


@pytest.mark.parametrize(
    ("filters", "is_taken"),
    [({"leaves_out_equal": True}, True), ({"since_field": "createdAt"}, False)],
    ids=["after", "by-creation"],
)
def test_a_filter_may_leave_out_the_moment_itself_and_no_later_record(
    api: FakeApi, filters: dict[str, Any], is_taken: bool
) -> None:
    """Each third order was revised after it was made, so that a filter by creation leaves some of those out."""
    rows = sorted(orders(24), key=lambda row: row["updatedAt"])
    listing = Listing(api, rows, page_number(1, total=True), since_param="updated_since", size=24, **filters)
    api.route("/v1/orders", listing)

    written = drafted(f"{api.url}/v1/orders")

    taken = _resource(written.text).get("incremental", {}).get("since_param") == "updated_since"
    assert taken is is_taken


def test_a_parameter_that_is_ignored_is_not_taken_for_a_filter(api: FakeApi) -> None:
    api.route("/v1/orders", Listing(api, orders(57), page_number(1)))

    written = drafted(f"{api.url}/v1/orders")

    assert "incremental" not in _resource(written.text)
    assert any("does a parameter ask for what is new?" in question for question in written.questions)


def test_one_page_is_declared_only_where_a_total_proves_it(api: FakeApi) -> None:
    """Otherwise a run could call complete what is only a first page."""
    api.answer("/v1/orders", say({"data": orders(10)}))
    api.answer("/v1/orders/counted", say({"data": orders(10), "total": 10}))

    open_question = drafted(f"{api.url}/v1/orders")
    proved = drafted(f"{api.url}/v1/orders/counted")

    assert "paginate" not in _resource(open_question.text)
    assert any("Is that all?" in question for question in open_question.questions)
    assert yaml.safe_load(proved.text)["resources"]["counted"]["paginate"] == {"none": {"total": "total"}}


def test_types_come_from_all_sampled_records(api: FakeApi) -> None:
    api.route("/v1/orders", Listing(api, orders(57), page_number(1)))

    columns = _resource(drafted(f"{api.url}/v1/orders").text)["columns"]

    assert columns == {
        "id": "int64",
        "customer_id": {"type": "int64", "from": "customer.id"},
        "customer_name": {"type": "string", "from": "customer.name"},
        "total": "decimal(18,2)",
        "weight_kg": "float64",
        "paid": "bool",
        "tags": "list<string>",
        "lines": "json",
        "placed_at": "timestamp(ms) from epoch_ms",
        "created_at": "timestamp",
        "updated_at": "timestamp",
    }


def test_a_field_that_is_always_null_is_a_question(api: FakeApi) -> None:
    api.route("/v1/orders", Listing(api, orders(57), page_number(1)))

    questions = drafted(f"{api.url}/v1/orders").questions

    assert any(question.startswith("`note` is null in all") for question in questions)


def _token_in_a_header(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    start = int(asked.params.get("cursor", "c0")[1:])
    more = start + size < len(rows)
    return say(rows[start : start + size], headers={"X-Next-Cursor": f"c{start + size}"} if more else {})


def _repeats_its_last_page(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    number = min(int(asked.params.get("page", 1)), -(-len(rows) // size))
    return say({"data": rows[(number - 1) * size : number * size]})


def _not_found_at_the_end(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    number = int(asked.params.get("page", 1))
    part = rows[(number - 1) * size : number * size]
    return say({"data": part}) if part else say({"detail": "invalid page"}, 404)


def _refuses_a_large_size(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    if size > 40:
        return say({"detail": "limit must be less than or equal to 40"}, 422)
    start = int(asked.params.get("offset", 0))
    return say({"data": rows[start : start + size]})


@pytest.mark.parametrize(
    ("page", "more", "line"),
    [
        pytest.param(_token_in_a_header, {}, "from_header: x-next-cursor", id="token-in-a-header"),
        pytest.param(_repeats_its_last_page, {}, "until: short", id="last-page-repeats"),
        pytest.param(_not_found_at_the_end, {}, "errors: [{status: 404, do: skip}]", id="404-at-the-end"),
        pytest.param(
            _refuses_a_large_size,
            {"size_param": "limit", "cap": 10**6},
            "size: 40 # limit=1000 was refused with 422; the refusal names it",
            id="large-size-refused",
        ),
    ],
)
def test_an_odd_api_is_understood_and_read_to_its_end(
    api: FakeApi, tmp_path: Path, page: Any, more: dict[str, Any], line: str
) -> None:
    api.route("/v1/orders", Listing(api, orders(57), page, **more))

    written = drafted(f"{api.url}/v1/orders")
    report = run_draft(written, tmp_path)

    assert line in written.text
    assert report.problems == []
    assert ids(tmp_path) == _ALL


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        pytest.param(
            say({"hourly": {"time": ["2024-01-01", "2024-01-02"], "rain": [0, 1.5]}}),
            {"columns": "hourly"},
            id="columns",
        ),
        pytest.param(
            say({"rates": {"2024-01-01": {"USD": 1.1, "JPY": 160}, "2024-01-02": {"USD": 1.2, "JPY": 161}}}),
            {"entries": "rates", "keys": ["date", "code"]},
            id="entries-of-entries",
        ),
        pytest.param(
            say({"users": {"7": {"name": "a"}, "8": {"name": "b"}}}),
            {"entries": "users", "keys": ["id"]},
            id="entries",
        ),
        pytest.param(say([{"pages": 1}, [{"id": 1}, {"id": 2}]]), "[1]", id="list-in-a-list"),
        pytest.param(
            say({"page": {"tags": [{"t": 1}], "odd name": [{"id": number} for number in range(5)]}}),
            'page."odd name"',
            id="the-largest-list",
        ),
    ],
)
def test_the_records_are_found_wherever_they_are(api: FakeApi, tmp_path: Path, answer: Answer, wanted: object) -> None:
    api.answer("/v1/orders", answer)

    written = drafted(f"{api.url}/v1/orders")

    assert _resource(written.text)["records"] == wanted
    assert run_draft(written, tmp_path).problems == []


@pytest.mark.parametrize(
    ("layout", "body"),
    [
        pytest.param("ndjson", b'{"id": 1, "at": "2024-01-01"}\n{"id": 2, "at": "2024-01-02"}\n', id="ndjson"),
        pytest.param("csv", b"id,at,price\n1,2024-01-01,1.5\n2,2024-01-02,2\n", id="csv"),
    ],
)
def test_lines_of_json_and_csv_are_told_apart(api: FakeApi, tmp_path: Path, layout: str, body: bytes) -> None:
    api.answer("/v1/orders", Answer(200, body, {"Content-Type": "text/plain"}))

    written = drafted(f"{api.url}/v1/orders")
    report = run_draft(written, tmp_path)

    resource = _resource(written.text)
    assert (resource["format"], resource["columns"]["at"], resource["columns"]["id"]) == (layout, "date", "int64")
    assert report.problems == []
    assert ids(tmp_path) == [1, 2]


def test_a_name_from_the_answer_never_becomes_a_reference(api: FakeApi) -> None:
    api.answer("/v1/orders", say({"${HOME}": [{"id": 1, "${PATH}": "x\n# y"}, {"id": 2, "${PATH}": "z"}]}))

    written = drafted(f"{api.url}/v1/orders")

    assert "$${HOME}" in written.text
    assert "${" not in written.text.replace("$${", "")


@pytest.mark.parametrize("url", ["https://api.catalog.com/v1/items", "http://127.0.0.1:1/catalog"])
def test_a_draft_has_no_name_that_sql_would_not_find(url: str) -> None:
    assert subject_of(url, env={}).name == "catalog_api"
