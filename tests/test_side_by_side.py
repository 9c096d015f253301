"""What runs side by side: pages, batches and sources wait for no other, and rows stand in the order of the API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.config.project import load_project
from pipelines.extract.events import Event
from pipelines.run import run
from tests.fake_api import Answer, Asked, FakeApi, fake_api


def test_pages_that_come_in_any_order_are_committed_in_theirs(api: FakeApi, tmp_path: Path) -> None:
    """The first pages are the slowest, batches are small and two workers take them: rows stand as the API has them."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(
        f"base_url: {api.url}\nlimits: {{in_flight: 16}}\nresources:\n"
        "  orders: {path: /orders, records: data, write: replace, paginate: {page_number: {total: total}}}\n"
    )
    api.pages("/orders", records=4_000, page_size=100, style="page_number")
    whole = api.routed("/orders")
    came: list[int] = []

    def slower_at_first(asked: Asked) -> Answer:
        number = int(asked.params.get("page", 1))
        time.sleep(0.25 * (40 - number) / 40 if number > 1 else 0)
        came.append(number)
        return whole(asked)

    api.route("/orders", slower_at_first)
    project = load_project(
        {"THREADMILL_WORKERS": "2", "THREADMILL_BATCH_SIZE": "10KB"}, root=tmp_path, data=tmp_path / "data"
    )

    report = run(project)

    rows = [row["id"] for row in pq.read_table(tmp_path / "data/parquet/shop/orders").to_pylist()]
    assert (report.problems, sorted(came)) == ([], list(range(1, 41)))
    assert came != sorted(came)
    assert rows == list(range(4_000))


def events_of_two(
    tmp_path: Path, one: FakeApi, other: FakeApi, *, at_commit: Callable[[str], object] = str, **settings: str
) -> list[tuple[str, str]]:
    """(source, kind) of what happens in a run of two sources, `one` and `other`, of a resource each."""
    (tmp_path / "config").mkdir()
    for name, api in (("one", one), ("other", other)):
        (tmp_path / "config" / f"{name}.yaml").write_text(
            f"base_url: {api.url}\nresources:\n"
            "  rows: {path: /rows, records: data, write: replace, paginate: {next_url: next}}\n"
        )
    seen: list[tuple[str, str]] = []

    def listen(source: str, event: Event) -> None:
        seen.append((source, event.kind))
        if event.kind == "committed":
            at_commit(source)

    report = run(load_project(settings, root=tmp_path, data=tmp_path / "data"), listen=listen)
    assert report.problems == []
    return seen


def test_a_source_with_much_to_compute_keeps_no_small_one_waiting(tmp_path: Path) -> None:
    """One worker for both: the small source has its turn long before the deep one is through."""
    with fake_api() as deep, fake_api() as small:
        deep.pages("/rows", records=60_000, page_size=500, style="next_url")
        small.pages("/rows", records=10, page_size=10, style="next_url")

        seen = events_of_two(tmp_path, deep, small, THREADMILL_WORKERS="1", THREADMILL_BATCH_SIZE="20KB")

    until = seen[: seen.index(("other", "batch"))]
    assert seen.count(("one", "batch")) > 20
    assert until.count(("one", "batch")) < seen.count(("one", "batch")) / 2


def test_a_slow_api_delays_no_other(tmp_path: Path) -> None:
    """One source is fetched, computed and committed before the other's API answers at all."""
    committed = threading.Event()
    with fake_api() as slow, fake_api() as quick:
        slow.pages("/rows", records=10, page_size=10, style="next_url")
        whole = slow.routed("/rows")
        slow.route("/rows", lambda asked: whole(asked) if committed.wait(25) else Answer(503))
        quick.pages("/rows", records=1_000, page_size=100, style="next_url")

        seen = events_of_two(tmp_path, slow, quick, at_commit=lambda source: committed.set())

    assert seen.index(("other", "committed")) < seen.index(("one", "answered"))
