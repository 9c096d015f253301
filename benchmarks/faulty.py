"""Ten faults: what the API does, how Threadmill is told of it, and which rows are right in the end.

Each API misbehaves anew for each tool. `Turn.number` counts the tool's runs, since most faults need two.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.fake_api import Answer, Asked, FakeApi, say

PAGES, PAGE_ROWS, KILLED_AFTER = 40, 10, 32
HOLD_S = 60
LARGE = 2**53 + 1
"""An integer that a float cannot hold."""


@dataclass
class Turn:
    """Which run of the tool this is, and whether the moment to kill it has come."""

    number: int = 1
    reached: threading.Event = field(default_factory=threading.Event)


Row = Mapping[str, Any]
Serve = Callable[[FakeApi, Turn], None]


def by_id(row: Row) -> object:
    """The identity of a row that was served with an id; anything else is a row that nobody served."""
    return row.get("id")


def by_values(row: Row) -> object:
    """Its id and the values that came late, whatever a tool has made of the object among them."""
    place = row.get("place")
    nested = json.loads(place) if isinstance(place, str) else place
    flat = next((row[name] for name in ("place__x", "place_x") if row.get(name) is not None), None)
    return row.get("id"), row.get("size"), nested["x"] if nested else flat


@dataclass(frozen=True)
class Fault:
    """One fault: `wanted` are the rows that are right after `runs` runs."""

    name: str
    title: str
    serve: Serve
    yaml: str
    wanted: frozenset[object] | None
    """Nothing where any rows will do."""
    runs: int = 1
    error: bool = False
    """The last run must not end as if all was well."""
    killed: bool = False
    """The first run is killed where the API says so."""
    identity: Callable[[Row], object] = by_id


def _rows(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"row {number}"} for number in range(first, last + 1)]


def _token(api: FakeApi, turn: Turn) -> None:
    api.route("/rows", lambda asked: say({"data": [{"id": api.calls["/rows"]}], "next": "the-same"}))


def _moved(api: FakeApi, turn: Turn) -> None:
    rows = _rows(1, 250)

    def page(asked: Asked) -> Answer:
        start = int(asked.params.get("offset", 0))
        place = {"offset": start, "limit": 100, "total": len(rows)}
        answer = say({"data": rows[start : start + 100], "total": len(rows), "pagination": place})
        if start == 0 and "limit" in asked.params and len(rows) == 250:
            del rows[0]  # after the first page of those: all others move up by one
        return answer

    api.route("/rows", page)


def _error(api: FakeApi, turn: Turn) -> None:
    api.answer("/rows", say({"error": {"code": "QUOTA", "message": "try again tomorrow"}}))


def _parents(api: FakeApi, turn: Turn) -> None:
    """Both have a row; then the first gets one that is older than the other's."""
    born = {1: [(11, "2024-01-05"), (12, "2024-01-10")], 2: [(21, "2024-03-01")]}

    def children(asked: Asked) -> Answer:
        parent = int(asked.path.split("/")[2])
        rows: list[dict[str, Any]] = [{"id": number, "updated_at": f"{day}T00:00:00Z"} for number, day in born[parent]]
        shown = rows[: turn.number] if parent == 1 else rows
        return say({"data": [row for row in shown if row["updated_at"] >= asked.params.get("since", "")]})

    api.answer("/parents", say({"data": [{"id": 1}, {"id": 2}]}))
    for parent in born:
        api.route(f"/parents/{parent}/rows", children)


def _absent(api: FakeApi, turn: Turn) -> None:
    api.answer("/rows", say({"data": _rows(1, 12)}))


def _killed(api: FakeApi, turn: Turn) -> None:
    def page(asked: Asked) -> Answer:
        number = int(asked.params.get("cursor", 1))
        rows = _rows((number - 1) * PAGE_ROWS + 1, number * PAGE_ROWS)
        held = turn.number == 1 and number > KILLED_AFTER
        if held:
            turn.reached.set()
        following = str(number + 1) if number < PAGES else None
        return say({"data": rows, "next": following}, delay_s=HOLD_S if held else 0)

    api.route("/rows", page)


def _numbers(api: FakeApi, turn: Turn) -> None:
    """Page 0 is taken for page 1, as many APIs do."""
    rows = _rows(1, 12)

    def page(asked: Asked) -> Answer:
        number = max(1, int(asked.params.get("page", 1)))
        return say({"data": rows[(number - 1) * 5 : number * 5], "more": number < 3})

    api.route("/rows", page)


