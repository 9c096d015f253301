"""What a page tells of itself is what its whole document says, however little of it is read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import DecodeError
from pipelines.extract.page import Page
from pipelines.extract.placeholders import fill, fill_path
from pipelines.extract.request import Request
from pipelines.records import Records, find

ASKED = Request("GET", "https://api.example/orders")
NAMES = ["next", "data", "error", "meta", 'da"ta', "[", "]"]
texts = st.one_of(st.sampled_from([*NAMES, '"data": [', '], "next": 1', "]}", ',"', '":', "\\"]), st.text(max_size=6))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(NAMES), texts), inner, max_size=3)
    ),
    max_leaves=8,
)
records = st.lists(st.dictionaries(st.sampled_from(NAMES), values, max_size=3), max_size=4)
fields = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=4)


@settings(max_examples=150)
@given(before=fields, rows=records, after=fields, layout=st.sampled_from([(",", ":"), (", ", ": "), (" ,", ":\n")]))
def test_reading_around_the_records_finds_what_the_whole_document_says(
    before: Any, rows: Any, after: Any, layout: tuple[str, str]
) -> None:
    document = dict(before) | {"data": rows} | {name: value for name, value in after if name != "data"}
    document.setdefault("pad", "y" * 5000)
    written = json.dumps(document, separators=layout, ensure_ascii=len(rows) % 2 == 0)
    page = Page(ASKED, 200, {}, written.encode(), Records(rows="data"))

    for path in ("next", "error", "meta.next", "error.code == 'x'", "meta[0]", "next || error"):
        assert page.find(path) == find(document, path), path
    assert page.is_empty == (not document["data"])
    assert page.count == len(document["data"])
    assert page.last_record == (document["data"][-1] if document["data"] else None)


@settings(max_examples=100)
@given(rows=records, layout=st.sampled_from([None, 2]), around=st.sampled_from(["", " \n", "\t"]))
def test_a_list_of_records_tells_what_the_whole_document_says(rows: Any, layout: int | None, around: str) -> None:
    """Small and large, empty and not."""
    for pad in ([], [{"pad": "]" * 5000}]):
        document = rows + pad
        page = Page(ASKED, 200, {}, f"{around}{json.dumps(document, indent=layout)}{around}".encode())

        page.check()

        assert page.is_empty == (not document)
        assert page.count == len(document)
        assert page.last_record == (document[-1] if document else None)


@pytest.mark.parametrize("body", [b"[%b]", b' {"data": [%b]}'])
def test_a_list_of_much_white_space_holds_nothing(body: bytes) -> None:
    page = Page(ASKED, 200, {}, body % (b" \n" * 4000), Records(rows="data" if b"data" in body else "@"))

    assert (page.is_empty, page.count) == (True, 0)


@pytest.mark.parametrize("layout", ["indented", "tail-list", "nested-same-name", "name-as-value"])
def test_an_envelope_that_could_mislead_is_read_in_full(layout: str) -> None:
    rows = [{"id": number, "tags": ["a", "]"]} for number in range(300)]
    documents: dict[str, Any] = {
        "indented": {"data": rows, "next": "n"},
        "tail-list": {"data": rows, "warnings": [1], "next": "n"},
        "nested-same-name": {"meta": {"data": [1]}, "data": rows, "next": "n"},
        "name-as-value": {"kind": "data", "data": rows, "next": "n"},
    }
    body = json.dumps(documents[layout], indent=2 if layout == "indented" else None).encode()
    page = Page(ASKED, 200, {}, body, Records(rows="data"))

    page.check()

    assert (page.find("next"), page.find("warnings"), page.count) == ("n", documents[layout].get("warnings"), 300)


def test_pages_that_differ_only_around_their_records_have_equal_digests() -> None:
    rows = [{"id": number} for number in range(1000)]
    pages = [
        Page(ASKED, 200, {}, json.dumps({"token": token, "data": rows}).encode(), Records(rows="data"))
        for token in "ab"
    ]

    assert pages[0].records_digest == pages[1].records_digest


@pytest.mark.parametrize("tags", [[], ["a"]], ids=["flat", "lists-in-records"])
def test_pages_that_differ_only_between_their_records_and_a_later_list_have_equal_digests(tags: list[str]) -> None:
    """The list of records ends where it ends, and not with the last bracket of the page."""
    rows = [{"id": number, "tags": tags} if tags else {"id": number} for number in range(1000)]
    pages = [
        Page(ASKED, 200, {}, json.dumps({"data": rows, "request": one, "errors": []}).encode(), Records(rows="data"))
        for one in "ab"
    ]
    other = Page(ASKED, 200, {}, json.dumps({"data": rows[1:], "errors": []}).encode(), Records(rows="data"))

    assert pages[0].records_digest == pages[1].records_digest != other.records_digest


def test_a_path_or_document_that_is_no_json_is_an_error() -> None:
    with pytest.raises(DecodeError):
        Page(ASKED, 200, {}, b'{"next": ').find("next")


def test_a_request_is_known_by_all_that_it_asks() -> None:
    asked = ASKED.with_params({"page": 1, "q": True, "none": None})
    others = [
        asked,
        asked.with_params({"page": 2}),
        asked.with_header("X-Page", "1"),
        asked.with_field("variables.after", "x"),
        asked.with_link("/orders?page=1"),
    ]

    assert dict(asked.params) == {"page": "1", "q": "true"}
    assert len({request.fingerprint for request in others}) == len(others)
    assert asked.with_link("https://u:p@other.example/x?key=secret").safe_url == "https://other.example/x"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("/r/{repo.full_name}/x", "/r/acme/site/x", id="path-in-a-value"),
        pytest.param("/{window.start}..{window.end}", "/2024-01-01..2024-02-01", id="window"),
        pytest.param("/{name}", "/a%20b%3Fc%23%7Bwindow.start%7D", id="escaped-once"),
    ],
)
def test_a_path_is_filled_once_and_safely(template: str, expected: str) -> None:
    scope = {
        "repo": {"full_name": "acme/site"},
        "window": {"start": "2024-01-01", "end": "2024-02-01"},
        "name": "a b?c#{window.start}",
    }

    assert fill_path(template, scope) == expected


@pytest.mark.parametrize("template", ["{{ ''.__class__ }}", "{0.__class__}", "{a.__class__.__mro__}!", "{}"])
def test_a_placeholder_never_reaches_an_attribute(template: str) -> None:
    from pipelines.errors import ConfigError

    try:
        filled = fill(template, {"a": "text"})
    except ConfigError:
        return
    assert filled == template


def test_a_whole_placeholder_keeps_the_type_of_its_value() -> None:
    assert fill({"n": "{n}", "list": ["{n}", "a{n}"]}, {"n": 5}) == {"n": 5, "list": [5, "a5"]}
