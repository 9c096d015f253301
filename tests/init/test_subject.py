"""The URL is asked and written as the user gave it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

import pytest
import yaml

from pipelines.init.subject import subject_of
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.init.apis import Listing, Row, drafted, ids, offset, orders, run_draft

_ALL = list(range(1, 58))


def _resource(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["resources"]["orders"]
    return found


def _linked(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    number = int(asked.params.get("page", 1))
    kept = [pair for pair in parse_qsl(asked.query) if pair[0] != "page"]
    following = f"{listing.api.url}{asked.path}?{urlencode([*kept, ('page', number + 1)])}"
    part = rows[(number - 1) * size : number * size]
    return say(part, headers={"Link": f'<{following}>; rel="next"'} if number * size < len(rows) else {})


@pytest.mark.parametrize("page", [pytest.param(offset(), id="offset"), pytest.param(_linked, id="link-header")])
def test_a_parameter_given_twice_is_asked_for_and_written_twice(
    api: FakeApi, tmp_path: Path, page: Callable[..., Answer]
) -> None:
    """All 57 orders are wanted; only the 11 of the last value were asked for."""

    def of_wanted(asked: Asked) -> Answer:
        wanted = parse_qs(asked.query)["paid"]
        return Listing(api, [row for row in orders(57) if str(row["paid"]) in wanted], page)(asked)

    api.route("/v1/orders", of_wanted)

    written = drafted(f"{api.url}/v1/orders?paid=False&paid=True")
    report = run_draft(written, tmp_path)

    assert _resource(written.text)["params"]["paid"] == ["False", "True"]
    assert report.problems == []
    assert ids(tmp_path) == _ALL


def test_a_reference_given_twice_stays_two_references(api: FakeApi) -> None:
    api.answer("/v1/orders", say(orders(3)))

    written = drafted(f"{api.url}/v1/orders?shop=${{A}}&shop=${{B}}", env={"A": "north", "B": "south"})

    assert parse_qs(api.asked[0].query)["shop"] == ["north", "south"]
    assert yaml.safe_load(written.text)["params"] == {"shop": ["${A}", "${B}"]}


def test_a_slash_at_the_end_of_the_address_is_kept(api: FakeApi, tmp_path: Path) -> None:
    """Django answers another address with a redirect, or not at all."""
    api.route("/v1/orders/", Listing(api, orders(57), offset(), size_param="limit"))

    written = drafted(f"{api.url}/v1/orders/")
    report = run_draft(written, tmp_path)

    assert _resource(written.text)["path"] == "/orders/"
    assert report.problems == []
    assert ids(tmp_path) == _ALL
    assert set(api.calls) == {"/v1/orders/"}


def test_a_host_or_path_that_windows_takes_for_a_device_names_nothing() -> None:
    subject = subject_of("https://aux.example/v1/con", env={})

    assert (subject.name, subject.resource) == ("records", "records")
