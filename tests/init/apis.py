"""Orders behind an API of any page style, and a project that a draft of it is run in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow.parquet as pq

from pipelines.config.project import load_project
from pipelines.init.drafting import Draft, draft
from pipelines.init.prober import Prober
from pipelines.init.subject import subject_of
from pipelines.report.result import RunReport
from pipelines.run import run
from tests.fake_api import Answer, Asked, FakeApi, say

Row = dict[str, Any]
_START = datetime(2024, 1, 1, tzinfo=UTC)


def orders(count: int) -> list[Row]:
    """Orders of one every six hours; each third was revised two days later."""
    rows = []
    for number in range(1, count + 1):
        made = _START + timedelta(hours=6 * number)
        revised = made + timedelta(days=2 if number % 3 == 0 else 0)
        rows.append(
            {
                "id": number,
                "customer": {"id": 1000 + number % 7, "name": f"customer {number % 7}"},
                "total": f"{number}.{number % 100:02}",
                "weightKg": number / 2 if number % 2 else number // 2,
                "paid": number % 5 == 0,
                "tags": ["new"] if number % 4 else [],
                "lines": [{"sku": "a", "count": number}],
                "note": None,
                "placedAt": int(made.timestamp() * 1000),
                "createdAt": f"{made:%Y-%m-%dT%H:%M:%SZ}",
                "updatedAt": f"{revised:%Y-%m-%dT%H:%M:%SZ}",
            }
        )
    return rows


@dataclass
class Listing:
    """One listing of an API: how it pages, what it filters, what it insists on."""

    api: FakeApi
    rows: Sequence[Row]
    page: Callable[[Listing, Asked, list[Row], int], Answer]
    size_param: str | None = "per_page"
    size: int = 10
    cap: int = 25
    since_param: str | None = None
    since_field: str = "updatedAt"
    leaves_out_equal: bool = False
    known: frozenset[str] | None = None
    """Names of all parameters; others are refused. None: others are ignored."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """What a request has to carry."""

    def __call__(self, asked: Asked) -> Answer:
        """Answer one request."""
        if any(asked.headers.get(name.lower()) != value for name, value in self.headers.items()):
            return say({"message": "who are you?"}, 401)
        if self.known is not None and (strange := set(asked.params) - self.known):
            return say({"message": f"no parameter {min(strange)}"}, 400)
        rows = list(self.rows)
        if self.since_param and (since := asked.params.get(self.since_param)):
            rows = [row for row in rows if row[self.since_field] >= since]
            rows = [row for row in rows if not (self.leaves_out_equal and row[self.since_field] == since)]
        wished = asked.params.get(self.size_param, "") if self.size_param else ""
        return self.page(self, asked, rows, min(int(wished or self.size), self.cap))

    def link(self, asked: Asked, **changes: Any) -> str:
        """The address of the same question with *changes*."""
        return f"{self.api.url}{asked.path}?{urlencode({**asked.params, **changes})}"


def page_number(first: int, param: str = "page", **around: bool) -> Callable[..., Answer]:
    """Pages from *first*; `total` and `pages` say whether the body tells those."""

    def page(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
        number = int(asked.params.get(param, first))
        if number < first:
            return say({"message": "no such page"}, 400)
        start = (number - first) * size
        document: dict[str, Any] = {"data": rows[start : start + size]}
        document |= {"total": len(rows)} if around.get("total") else {}
        document |= {"totalPages": -(-len(rows) // size)} if around.get("pages") else {}
        return say(
            {"meta": {name: value for name, value in document.items() if name != "data"}, "data": document["data"]}
        )

    return page


def offset(first: int = 0, param: str = "offset") -> Callable[..., Answer]:
    """Records from an offset on; the first record is number *first*."""

    def page(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
        start = int(asked.params.get(param, first)) - first
        return say({"results": rows[start : start + size]}) if start >= 0 else say({"error": "offset"}, 400)

    return page


def link_header(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    """A bare list; the Link header names the next page."""
    number = int(asked.params.get("page", 1))
    more = number * size < len(rows)
    headers = {"Link": f'<{listing.link(asked, page=number + 1)}>; rel="next"'} if more else {}
    return say(rows[(number - 1) * size : number * size], headers=headers)


def next_url(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    """The body holds the address of the next page."""
    start = int(asked.params.get("from_row", 0))
    following = listing.link(asked, from_row=start + size) if start + size < len(rows) else None
    return say({"count": len(rows), "links": {"next": following}, "items": rows[start : start + size]})


def cursor(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    """A token that means nothing outside of the API."""
    start = int(asked.params.get("page_token", "t0")[1:])
    token = f"t{start + size}" if start + size < len(rows) else ""
    return say({"orders": rows[start : start + size], "nextPageToken": token})


def last_id(listing: Listing, asked: Asked, rows: list[Row], size: int) -> Answer:
    """What follows the id that was asked for."""
    after = int(asked.params.get("starting_after", 0))
    left = [row for row in rows if row["id"] > after]
    return say({"data": left[:size], "has_more": len(left) > size})


def drafted(url: str, *, most: int = 20, env: Mapping[str, str] | None = None, **given: Any) -> Draft:
    """The draft for *url*."""
    origin_map = given.pop("origin_map", {})
    subject = subject_of(url, env=env or {}, name=given.pop("name", "shop"), **given)
    with Prober(subject, most=most, origin_map=origin_map, pause=lambda seconds: None) as prober:
        return draft(prober)


def run_draft(written: Draft, folder: Path, **env: str) -> RunReport:
    """Run the file as it was written, alone in a project."""
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / f"{written.name}.yaml").write_text(written.text)
    return run(load_project(env, root=folder, data=folder / "data", workers=1))


def ids(folder: Path, resource: str = "orders") -> list[int]:
    """The ids that are committed, in their order."""
    table = pq.read_table(folder / "data" / "parquet" / "shop" / resource, columns=["id"])
    return sorted(table.column("id").to_pylist())
