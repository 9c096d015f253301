"""What append, replace and upsert make of rows, checked against merges too simple to be wrong."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batch import Part
from pipelines.errors import ExpectationFailed, KeyMissing, PartitionError, PipelineError, SchemaError, TypeConflict
from pipelines.load.changes import Unit
from pipelines.load.lake import Committed, Lake
from pipelines.load.merge import Change, Place, work
from pipelines.load.parquet import PartWriter
from pipelines.load.target import Target
from tests.load.disks import QUICK

UPSERT = Target(key=("id",), write="upsert", version="version", partition_by=("team",))


class Shop:
    """A lake with one dataset, and what its readers see."""

    def __init__(self, root: Path) -> None:
        self.root, self.lake = root, Lake(root, "shop", disk=QUICK)
        self.change = Change()

    def load(self, target: Target, *tables: pa.Table, run: Any = None) -> Committed:
        """One run that reads *tables*, a batch each."""
        with self.lake.lock("run"):
            self.lake.recover()
            draft = self.lake.begin("run")
            place = Place(self.lake.store, self.lake.tmp, "orders", target, disk=QUICK)
            parts: list[Part] = []
            for number, table in enumerate(tables):
                with PartWriter(place.store, "orders", target, sequence=number, disk=QUICK, staged=True) as writer:
                    writer.write(table)
                    parts += writer.close()
            self.change = self.lake.merge(place, draft.dataset("orders"), parts, *([run] if run else []))
            draft.set_files("orders", self.change, target)
            return self.lake.commit(draft)

    @property
    def table(self) -> pa.Table:
        """All rows that are visible."""
        return pq.read_table(self.root / "parquet/shop/orders", partitioning=None)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All visible rows, in order of their first column."""
        return sorted(self.table.to_pylist(), key=lambda row: str(next(iter(row.values()))))

    @property
    def files(self) -> set[str]:
        """The names that a glob finds."""
        return {path.name for path in (self.root / "parquet").rglob("*.parquet")}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """An empty lake."""
    return Shop(tmp_path)


def rows(*values: tuple[int, int | None, str, int]) -> pa.Table:
    """(id, version, value, team) rows."""
    names = ("id", "version", "value", "team")
    kinds = (pa.int64(), pa.int64(), pa.string(), pa.int64())
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    return pa.Table.from_pylist([dict(zip(names, value, strict=True)) for value in values], schema)


def test_append_adds_rows_and_keeps_the_files_that_are_there(shop: Shop) -> None:
    target = Target(write="append", partition_by=("team",))
    shop.load(target, rows((1, 1, "a", 0), (2, 1, "b", 1)))
    before = shop.files

    shop.load(target, rows((3, 1, "c", 0)))

    assert [row["id"] for row in shop.rows] == [1, 2, 3]
    assert before < shop.files
    assert shop.change.counts == {"new": 1}


@pytest.mark.parametrize("write", ["append", "replace", "upsert", "history"])
@pytest.mark.parametrize("told", [{"partition_by": "team"}, {"sort_by": "team"}])
def test_a_batch_may_lack_what_rows_are_sorted_and_divided_by(shop: Shop, write: str, told: dict[str, str]) -> None:
    """An API that leaves out what is null: those rows have nulls, in the first run and in the next two."""
    target = Target.model_validate({"write": write, "key": "id", **told})
    shop.load(target, pa.table({"id": [1]}), pa.table({"id": [2], "team": ["a"]}))
    first = [(row["id"], row["team"]) for row in shop.rows]

    for number in (3, 4):
        shop.load(target, pa.table({"id": [number]}))

    assert first == [(1, None), (2, "a")]
    assert [row["id"] for row in shop.rows] == ([4] if write == "replace" else [1, 2, 3, 4])
    assert shop.lake.verify().defects == ()


@pytest.mark.parametrize("write", ["append", "replace", "upsert", "history"])
@pytest.mark.parametrize(
    ("told", "kind", "message"),
    [
        ({"partition_by": "day(taem)"}, PartitionError, "shop.orders: `partition_by` names 'taem', which is no column"),
        ({"sort_by": "taem"}, SchemaError, "shop.orders: `sort_by` names 'taem', which is no column of the rows"),
    ],
)
def test_what_no_row_has_can_neither_sort_nor_divide_them(
    shop: Shop, write: str, told: dict[str, str], kind: type[PipelineError], message: str
) -> None:
    target = Target.model_validate({"write": write, "key": "id", **told})
    table = pa.table({"id": [1], "team": ["a"]})

    with pytest.raises(kind, match=re.escape(message)) as raised:
        shop.load(target, table)
    assert raised.value.hint == "columns: id, team"

    shop.load(Target.model_validate({"write": write, "key": "id"}), table)
    if told.get("partition_by") and write != "replace":
        with pytest.raises(kind, match=re.escape(message)):
            shop.load(target)


