"""Every version of a key and when it held; rows that are gone. Checked against a history too simple to be wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.batch import Part
from pipelines.errors import DecodeError, ExpectationFailed, KeyMissing, SchemaError
from pipelines.load.lake import Committed, Lake
from pipelines.load.merge import Change, Place, plan, resolve
from pipelines.load.target import Target
from tests.load.disks import QUICK

BEGIN = datetime(2024, 5, 1, tzinfo=UTC)
VERSIONED = Target.model_validate({"key": "id", "write": "history", "version": "v", "deletes": {"when": "gone"}})
PLAIN = Target(key=("id",), write="history")


class Shop:
    """A lake with one dataset whose runs are an hour apart."""

    def __init__(self, root: Path) -> None:
        self.root, self.lake, self.hours = root, Lake(root, "shop", disk=QUICK), 0
        self.change = Change()

    def load(self, target: Target, *tables: pa.Table, full: bool = False) -> Committed:
        """One run that reads *tables*, a batch each; the first at 0 h."""
        with self.lake.lock("run"):
            self.lake.recover()
            draft = self.lake.begin("run")
            now = BEGIN + timedelta(hours=self.hours)
            told = target.telling({name for table in tables for name in table.column_names if filled(table[name])})
            place = Place(self.lake.store, self.lake.tmp, "prices", told, disk=QUICK, now=now, full=full)
            parts: list[Part] = []
            for number, table in enumerate(tables):
                with place.writer(number) as writer:
                    writer.write(table)
                    parts += writer.close()
            self.change = resolve(plan(place, draft.dataset("prices"), parts))
            draft.set_files("prices", self.change, target)
            self.hours += 1
            return self.lake.commit(draft)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All visible rows by key and time."""
        folder = self.root / "parquet/shop/prices"
        table = pq.read_table(folder, partitioning=None) if any(folder.rglob("*.parquet")) else pa.table({})
        return sorted(table.to_pylist(), key=lambda row: (row["id"], row["valid_from"]))

    @property
    def spans(self) -> list[tuple[Any, ...]]:
        """(id, price, from, to), times as hours of the runs or plain versions."""
        return [(row["id"], row["price"], hour(row["valid_from"]), hour(row["valid_to"])) for row in self.rows]


def filled(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count < len(column))


def hour(value: Any) -> Any:
    return (value - BEGIN) / timedelta(hours=1) if isinstance(value, datetime) else value


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """An empty lake."""
    return Shop(tmp_path)


def prices(*rows: tuple[int, str]) -> pa.Table:
    return pa.table({"id": [row[0] for row in rows], "price": [row[1] for row in rows]})


def versions(*rows: tuple[int, int | None, str, bool]) -> pa.Table:
    schema = pa.schema({"id": pa.int64(), "v": pa.int64(), "price": pa.string(), "gone": pa.bool_()})
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema)


def test_a_changed_row_closes_the_one_before_and_an_unchanged_one_closes_nothing(shop: Shop) -> None:
    shop.load(PLAIN, prices((1, "a"), (2, "b")))
    shop.load(PLAIN, prices((1, "A"), (2, "b")))

    assert shop.spans == [(1, "a", 0, 1), (1, "A", 1, None), (2, "b", 0, None)]
    assert [row["is_current"] for row in shop.rows] == [False, True, True]
    assert shop.change.counts == {"new": 0, "updated": 1, "unchanged": 1, "removed": 0, "duplicates": 0}


def test_reading_the_same_rows_again_makes_no_commit(shop: Shop) -> None:
    shop.load(PLAIN, prices((1, "a"), (2, "b")))

    committed = shop.load(PLAIN, prices((2, "b")), prices((1, "a")))

    assert not committed.changed
    assert shop.change.counts["unchanged"] == 2


