"""A type that is declared once there are rows: these take it in the next run's commit, or the run says why not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.load.lake import Lake
from pipelines.report.result import SourceReport
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import FakeApi, say
from tests.test_types_run import NOW, Shop, kinds, shop

__all__ = ["shop"]  # a fixture
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
MODES = {
    "append": "write: append",
    "upsert": "write: upsert",
    "folders": "write: upsert, partition_by: id",
    "history": "write: history",
}


def lines(mode: str, *more: str) -> list[str]:
    return [*MODES[mode].split(", "), *more]


def files(shop: Shop) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (shop.folder / "data").rglob("*.parquet")}


def head(shop: Shop) -> int:
    return Lake(shop.folder / "data", "shop").log.numbers()[-1]


def values(shop: Shop) -> list[Any]:
    """Of all orders, in their order."""
    return [row["v"] for row in sorted(shop.stored(), key=lambda row: row["id"])]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("stored", "declared", "new", "expected"),
    [
        pytest.param(["9", "10"], "int64", "11", [9, 10, 11], id="numbers-in-text"),
        pytest.param([1, 2], "string", 3, ["1", "2", "3"], id="whole-numbers-as-text"),
        pytest.param(
            ["1.10", "2"], "'decimal(6,2)'", "3.5", [Decimal("1.10"), Decimal(2), Decimal("3.50")], id="money"
        ),
        pytest.param([1.0, 2.0], "int64", 3, [1, 2, 3], id="fractions-that-are-none"),
        pytest.param(
            ["2024-05-01T12:00:00Z", "2024-05-01T14:00:00.5+02:00"],
            "timestamp",
            "2024-05-01T12:00:00.7Z",
            [NOON, NOON + timedelta(seconds=0.5), NOON + timedelta(seconds=0.7)],
            id="times",
        ),
        pytest.param(
            ["2024-05-01 14:00:00", None],
            "{type: timestamp, zone: Europe/Madrid}",
            "2024-05-01 14:00:01",
            [NOON, None, NOON + timedelta(seconds=1)],
            id="times-without-zone",
        ),
        pytest.param(
            [1714564800, 1714564801],
            "timestamp(ms) from epoch_s",
            1714564802,
            [NOON, NOON + timedelta(seconds=1), NOON + timedelta(seconds=2)],
            id="seconds-since-1970",
        ),
        pytest.param(
            ["2024-05-01", "2024-05-02"], "date", "2024-05-03", [date(2024, 5, d) for d in (1, 2, 3)], id="days"
        ),
    ],
)
def test_stored_rows_take_a_type_that_is_declared_later(
    shop: Shop, mode: str, stored: list[Any], declared: str, *, new: Any, expected: list[Any]
) -> None:
    """As they would be, were they read again; the commit before stays as it was, and the next run writes nothing."""
    shop.configure(*lines(mode))
    assert kinds(shop.read(*stored)) == []
    before = files(shop)

    shop.configure(*lines(mode, f"columns: {{v: {declared}}}"))
    shop.api.pages("/orders", records=[{"id": 2, "v": new}])
    report = shop.run()
    after, commit = files(shop), head(shop)
    again = shop.run() if mode != "append" else None

    assert (kinds(report), report.resources[0].new) == ([], 1)
    assert values(shop) == expected
    assert all(after.get(path) == data for path, data in before.items() if "store" in path.parts)
    assert again is None or head(shop) == commit
    assert Lake(shop.folder / "data", "shop").verify().defects == ()


def test_a_history_whose_versions_are_declared_later_has_their_type_in_its_times(shop: Shop) -> None:
    shop.configure("write: history", "version: v")
    shop.api.pages("/orders", records=[{"id": 1, "v": "2024-05-01T14:00:00+02:00"}])
    shop.run()
    shop.configure("write: history", "version: v", "columns: {v: timestamp}")
    shop.api.pages("/orders", records=[{"id": 1, "v": "2024-05-01T13:00:00Z"}])

    assert kinds(shop.run()) == []

    spans = {(row["valid_from"], row["valid_to"], row["is_current"]) for row in shop.stored()}
    later = NOON + timedelta(hours=1)
    assert spans == {(NOON, later, False), (later, None, True)}
    assert Lake(shop.folder / "data", "shop").verify().defects == ()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("stored", "declared", "told"),
    [
        ("n/a", "int64", "is a string of 3 characters and no number"),
        (1.5, "int64", "is no whole number"),
        (300, "int8", "lies outside -128 to 127"),
        ("2024-05-01 12:00:00", "timestamp", "a stored time names no zone"),
        ([1], "int64", "stored values are list<"),
        ({"a": 1, "b": 2}, "'struct<a: int64>'", "would not all survive"),
    ],
)
def test_what_does_not_fit_fails_the_run_and_stays_as_it_is(
    shop: Shop, mode: str, stored: Any, declared: str, told: str
) -> None:
    """Until the configuration says that a column may be wider."""
    new = {"timestamp": "2024-05-01T12:00:00Z", "'struct<a: int64>'": {"a": 7}}.get(declared, 7)
    shop.configure(*lines(mode))
    shop.read(stored)
    before, commit = files(shop), head(shop)
    shop.api.pages("/orders", records=[{"id": 1, "v": new}])

    shop.configure(*lines(mode, f"columns: {{v: {declared}}}"))
    problem = shop.run().resources[0].problem
    after = files(shop), head(shop)
    shop.configure(*lines(mode, f"columns: {{v: {declared}}}", "on_mismatch: widen"))
    widened = kinds(shop.run())

    assert problem is not None
    assert problem.kind == "TypeConflict"
    assert problem.message.startswith("shop.orders: 'v' is declared ")
    assert told in problem.message
    assert "`on_mismatch: widen`" in problem.hint
    assert after == (before, commit)
    assert (widened, len(shop.stored())) == ([], 2)


@pytest.mark.parametrize("folders", ["", "partition_by: code"])
def test_keys_that_are_one_as_numbers_become_one_row(shop: Shop, folders: str) -> None:
    """The one with the greatest version, in the folder of its number."""
    more = ["write: upsert", "key: code", "version: v", *filter(None, [folders])]
    shop.configure(*more)
    orders = [{"code": "7", "v": 1}, {"code": "7.0", "v": 3}, {"code": "8", "v": 1}, {"code": "9", "v": 1}]
    shop.api.pages("/orders", records=orders)
    assert shop.run().resources[0].new == 4

    shop.configure(*more, "columns: {code: int64}")
    shop.api.pages("/orders", records=[{"code": "8.0", "v": 2}, {"code": "10", "v": 1}])

    assert kinds(shop.run()) == []
    assert {row["code"]: row["v"] for row in shop.stored()} == {7: 3, 8: 2, 9: 1, 10: 1}
    assert len(shop.stored()) == 4
    assert Lake(shop.folder / "data", "shop").verify().defects == ()


def test_a_history_keeps_the_type_of_its_key(shop: Shop) -> None:
    shop.configure("write: history")
    shop.api.pages("/orders", records=[{"id": "7", "v": 1}])
    shop.run()
    before = files(shop)

    shop.configure("write: history", "columns: {id: int64}")
    problem = shop.run().resources[0].problem

    assert problem is not None
    assert (problem.kind, "keys of another type" in problem.message) == ("SchemaError", True)
    assert files(shop) == before


def test_nothing_is_written_until_rows_come(shop: Shop) -> None:
    shop.configure("write: upsert")
    shop.read("9")
    commit = head(shop)
    shop.configure("write: upsert", "columns: {v: int64}", "on_new_column: add")
    shop.api.pages("/orders", records=[])

    assert kinds(shop.run()) == []
    assert head(shop) == commit


def test_times_do_not_lose_their_hours_when_they_are_declared_days(shop: Shop) -> None:
    shop.configure("write: upsert", "columns: {v: timestamp}")
    shop.read("2024-05-01T00:00:00Z", "2024-05-02T12:00:00Z")
    shop.configure("write: upsert", "columns: {v: date}")
    shop.api.pages("/orders", records=[{"id": 2, "v": "2024-05-03"}])

    failed = kinds(shop.run())
    shop.configure("write: upsert", "columns: {v: timestamp}")
    shop.read("2024-05-01T00:00:00Z", "2024-05-02T00:00:00Z")
    shop.configure("write: upsert", "columns: {v: date}")
    shop.api.pages("/orders", records=[{"id": 2, "v": "2024-05-03"}])

    assert failed == ["TypeConflict"]
    assert kinds(shop.run()) == []
    assert values(shop) == [date(2024, 5, day) for day in (1, 2, 3)]


def test_a_masked_column_keeps_what_the_mask_makes_of_it(shop: Shop) -> None:
    mask = "mask: {v: {sha256: pepper-and-salt}}"
    shop.configure("write: upsert", mask)
    shop.read("9")
    masked = values(shop)

    shop.configure("write: upsert", mask, "columns: {v: string}")
    shop.read("9", "10")

    assert values(shop)[:1] == masked


CURSOR = """\
base_url: {url}
resources:
  orders:
    path: /orders
    records: data
    paginate: none
    write: append
    params: {{since: "{{window.start}}"}}
    incremental: {{cursor: at, start: 2024-01-01}}
    {more}