def test_replace_leaves_only_what_was_read_last(shop: Shop) -> None:
    target = Target(write="replace", partition_by=("team",))
    shop.load(target, rows((1, 1, "a", 0), (2, 1, "b", 1)))

    shop.load(target, rows((2, 1, "B", 1), (3, 1, "c", 1)))

    assert [(row["id"], row["value"]) for row in shop.rows] == [(2, "B"), (3, "c")]
    assert shop.change.counts == {"new": 2, "unchanged": 0, "removed": 2}


def test_replace_with_the_same_rows_in_other_batches_changes_no_file(shop: Shop) -> None:
    target = Target(write="replace", partition_by=("team",))
    shop.load(target, rows((1, 1, "a", 0), (2, 1, "b", 1), (4, 1, "d", 1)))

    committed = shop.load(target, rows((4, 1, "d", 1)), rows((2, 1, "b", 1), (1, 1, "a", 0)))

    assert not committed.changed
    assert committed.head is not None
    assert committed.head.n == 1


def test_replace_writes_only_the_partitions_that_differ(shop: Shop) -> None:
    target = Target(write="replace", partition_by=("team",))
    shop.load(target, rows((1, 1, "a", 0), (2, 1, "b", 1)))

    shop.load(target, rows((1, 1, "a", 0), (2, 1, "changed", 1)))

    assert {file.split("-")[1] for file in shop.files} == {"000000000001", "000000000002"}


def test_an_empty_answer_does_not_empty_a_dataset_unless_it_may(shop: Shop) -> None:
    shop.load(Target(write="replace"), rows((1, 1, "a", 0)))

    with pytest.raises(ExpectationFailed, match="1 rows are committed") as caught:
        shop.load(Target(write="replace"))
    shop.load(Target(write="replace", allow_empty=True))

    assert "allow_empty" in caught.value.hint
    assert shop.files == set()


def test_g21_the_greatest_version_wins_and_of_equal_ones_the_later_read(shop: Shop) -> None:
    shop.load(UPSERT, rows((1, 2, "second", 0), (1, 3, "third", 0), (1, 1, "first", 0)))
    shop.load(UPSERT, rows((1, 3, "third, read again", 0)), rows((1, 3, "and again", 0)))
    shop.load(UPSERT, rows((1, 2, "late", 0)))

    assert [row["value"] for row in shop.rows] == ["and again"]
    assert shop.change.counts == {"new": 0, "updated": 0, "unchanged": 0, "stale": 1, "duplicates": 0}


def test_reading_the_same_rows_again_makes_no_commit(shop: Shop) -> None:
    shop.load(UPSERT, rows(*((i, 1, "v", i % 3) for i in range(30))))

    committed = shop.load(UPSERT, rows(*((i, 1, "v", i % 3) for i in range(20))))

    assert not committed.changed
    assert shop.change.counts["unchanged"] == 20


def test_an_upsert_rewrites_only_files_that_hold_one_of_the_keys(shop: Shop) -> None:
    shop.load(UPSERT, rows(*((i, 1, "v", i % 3) for i in range(30))))

    shop.load(UPSERT, rows((0, 2, "new", 0), (3, 2, "new", 0), (1, 1, "v", 1)))

    assert sorted(file.split("-")[1] for file in shop.files) == ["000000000001"] * 2 + ["000000000002"]
    assert shop.change.counts == {"new": 0, "updated": 2, "unchanged": 1, "stale": 0, "duplicates": 0}


def test_a_row_that_moves_to_another_partition_is_there_once(shop: Shop) -> None:
    shop.load(UPSERT, rows((1, 1, "a", 0), (2, 1, "b", 0)))

    shop.load(UPSERT, rows((1, 2, "moved", 1)))

    assert [(row["id"], row["team"]) for row in shop.rows] == [(1, 1), (2, 0)]