def test_versions_that_come_late_take_their_place_in_time(shop: Shop) -> None:
    """3, then 1 and 7, then 5: each ends where the next begins."""
    for batch in ([3], [1, 7], [5], [3, 1]):
        shop.load(VERSIONED, versions(*((1, v, f"p{v}", False) for v in batch)))

    assert shop.spans == [(1, "p1", 1, 3), (1, "p3", 3, 5), (1, "p5", 5, 7), (1, "p7", 7, None)]
    assert shop.lake.log.numbers()[-1] == 3


def test_a_version_that_comes_again_with_other_values_is_corrected_in_place(shop: Shop) -> None:
    shop.load(VERSIONED, versions((1, 1, "a", False), (1, 4, "d", False)))

    shop.load(VERSIONED, versions((1, 1, "corrected", False)))

    assert shop.spans == [(1, "corrected", 1, 4), (1, "d", 4, None)]


def test_a_tombstone_closes_the_row_that_holds_and_a_later_version_begins_anew(shop: Shop) -> None:
    shop.load(VERSIONED, versions((1, 1, "a", False), (2, 1, "b", False)))
    shop.load(VERSIONED, versions((1, 5, "a", True), (3, 1, "never seen", True)))
    again = shop.load(VERSIONED, versions((1, 5, "a", True)))
    shop.load(VERSIONED, versions((1, 8, "back", False), (1, 3, "late", False)))

    assert shop.spans == [(1, "a", 1, 3), (1, "late", 3, 5), (1, "back", 8, None), (2, "b", 1, None)]
    assert not again.changed


def test_a_row_that_a_full_read_has_no_more_is_closed(shop: Shop) -> None:
    target = Target.model_validate({**PLAIN.model_dump(), "deletes": {"missing": True}})
    shop.load(target, prices((1, "a"), (2, "b")), full=True)

    shop.load(target, prices((2, "b")), full=False)
    partly = shop.spans
    shop.load(target, prices((2, "b")), full=True)
    shop.load(target, prices((1, "a"), (2, "b")), full=True)

    assert partly == [(1, "a", 0, None), (2, "b", 0, None)]
    assert shop.spans == [(1, "a", 0, 2), (1, "a", 3, None), (2, "b", 0, None)]


@pytest.mark.parametrize("edited", [0, 0.5, 5])
def test_a_version_that_a_full_read_has_again_holds_from_then_on(shop: Shop, edited: float) -> None:
    """Taken down, put up again: as it was (edited at 0 h), edited before it was missed (0.5), or to be edited (5)."""
    target = Target.model_validate({**PLAIN.model_dump(), "version": "v", "deletes": {"missing": True}})

    def read(*values: tuple[int, str, float]) -> None:
        table = [{"id": id_, "price": price, "v": BEGIN + timedelta(hours=at)} for id_, price, at in values]
        shop.load(target, pa.Table.from_pylist(table), full=True)

    read((1, "a", 0), (2, "b", 0))
    read((2, "b", 0))
    read((2, "b", 0))
    again = (1, "a" if edited == 0 else "A", edited)
    read(again, (2, "b", 0))
    counts = shop.change.counts
    committed = shop.lake.log.head()
    read(again, (2, "b", 0))

    of_one = {
        0: [(1, "a", 0, 1), (1, "a", 3, None)],
        0.5: [(1, "a", 0, 0.5), (1, "A", 0.5, 1), (1, "A", 3, None)],
        5: [(1, "a", 0, 1), (1, "A", 5, None)],
    }
    assert [span for span in shop.spans if span[0] == 1] == of_one[edited]
    assert [(row["id"], row["price"]) for row in shop.rows if row["is_current"]] == [(1, again[1]), (2, "b")]
    assert (counts["unchanged"], counts["new"], counts["removed"]) == (1, 0, 0)
    assert shop.lake.log.head() == committed