"""


def read_since(api: FakeApi, folder: Path, more: str, *times: str) -> SourceReport:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config/shop.yaml").write_text(CURSOR.format(url=api.url, more=more))
    api.answer("/orders", say({"data": [{"at": time, "n": int(time[18:19])} for time in times]}))
    project = load_project({}, root=folder, data=folder / "data")
    return run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here()))


def test_rows_of_the_boundary_come_once_though_their_cursor_is_declared_meanwhile(api: FakeApi, tmp_path: Path) -> None:
    """The newest row is read again by each run, and told by what it holds."""
    first, second, third = (f"2024-05-01T12:00:0{number}Z" for number in (1, 2, 3))

    reports = [
        read_since(api, tmp_path, "expect: [{min_rows: 1}]", first, second),
        read_since(api, tmp_path, "columns: {at: timestamp}", second, third),
        read_since(api, tmp_path, "columns: {at: timestamp}", third),
    ]

    assert [kinds(report) for report in reports] == [[], [], []]
    stored = pq.read_table(tmp_path / "data/parquet/shop/orders", partitioning=None)
    assert stored["at"].type == pa.timestamp("us", "UTC")
    assert sorted(stored["n"].to_pylist()) == [1, 2, 3]


@pytest.mark.parametrize("write", ["append", "upsert", "history", "replace"])
@pytest.mark.parametrize("moved", ["rename: {v: value}", "columns: {value: {from: v}}"])
def test_a_field_that_moves_to_another_column_is_told_once(shop: Shop, write: str, moved: str) -> None:
    """Stored rows have it in the old one; but `replace` leaves none of them."""
    shop.configure(f"write: {write}")
    shop.read(1, 2)
    shop.configure(f"write: {write}", moved)
    shop.api.pages("/orders", records=[{"id": 3, "v": 3}])

    warnings = [shop.run().resources[0].warnings for _ in range(2)]

    told = (
        "shop.orders: 'v' is 'value' from now on, and stored rows keep the old column; "
        "`threadmill drop shop.orders` has all read anew"
    )
    assert warnings == [() if write == "replace" else (told,), ()]


def test_a_time_is_not_taken_for_its_number(shop: Shop) -> None:
    """Seconds as the API has them, and microseconds as they are stored, would stand beside each other."""
    shop.configure("write: upsert", "columns: {v: timestamp from epoch_s}")
    shop.read(1714564800)
    shop.configure("write: upsert", "columns: {v: int64}")
    shop.api.pages("/orders", records=[{"id": 1, "v": 1714564801}])

    assert kinds(shop.run()) == ["TypeConflict"]
    assert values(shop) == [NOON]


@pytest.mark.parametrize(
    ("nothing", "value", "declared", "expected"), [(None, "9", "int64", 9), ([], ["9"], "list<int64>", [9])]
)
def test_an_older_file_that_has_only_nulls_takes_any_type(
    shop: Shop, nothing: Any, value: Any, declared: str, expected: Any
) -> None:
    more = ["write: append", "older_files: cast"]
    shop.configure(*more)
    shop.read(nothing, nothing)
    shop.api.pages("/orders", records=[{"id": 2, "v": value}])
    assert kinds(shop.run()) == []

    shop.configure(*more, f"columns: {{v: '{declared}'}}")
    shop.api.pages("/orders", records=[{"id": 3, "v": value}])

    assert kinds(shop.run()) == []
    assert values(shop) == [nothing, nothing, expected, expected]


def test_rows_of_the_boundary_come_once_though_they_become_text(api: FakeApi, tmp_path: Path) -> None:
    """A whole number among fractions: 1.0 where it is stored, 1 where it is read again."""
    (tmp_path / "config").mkdir()

    def read(more: str, *numbers: float) -> list[str]:
        text = CURSOR.format(url=api.url, more=more)
        (tmp_path / "config/shop.yaml").write_text(text)
        api.answer("/orders", say({"data": [{"at": "2024-05-01T12:00:00Z", "n": one} for one in numbers]}))
        project = load_project({}, root=tmp_path, data=tmp_path / "data")
        return kinds(run_source(project.sources["shop"], Shared("r", NOW, project.settings, Here())))

    assert [read("key: n", 1, 2.5), read("columns: {n: string}\n    key: n", 1, 3.5)] == [[], []]
    stored = pq.read_table(tmp_path / "data/parquet/shop/orders", partitioning=None)
    assert sorted(stored["n"].to_pylist()) == ["1", "2.5", "3.5"]
