"""A number is taken for the total only where it cannot be the count of one page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fake_api import Answer, Asked, FakeApi, say
from tests.init.apis import Listing, Row, drafted, ids, orders, run_draft

_ALL = list(range(1, 58))


def _paginate(text: str) -> Any:
    return yaml.safe_load(text)["resources"]["orders"].get("paginate")


def _counting(name: str) -> Callable[..., Answer]:
    """Pages by an offset; *name* is how many records the page holds."""

    def page(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
        start = int(asked.params.get("offset", 0))
        part = rows[start : start + size]
        return say({name: len(part), "results": part})

    return page


def _linked(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    number = int(asked.params.get("page", 1))
    part = rows[(number - 1) * size : number * size]
    following = f'<{listing.link(asked, page=number + 1)}>; rel="next"'
    return say({"total": len(part), "data": part}, headers={"Link": following} if number * size < len(rows) else {})


def _only_the_first(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    return say({"total": size, "data": rows[:size]})


@pytest.mark.parametrize("name", ["total", "resultCount", "itemCount", "numFound"])
@pytest.mark.parametrize("size_param", ["limit", None])
def test_a_count_of_each_page_is_not_taken_for_the_total(
    api: FakeApi, tmp_path: Path, name: str, size_param: str | None
) -> None:
    """57 orders; the first page said "10 of 10" and was called complete."""
    api.route("/v1/orders", Listing(api, orders(57), _counting(name), size_param=size_param))

    written = drafted(f"{api.url}/v1/orders")
    report = run_draft(written, tmp_path)

    assert "total" not in _paginate(written.text)["offset"]
    assert report.problems == []
    assert ids(tmp_path) == _ALL


def test_a_count_beside_a_next_link_does_not_call_the_read_incomplete(api: FakeApi, tmp_path: Path) -> None:
    api.route("/v1/orders", Listing(api, orders(57), _linked))

    written = drafted(f"{api.url}/v1/orders")
    report = run_draft(written, tmp_path)

    assert _paginate(written.text) == "link_header"
    assert report.problems == []
    assert ids(tmp_path) == _ALL


def test_a_count_that_follows_the_page_size_proves_no_single_page(api: FakeApi) -> None:
    """10 records come, 25 are the most; the answer counts those that it gives."""
    api.route("/v1/orders", Listing(api, orders(57), _only_the_first))
    api.answer("/v1/songs", say({"resultCount": 10, "results": orders(10)}))

    sized, unsized = drafted(f"{api.url}/v1/orders"), drafted(f"{api.url}/v1/songs")

    for written in (sized, unsized):
        assert "paginate:" not in written.text.replace("`paginate: none`", "")
        assert any("Is that all?" in question for question in written.questions)
