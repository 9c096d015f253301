"""Orders behind a search by POST and behind GraphQL, as such APIs answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from tests.fake_api import Answer, Asked, say
from tests.init.apis import Row


@dataclass
class Search:
    """A search whose body says what, from where and how many; `known` are the fields it takes."""

    rows: Sequence[Row]
    size: str = "size"
    begin: str = "from"
    known: frozenset[str] | None = None
    cap: int = 25
    counts: int | None = None
    """How far it counts: more are so many at least."""

    def __call__(self, asked: Asked) -> Answer:
        """Answer one request."""
        if asked.method != "POST":
            return say({"error": "POST a query"}, 405)
        body = orjson.loads(asked.body)
        if self.known is not None and (strange := set(body) - self.known):
            return say({"error": f"unknown key [{min(strange)}]"}, 400)
        found = [row for row in self.rows if row["paid"] == body.get("query", {}).get("paid", row["paid"])]
        start, size = int(_at(body, self.begin) or 0), min(int(_at(body, self.size) or 10), self.cap)
        hits = [{"_id": str(row["id"]), "_score": 1.0, "_source": row} for row in found[start : start + size]]
        total: dict[str, Any] = {"value": len(found)}
        if self.counts is not None and len(found) > self.counts:
            total = {"value": self.counts, "relation": "gte"}
        return say({"took": 3, "hits": {"total": total, "hits": hits}})


def tokens(rows: Sequence[Row]) -> Callable[[Asked], Answer]:
    """A search whose answer holds a token, which goes back in the body."""

    def answer(asked: Asked) -> Answer:
        body = orjson.loads(asked.body)
        start, size = int(str(body.get("cursor") or "c0")[1:]), min(int(body.get("limit", 10)), 25)
        following = f"c{start + size}" if start + size < len(rows) else None
        return say({"results": rows[start : start + size], "next_cursor": following})

    return answer


QUERY = """\
query Orders($first: Int = 10, $after: String) {
  orders(first: $first, after: $after) {
    totalCount
    edges { cursor node { id paid updatedAt } }
    pageInfo { startCursor hasNextPage endCursor }
  }
}
"""


@dataclass
class Relay:
    """A GraphQL connection, which says 200 to mistakes; `cap` is the greatest `first`."""

    rows: Sequence[Row]
    cap: int = 25
    fields: tuple[str, ...] = ("id", "paid", "updatedAt")

    def __call__(self, asked: Asked) -> Answer:
        """Answer one request."""
        document = orjson.loads(asked.body)
        if "orders" not in document.get("query", ""):
            return say({"errors": [{"message": "Syntax Error: Unexpected <EOF>."}]})
        given = document.get("variables") or {}
        literal = re.search(r"first: (\d+)", document["query"])
        first = int(given.get("first") or (literal[1] if literal else 10))
        if first > self.cap:
            return say({"data": None, "errors": [{"message": f"`first` must be at most {self.cap}"}]})
        start = int(given["after"][1:]) if given.get("after") else 0
        part = self.rows[start : start + first]
        edges = [{"cursor": f"k{start + n}", "node": self._node(row)} for n, row in enumerate(part, 1)]
        info = {
            "startCursor": edges[0]["cursor"] if edges else None,
            "hasNextPage": start + first < len(self.rows),
            "endCursor": edges[-1]["cursor"] if edges else None,
        }
        return say({"data": {"orders": {"totalCount": len(self.rows), "edges": edges, "pageInfo": info}}})

    def _node(self, row: Row) -> dict[str, Any]:
        return {name: row[name] for name in self.fields}


def _at(body: Any, path: str) -> Any:
    for name in path.split("."):
        body = body.get(name) if isinstance(body, dict) else None
    return body