def test_small_upserts_do_not_leave_a_file_each(shop: Shop) -> None:
    for run in range(20):
        shop.load(UPSERT, rows((run, 1, "v", 0)))

    assert len(shop.files) == 1
    assert len(shop.rows) == 20


def test_g20_a_row_without_its_key_fails_the_merge(shop: Shop) -> None:
    with pytest.raises(KeyMissing, match="1 rows have no value for their key"):
        shop.load(UPSERT, pa.table({"id": [1, None], "version": [1, 1], "team": [0, 0]}))
    with pytest.raises(KeyMissing, match="no row has the column 'id'"):
        shop.load(UPSERT, pa.table({"version": [1], "team": [0]}))


def test_g18_all_files_have_one_schema_after_a_column_has_widened_or_joined(shop: Shop) -> None:
    """int, then float and a new column, then text: four readers see one column each time."""
    target = Target(write="append")
    shop.load(target, pa.table({"id": [1], "size": [1]}))
    shop.load(target, pa.table({"id": [2], "size": [2.5], "new": ["x"]}))

    shop.load(target, pa.table({"id": [3], "size": ["n/a"], "new": pa.nulls(1)}))

    assert shop.rows == [
        {"id": 1, "size": "1", "new": None},
        {"id": 2, "size": "2.5", "new": "x"},
        {"id": 3, "size": "n/a", "new": None},
    ]
    assert len({pq.read_schema(path) for path in (shop.root / "parquet").rglob("*.parquet")}) == 1


def test_g18_an_upsert_matches_keys_across_a_change_of_types(shop: Shop) -> None:
    shop.load(UPSERT, rows((1, 1, "a", 0), (2, 1, "b", 1)))
    wider = pa.table({"id": pa.array([2], pa.int32()), "version": [2], "value": ["B"], "team": [1], "more": [0.5]})

    shop.load(UPSERT, wider)

    assert [(row["id"], row["value"], row["more"]) for row in shop.rows] == [(1, "a", None), (2, "B", 0.5)]


def test_g15_an_integer_that_a_float_cannot_hold_is_never_rounded(shop: Shop) -> None:
    shop.load(Target(write="append"), pa.table({"n": [2**53 + 1]}))

    with pytest.raises(TypeConflict, match="without loss"):
        shop.load(Target(write="append"), pa.table({"n": [0.5]}))


def test_units_run_in_other_processes_with_the_same_result(shop: Shop) -> None:
    """Everything that crosses is small and picklable."""
    sizes: list[int] = []
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:

        def spread(units: Iterable[Unit]) -> list[Any]:
            units = list(units)
            sizes.extend(len(pickle.dumps(unit)) for unit in units)
            return list(pool.map(work, units))

        shop.load(UPSERT, rows(*((i, 1, "v", i % 3) for i in range(3000))), run=spread)
        shop.load(UPSERT, rows(*((i, 2, "w", i % 3) for i in range(0, 6000, 2))), run=spread)

    assert shop.change.counts == {"new": 1500, "updated": 1500, "unchanged": 0, "stale": 0, "duplicates": 0}
    assert max(sizes) < 5000


RUN = st.lists(
    st.tuples(st.integers(0, 12), st.none() | st.integers(0, 5), st.sampled_from("abc"), st.integers(0, 2)), max_size=12
)


@given(runs=st.lists(RUN, min_size=1, max_size=4), cut=st.integers(1, 5), versioned=st.booleans())
@settings(max_examples=30)
def test_any_sequence_of_upserts_equals_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[list[tuple[int, int | None, str, int]]],
    cut: int,
    versioned: bool,
) -> None:
    """Rows in any batches: last wins, or greatest version (null is least), whatever the partitions."""
    shop = Shop(tmp_path_factory.mktemp("any"))
    target = UPSERT if versioned else Target(key=("id",), write="upsert", partition_by=("team",))
    newest: dict[int, tuple[int, int | None, str, int]] = {}

    for run in runs:
        shop.load(target, *(rows(*run[i : i + cut]) for i in range(0, len(run), cut)))
        for row in run:
            known = newest.get(row[0])
            if known is None or not versioned or _version(row) >= _version(known):
                newest[row[0]] = row

    visible = [tuple(row.values()) for row in shop.rows] if newest else []
    assert sorted(visible, key=str) == sorted(newest.values(), key=str)


def _version(row: tuple[int, int | None, str, int]) -> int:
    return -1 if row[1] is None else row[1]