def test_a_correction_reaches_the_row_that_holds_though_its_key_was_missed_meanwhile(shop: Shop) -> None:
    """A version that was missed and is back holds in two rows, of which both say what it says now."""
    target = Target.model_validate({**PLAIN.model_dump(), "version": "v", "deletes": {"missing": True}})

    def read(*values: tuple[int, str]) -> None:
        shop.load(
            target, pa.Table.from_pylist([{"id": one, "price": price, "v": BEGIN} for one, price in values]), full=True
        )

    read((1, "a"), (2, "b"))
    read((2, "b"))
    read((1, "a"), (2, "b"))
    read((1, "A"), (2, "b"))
    counts, committed = shop.change.counts, shop.lake.log.head()
    read((1, "A"), (2, "b"))

    assert [span for span in shop.spans if span[0] == 1] == [(1, "A", 0, 1), (1, "A", 2, None)]
    assert (counts["new"], counts["updated"], counts["unchanged"]) == (0, 1, 1)
    assert shop.lake.log.head() == committed


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("ms", "UTC")], ids=str)
def test_a_version_that_was_missed_on_its_own_day_holds_again_once_it_is_back(shop: Shop, kind: pa.DataType) -> None:
    """Times that know no microseconds: it ended as it began, and that is no version which holds."""
    target = Target.model_validate({**PLAIN.model_dump(), "version": "v", "deletes": {"missing": True}})

    def read(*ids: int) -> None:
        versions = pa.array([BEGIN + timedelta(days=1)] * len(ids), pa.timestamp("us", "UTC")).cast(kind, safe=False)
        shop.load(target, pa.table({"id": ids, "price": ["a"] * len(ids), "v": versions}), full=True)

    read(1, 2)
    read(2)
    missed = [row["id"] for row in shop.rows if row["is_current"]]
    read(1, 2)
    back = [row["id"] for row in shop.rows if row["is_current"]]
    committed = shop.lake.log.head()
    read(1, 2)

    assert (missed, back) == ([2], [1, 2])
    assert shop.lake.log.head() == committed


def test_a_key_whose_newest_row_is_a_deletion_does_not_come_back(shop: Shop) -> None:
    """A full read that has all versions, of which the last says that it is gone."""
    target = Target.model_validate(
        {"key": "id", "write": "history", "version": "v", "deletes": {"when": "gone", "missing": True}}
    )

    def read() -> None:
        rows = [(1, 0, "a", False), (1, 1, "a", True), (2, 0, "b", False)]
        table = [{"id": i, "v": BEGIN + timedelta(hours=v), "price": p, "gone": gone} for i, v, p, gone in rows]
        shop.load(target, pa.Table.from_pylist(table), full=True)

    read()
    first = shop.spans
    read()

    assert shop.spans == first == [(1, "a", 0, 1), (2, "b", 0, None)]


def test_an_upsert_removes_rows_that_are_marked_or_missing(shop: Shop) -> None:
    marked = Target.model_validate(
        {"key": "id", "write": "upsert", "deletes": {"when": "gone", "missing": True}, "version": "v"}
    )
    shop.load(marked, versions((1, 1, "a", False), (2, 1, "b", False), (3, 3, "c", False), (4, 1, "d", False)))

    shop.load(marked, versions((1, 2, "a", True), (3, 2, "stale", True), (5, 1, "unknown", True)))
    after_marks = [(row["id"], row["price"]) for row in sorted_rows(shop)]
    shop.load(marked, versions((2, 1, "b", False)), full=True)

    assert after_marks == [(2, "b"), (3, "c"), (4, "d")]
    assert [row["id"] for row in sorted_rows(shop)] == [2]
    assert shop.change.counts["removed"] == 2


@pytest.mark.parametrize("write", ["upsert", "history"])
@pytest.mark.parametrize(("when", "mark"), [("gone", True), ("!active", False)])
def test_only_rows_that_are_gone_need_the_field_that_says_so(shop: Shop, write: str, when: str, mark: bool) -> None:
    """A first run without any, a batch beside one that has it, and a run that has none again."""
    target = Target.model_validate({"key": "id", "write": write, "deletes": {"when": when}})
    name = when.strip("!")

    shop.load(target, prices((1, "a"), (2, "b"), (3, "c")))
    live = prices((2, "B")).append_column(name, pa.array([not mark]))
    shop.load(target, live, pa.table({"id": [1], "price": ["a"], name: [mark]}))
    shop.load(target, live.set_column(1, "price", pa.array(["BB"])))

    current = [(row["id"], row["price"]) for row in sorted_rows(shop) if row.get("is_current", True)]
    assert current == [(2, "BB"), (3, "c")]


