"""A source of rows that change, end and go, behind a fake API; all of them are known in advance.

At *day* number n the API has all rows of that day. `prices` are a history of
versions in which a mark ends one, `members` a history in which those who are
not there any more have left; `stock` is upserted and forgets what is not there,
`offers` are upserted until a mark takes them away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.load.lake import Lake
from tests.fake_api import Answer, Asked, FakeApi, say

DATASETS = ("prices", "members", "stock", "offers", "sales")
Row = dict[str, Any]
Rows = list[tuple[Any, ...]]

_SETTINGS = 'workers = 2\nkept_commits = 2\ngrace = "1s"\n'
_MARKET = """\
base_url: {url}/market
retry: {{attempts: 3, wait: 10ms}}
defaults: {{records: data, paginate: {{next_url: next}}, key: id}}
resources:
  prices: {{path: /prices, write: history, version: version, deletes: {{when: gone}}}}
  members: {{path: /members, write: history, deletes: {{missing: true}}}}
  stock: {{path: /stock, write: upsert, partition_by: shelf, deletes: {{missing: true}}}}
  offers: {{path: /offers, write: upsert, version: version, deletes: {{when: gone}}}}
  sales:
    path: /sales
    incremental: {{cursor: day, format: number, since_param: since, start: 0}}
    write: append
    columns: {{day: int64}}
"""
_LAST_DAY = 4


class Market:
    """The project in *folder* and the API behind it; `day` says what the API has."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.folder, self.day = folder, 1
        (folder / "config").mkdir()
        (folder / "config" / "settings.toml").write_text(_SETTINGS)
        (folder / "config" / "market.yaml").write_text(_MARKET.format(url=api.url))
        for name in DATASETS:
            api.route(f"/market/{name}", lambda asked: self._page(api.url, asked))

    def _page(self, url: str, asked: Asked, size: int = 3) -> Answer:
        number, since = int(asked.params.get("page", 1)), int(asked.params.get("since", 0))
        rows = [row for row in read_rows(asked.path.rpartition("/")[2], self.day) if row.get("day", since) >= since]
        more = f"{url}{asked.path}?since={since}&page={number + 1}" if number * size < len(rows) else None
        return say({"data": rows[(number - 1) * size : number * size], "next": more})


def read_rows(dataset: str, day: int) -> list[Row]:
    """What the API has on *day*."""
    if dataset == "prices":
        return [_price(item, day) for item in range(6)]
    if dataset == "offers":
        return [_offer(number, day) for number in range(2 * day)]
    if dataset == "sales":
        return [{"id": number, "day": 1 + number // 3} for number in range(3 * day)]
    if dataset == "stock":
        return [{"id": (day + i) % 7, "shelf": (day + i) % 7 // 3, "count": (day + i) // 7} for i in range(4)]
    return [{"id": (day + i) % 5, "name": f"n{(day + i) % 5}"} for i in range(3)]


def expected(dataset: str, day: int) -> Rows:
    """All rows after runs on each day up to *day*; of a member's spans only whose they are, and which holds."""
    if dataset == "prices":
        rows = [row for item in range(6) for row in _spans(item, day)]
    elif dataset == "members":
        rows = [row for member in range(5) for row in _stays(member, day)]
    else:
        rows = [row for row in read_rows(dataset, day) if not row.get("gone")]
    return _sorted(rows)


def seen(data: Path, dataset: str) -> Rows:
    """All rows that a plain reader of the folder sees, in the form of `expected`."""
    table = pq.read_table(data / "parquet/market" / dataset, partitioning=None)
    return _sorted(table.drop_columns(["valid_from", "valid_to"] if dataset == "members" else []).to_pylist())


def wrong_now(data: Path, days: Sequence[int]) -> list[str]:
    """What readers see that is of none of *days*, whatever was killed: one line each."""
    return [
        f"{name} shows no whole commit"
        for name in DATASETS
        if seen(data, name) not in [expected(name, day) for day in days]
    ]


def wrong_after(data: Path, day: int) -> list[str]:
    """What is not as after undisturbed runs up to *day*: one line each."""
    problems = [f"{name} has other rows" for name in DATASETS if seen(data, name) != expected(name, day)]
    lake = Lake(data, "market")
    named = {lake.store / path for number in lake.log.numbers() for path in lake.log.read(number).paths}
    stored = {path for path in lake.store.rglob("*") if path.is_file()}
    problems += [f"left over or lost: {path}" for path in named ^ stored]
    problems += [f"left over: {path}" for path in lake.tmp.iterdir()]
    problems += [f"verify: {defect.path} {defect.what}" for defect in lake.verify().defects]
    return problems


def _price(item: int, day: int) -> Row:
    """A third of all prices is new each day; item 5 goes on the last of them."""
    version = max((when for when in range(day + 1) if (when + item) % 3 == 0), default=0)
    return {"id": item, "version": version, "price": item * 100 + version, "gone": item == 5 and day >= _LAST_DAY}


def _offer(number: int, day: int) -> Row:
    """Two new ones each day; each changes the next day and is gone the day after."""
    age = min(day - number // 2 - 1, 2)
    return {"id": number, "version": age, "text": f"{number} changed {age} times", "gone": age == 2}


def _spans(item: int, day: int) -> list[Row]:
    versions = {row["version"]: row for row in (_price(item, when) for when in range(1, day + 1))}
    points = sorted(versions)
    ends = [*points[1:], None]
    return [
        {**versions[begin], "valid_from": begin, "valid_to": end, "is_current": end is None}
        for begin, end in zip(points, ends, strict=True)
        if not versions[begin]["gone"]
    ]


def _stays(member: int, day: int) -> list[Row]:
    there = [member in {row["id"] for row in read_rows("members", when)} for when in range(1, day + 1)]
    begun = [when for when in range(day) if there[when] and (when == 0 or not there[when - 1])]
    return [{"id": member, "name": f"n{member}", "is_current": all(there[when:])} for when in begun]


def _sorted(rows: list[Row]) -> Rows:
    return sorted((tuple(sorted(row.items())) for row in rows), key=repr)
