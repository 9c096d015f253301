"""`incremental: {ordered: ...}`: an order that the API promises is checked; what breaks it commits nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.fake_api import Answer, Asked, FakeApi, say
from tests.ledger_api import LedgerApi, row
from tests.processes import eventually
from tests.shop import Ended, start

UP = [f"2024-03-{day:02}T00:00:00Z" for day in range(1, 9)]


@pytest.mark.parametrize("write", ["append", "upsert"])
@pytest.mark.parametrize(
    ("ordered", "times"),
    [
        pytest.param("ascending", UP, id="ascending"),
        pytest.param("descending", UP[::-1], id="descending"),
        pytest.param("ascending", [UP[0]] * 4 + [UP[1]] * 4, id="equal-ones"),
    ],
)
def test_c05_pages_in_the_declared_order_are_read_as_ever(
    ledger: LedgerApi, ordered: str, times: list[str], write: str
) -> None:
    ledger.configure(write=write, incremental=f", ordered: {ordered}")
    ledger.rows = [row(number, at) for number, at in enumerate(times)]

    first, second = ledger.read(), ledger.read()

    assert (first.new, second.new) == (8, 0)
    assert ledger.stored("id") == list(range(8))


@pytest.mark.parametrize("columns", ["    columns: {at: timestamp}\n", ""], ids=["declared", "text"])
@pytest.mark.parametrize(
    ("ordered", "places", "told"),
    [
        pytest.param("ascending", [0, 2, 1, 3, 4, 5], "2024-03-02 00:00:00+00:00 follows 2024-03-03", id="in-a-page"),
        pytest.param("ascending", [3, 4, 5, 0, 1, 2], "from page 1 to 2", id="from-page-to-page"),
        pytest.param("descending", [5, 4, 3, 2, 0, 1], "on page 2", id="descending"),
    ],
)
def test_c05_what_breaks_the_declared_order_is_told_and_commits_nothing(
    ledger: LedgerApi, ordered: str, places: list[int], told: str, columns: str
) -> None:
    """The watermark stays, so that the next run, with the rows in order, has them all."""
    ledger.configure(write="append", incremental=f", ordered: {ordered}", more=columns)
    ledger.rows = [row(number, UP[number]) for number in places]

    (failed,) = ledger.run().resources
    after = (ledger.state(), ledger.stored("id"))
    ledger.rows.sort(key=lambda one: str(one["at"]), reverse=ordered == "descending")
    mended = ledger.read()

    assert failed.problem is not None
    assert failed.problem.kind == "OrderViolation"
    assert f"ledger.rows: 'at' is declared `ordered: {ordered}`" in failed.problem.message
    assert told in failed.problem.message
    assert "`ordered`" in failed.problem.hint
    assert after == (None, [])
    assert (mended.new, ledger.stored("id")) == (6, list(range(6)))


def test_c05_windows_owe_each_other_no_order(ledger: LedgerApi) -> None:
    """Each window of three days comes newest first; the windows are fetched side by side."""
    ledger.configure(incremental=", ordered: descending, window: 3d, end: 2024-03-10")
    ledger.rows = [row(number, at) for number, at in reversed(list(enumerate(UP)))]

    read = ledger.read()

    assert (read.new, read.warnings) == (8, ())


def test_c05_parents_owe_each_other_no_order(api: FakeApi, ledger: LedgerApi) -> None:
    """The second parent's rows are older than the first one's; its own second page is in order."""
    ledger.configure(incremental=", ordered: ascending")
    source = ledger.folder / "config" / "ledger.yaml"
    source.write_text(
        source.read_text()
        .replace("path: /rows", "path: /rows/{shop}\n    for_each: {values: {shop: [a, b]}}\n    carry: {shop: shop}")
        .replace("key: id", "key: [shop, id]")
    )
    for name, times in (("a", UP[4:]), ("b", UP[:4])):
        api.route(f"/rows/{name}", _pages([row(number, at) for number, at in enumerate(times)]))

    assert ledger.read().new == 8


def test_c05_a_run_killed_in_the_middle_of_unordered_rows_loses_none(ledger: LedgerApi) -> None:
    """Killed with page 1 of 3 read; the next run finds the disorder, and once the promise is gone all rows come."""
    ledger.configure(write="append", incremental=", ordered: ascending")
    ledger.rows = [row(number, UP[number]) for number in (5, 6, 7, 0, 1, 2, 3, 4)]
    route, held = ledger.api.routed("/rows"), []

    def hold(asked: Asked) -> Answer:
        if asked.params.get("page") in (None, "1"):
            return route(asked)
        held.append(asked)
        return say({}, delay_s=60)

    ledger.api.route("/rows", hold)
    killed = start(ledger.folder, "run", "--data", str(ledger.data))
    eventually(lambda: bool(held))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    ledger.api.route("/rows", route)
    ended = Ended.of(start(ledger.folder, "run", "--data", str(ledger.data), "--json"))
    after = (ledger.state(), ledger.stored("id"))
    ledger.configure(write="append")
    ledger.read()

    assert ended.code == 1, ended
    assert ended.resource("ledger.rows")["problem"]["kind"] == "OrderViolation"
    assert after == (None, [])
    assert ledger.stored("id") == list(range(8))


def _pages(rows: list[dict[str, Any]]) -> Callable[[Asked], Answer]:
    def page(asked: Asked) -> Answer:
        first = (int(asked.params.get("page", 1)) - 1) * 2
        return say({"data": rows[first : first + 2], "total": len(rows)})

    return page