@pytest.mark.parametrize("write", ["upsert", "history"])
def test_a_batch_without_the_field_that_says_what_is_gone_has_nulls(shop: Shop, write: str) -> None:
    target = Target.model_validate({"key": "id", "write": write, "deletes": {"when": "gone"}})
    shop.load(target, prices((1, "a"), (2, "b")))

    shop.load(target, pa.table({"id": [1], "price": ["a"], "gone": [True]}), prices((2, "B"), (3, "c")))
    shop.load(target, prices((3, "C")))

    current = [(row["id"], row["price"]) for row in sorted_rows(shop) if row.get("is_current", True)]
    assert current == [(2, "B"), (3, "C")]


@pytest.mark.parametrize("write", ["upsert", "history"])
@pytest.mark.parametrize("when", ["!active", "active != `true`"])
def test_a_run_without_the_field_that_says_so_takes_no_row_for_gone(shop: Shop, write: str, when: str) -> None:
    """Either is true of a row that has no such field; where its column is declared, all have null."""
    target = Target.model_validate({"key": "id", "write": write, "deletes": {"when": when}})
    shop.load(target, prices((1, "a"), (2, "b")).append_column("active", pa.array([True, True])))

    shop.load(target, prices((1, "A")), prices((2, "b"), (3, "c")))

    current = [(row["id"], row["price"]) for row in sorted_rows(shop) if row.get("is_current", True)]
    assert current == [(1, "A"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("write", ["upsert", "history"])
@pytest.mark.parametrize(
    ("when", "kept", "gone"),
    [
        pytest.param("ceil(mark) == `2`", Decimal("2.50"), Decimal("1.50"), id="decimal-in-a-function"),
        pytest.param("mark == `1.1`", Decimal("1.50"), Decimal("1.10"), id="decimal-compared"),
        pytest.param("starts_with(mark, '1970')", date(2024, 5, 1), date(1970, 1, 1), id="date"),
        pytest.param("mark == '1970-01-01T00:00:00'", datetime(2024, 5, 1), datetime(1970, 1, 1), id="time"),  # noqa: DTZ001
        pytest.param("contains(mark[].at, `1`)", [{"at": Decimal(2)}], [{"at": Decimal(1)}], id="nested"),
    ],
)
def test_what_says_that_a_row_is_gone_is_asked_as_json(
    shop: Shop, write: str, when: str, kept: object, gone: object
) -> None:
    target = Target.model_validate({"key": "id", "write": write, "deletes": {"when": when}})

    shop.load(target, prices((1, "a"), (2, "b")).append_column("mark", pa.array([kept, kept])))
    shop.load(target, prices((1, "a")).append_column("mark", pa.array([gone])))

    assert [row["id"] for row in sorted_rows(shop) if row.get("is_current", True)] == [2]


def test_a_function_that_does_not_take_a_null_says_so(shop: Shop) -> None:
    """No value of a row is in the message."""
    target = Target.model_validate({"key": "id", "write": "upsert", "deletes": {"when": "starts_with(mark, 'x')"}})

    with pytest.raises(DecodeError, match=r"starts_with\(\) takes string, and meets null") as caught:
        shop.load(target, prices((1, "a"), (2, "b")).append_column("mark", pa.array(["y", None])))

    assert "not_null(" in caught.value.hint


def sorted_rows(shop: Shop) -> list[dict[str, Any]]:
    table = pq.read_table(shop.root / "parquet/shop/prices", partitioning=None)
    return sorted(table.to_pylist(), key=lambda row: int(row["id"]))


@pytest.mark.parametrize("write", ["upsert", "history"])
def test_an_empty_full_read_removes_nothing_unless_it_may(shop: Shop, write: str) -> None:
    careful = Target.model_validate({"key": "id", "write": write, "deletes": {"missing": True}})
    shop.load(careful, prices((1, "a")), full=True)

    with pytest.raises(ExpectationFailed, match="1 rows are committed"):
        shop.load(careful, full=True)
    shop.load(careful.model_copy(update={"allow_empty": True}), full=True)

    assert shop.change.counts["removed"] == 1


def test_a_history_goes_on_when_columns_join_and_types_widen(shop: Shop) -> None:
    target = Target.model_validate({**PLAIN.model_dump(), "partition_by": ["price"]})
    shop.load(target, pa.table({"id": [1, 2], "price": ["a", "b"]}))

    shop.load(target, pa.table({"id": [1, 2], "price": ["c", "b"], "more": [None, 0.5]}))

    spans = [(row["price"], row["more"], hour(row["valid_to"])) for row in shop.rows]
    assert spans == [("a", None, 1), ("c", None, None), ("b", None, 1), ("b", 0.5, None)]
    assert shop.lake.verify().defects == ()


def test_small_changes_do_not_leave_a_file_each(shop: Shop) -> None:
    for run in range(12):
        shop.load(PLAIN, prices((1, f"p{run}"), (run + 10, "x")))

    assert len(shop.lake.snapshot()["prices"]) == 1
    assert len(shop.rows) == 24


def test_c07_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_begins(shop: Shop) -> None:
    shop.load(PLAIN, prices((1, "a")))
    shop.hours = -5
    shop.load(PLAIN, prices((1, "b")))

    spans = [(row["valid_from"], row["valid_to"]) for row in shop.rows]

    assert spans[0] == (BEGIN, BEGIN + timedelta(microseconds=1))
    assert spans[1] == (BEGIN + timedelta(microseconds=1), None)


def test_rows_without_key_or_version_and_taken_names_are_refused(shop: Shop) -> None:
    with pytest.raises(KeyMissing, match="1 rows have no value for id or v"):
        shop.load(VERSIONED, versions((1, None, "a", False)))
    with pytest.raises(SchemaError, match="records have a column 'valid_from'"):
        shop.load(PLAIN, pa.table({"id": [1], "valid_from": [1]}))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        pytest.param({"write": "history"}, "`write: history` needs a `key`", id="no-key"),
        pytest.param({"write": "append", "deletes": {"when": "x"}}, "`deletes` goes with", id="append-deletes"),
        pytest.param({"write": "history", "key": "id", "deletes": {}}, "needs `when` or", id="says-nothing"),
        pytest.param({"write": "upsert", "key": "id", "deletes": {"when": "a ="}}, "no JMESPath", id="no-jmespath"),
        pytest.param(
            {"write": "history", "key": "id", "partition_by": "is_current"}, "makes 'is_current' itself", id="own-name"
        ),
    ],
)
def test_a_target_that_cannot_work_is_refused(told: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Target.model_validate(told)


RUN = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.sampled_from("ab"), st.booleans()), max_size=8)


@given(runs=st.lists(RUN, min_size=1, max_size=4))
@settings(max_examples=15)
def test_any_order_of_versions_gives_the_spans_between_their_points(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[tuple[int, int, str, bool]]]
) -> None:
    """Rows only, no tombstones: the last text read of each version, from it to the next."""
    shop = Shop(tmp_path_factory.mktemp("any"))
    last: dict[tuple[int, int], str] = {}

    for run in runs:
        rows = [(key, version, price, False) for key, version, price, _ in run]
        shop.load(VERSIONED, versions(*rows[:3]), versions(*rows[3:]))
        last |= {(key, version): price for key, version, price, _ in rows}

    points = sorted(last)
    after = {one: two for one, two in pairwise(points) if one[0] == two[0]}
    spans = [(key, last[key, v], v, after[key, v][1] if (key, v) in after else None) for key, v in points]
    assert shop.spans == spans