def _nulls(api: FakeApi, turn: Turn) -> None:
    empty = [{"id": number, "size": None, "place": None} for number in (1, 2)]
    full = [{"id": 3, "size": LARGE, "place": {"x": 1.5}}]
    api.route(
        "/rows",
        lambda asked: say({"data": full, "next": None} if asked.params.get("cursor") else {"data": empty, "next": "2"}),
    )


def _empty(api: FakeApi, turn: Turn) -> None:
    api.route("/rows", lambda asked: say({"data": _rows(1, 12) if turn.number == 1 else []}))


def _lag(api: FakeApi, turn: Turn) -> None:
    """The second run finds a row that is older than the watermark, and within two days of it."""
    rows: list[dict[str, Any]] = [
        {"id": number, "updated_at": f"2024-01-{number:02}T00:00:00Z"} for number in range(1, 13)
    ]
    late = {"id": 13, "updated_at": "2024-01-11T12:00:00Z"}

    def page(asked: Asked) -> Answer:
        shown = rows if turn.number == 1 else [*rows, late]
        return say({"data": [row for row in shown if row["updated_at"] >= asked.params.get("since", "")]})

    api.route("/rows", page)


_ONE = "  rows: {{path: /rows, records: data, {}}}\n"
_CURSOR = "paginate: {cursor: {from: next, param: cursor}}"
_CHILDREN = """\
  parents: {path: /parents, records: data, paginate: none, key: id, write: replace}
  rows:
    for_each: {resource: parents}
    path: /parents/{parents.id}/rows
    records: data
    paginate: none
    incremental: {cursor: updated_at, since_param: since, start: 2024-01-01}
    key: id
    write: upsert
    columns: {updated_at: timestamp}
"""
_LAG = (
    "paginate: none, incremental: {cursor: updated_at, since_param: since, start: 2024-01-01, lag: 2d}, "
    "key: id, write: upsert, columns: {updated_at: timestamp}"
)


def _ids(*numbers: int) -> frozenset[object]:
    return frozenset(numbers)


FAULTS = (
    Fault(
        "token",
        "A token that comes again",
        _token,
        _ONE.format(f"{_CURSOR}, key: id, write: replace"),
        None,
        error=True,
    ),
    Fault(
        "moved",
        "A row that moves between pages: one of 250 goes, and another is never shown",
        _moved,
        _ONE.format("paginate: {offset: {size: 100, size_param: limit, total: total}}, key: id, write: replace"),
        _ids(*range(1, 251)),
    ),
    Fault(
        "error",
        "An error body under HTTP 200",
        _error,
        _ONE.format("paginate: none, key: id, write: replace"),
        _ids(),
        error=True,
    ),
    Fault(
        "parents",
        "A watermark for each parent: a row that is new for one is older than another's; two runs",
        _parents,
        _CHILDREN,
        _ids(11, 12, 21),
        runs=2,
    ),
    Fault(
        "absent",
        "One endpoint answers 404 beside a healthy one of 12 rows",
        _absent,
        "  gone: {path: /gone, records: data, paginate: none, write: replace}\n"
        + _ONE.format("paginate: none, write: replace"),
        _ids(*range(1, 13)),
        error=True,
    ),
    Fault(
        "killed",
        "`kill -9` with 32 of 40 pages read, then run again",
        _killed,
        _ONE.format(f"{_CURSOR}, write: append"),
        _ids(*range(1, PAGES * PAGE_ROWS + 1)),
        runs=2,
        killed=True,
    ),
    Fault(
        "numbers",
        "Pages are numbered from 1, and 0 is taken for 1: by each tool's default",
        _numbers,
        _ONE.format("paginate: page_number, write: append"),
        _ids(*range(1, 13)),
    ),
    Fault(
        "nulls",
        "A first page with nulls only; then 2^53 + 1 and an object",
        _nulls,
        _ONE.format(f"{_CURSOR}, write: append"),
        frozenset({(1, None, None), (2, None, None), (3, LARGE, 1.5)}),
        identity=by_values,
    ),
    Fault(
        "empty",
        "`[]` after a full table of 12 rows that each run replaces",
        _empty,
        _ONE.format("paginate: none, write: replace"),
        _ids(*range(1, 13)),
        runs=2,
        error=True,
    ),
    Fault(
        "lag",
        "An upsert that reads two days again: a late row; two runs",
        _lag,
        _ONE.format(_LAG),
        _ids(*range(1, 14)),
        runs=2,
    ),
)
