"""A configuration that changes between runs: rows are regrouped, told apart by their new key, or refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import KeyMissing, PipelineError, SchemaError
from pipelines.load.target import Target
from tests.load.test_history import Shop as HistoryShop
from tests.load.test_merge import Shop

ROWS = {"id": [1, 2, 3, 4], "team": ["a", "b", "a", "b"], "v": [1, 1, 1, 1]}


def target(write: str, **more: Any) -> Target:
    return Target.model_validate({"write": write, "key": "id", **more})


def folders(shop: Shop) -> dict[str, list[int]]:
    """The ids in each folder that a reader finds."""
    found: dict[str, list[int]] = {}
    view = shop.root / "parquet/shop/orders"
    for path in view.rglob("*.parquet"):
        ids = pq.read_table(path, columns=["id"], partitioning=None)["id"].to_pylist()
        folder = path.parent.relative_to(view).as_posix()
        found[folder] = sorted([*found.get(folder, []), *ids])
    return found


@pytest.mark.parametrize("write", ["append", "upsert", "history"])
@pytest.mark.parametrize(("before", "after"), [((), ("team",)), (("team",), ()), (("bucket(2, id)",), ("team",))])
def test_rows_move_into_the_folders_of_the_new_partitions(
    tmp_path: Path, write: str, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    """All of them, in the commit of the run that brings new rows; what is committed stays as it was."""
    shop = Shop(tmp_path)
    shop.load(target(write, partition_by=before), pa.table(ROWS))
    first = {path: path.read_bytes() for path in shop.lake.store.rglob("*.parquet")}
    read = (
        {"id": [5], "team": ["a"], "v": [1]} if write == "append" else {"id": [2, 5], "team": ["b", "a"], "v": [1, 1]}
    )

    shop.load(target(write, partition_by=after), pa.table(read))
    seen = folders(shop)
    quiet = shop.load(target(write, partition_by=after))

    assert seen == ({"by_team=a": [1, 3, 5], "by_team=b": [2, 4]} if after else {".": [1, 2, 3, 4, 5]})
    assert not quiet.changed
    assert shop.lake.tidy() == 0
    assert {path: path.read_bytes() for path in first} == first


@pytest.mark.parametrize("sort_by", [(), ("v",)])
@pytest.mark.parametrize("version", [None, "at"])
def test_every_version_of_a_history_moves(tmp_path: Path, version: str | None, sort_by: tuple[str, ...]) -> None:
    """Although its key may change the folder, and rows are sorted: nothing stands for a key but all its versions."""
    shop = HistoryShop(tmp_path)
    told = {"version": version} if version else {}
    for run in range(3):
        rows = {"id": [1, 2], "at": [run, run], "team": ["a", "b"], "v": [run, run]}
        shop.load(target("history", **told), pa.table(rows))
    before = [(row["id"], row["v"], row["valid_from"], row["valid_to"]) for row in shop.rows]
    new = pa.table({"id": [3], "at": [9], "team": ["a"], "v": [9]})

    shop.load(target("history", partition_by="team", sort_by=sort_by, **told), new)

    after = [(row["id"], row["v"], row["valid_from"], row["valid_to"]) for row in shop.rows]
    assert len(before) == 6
    assert after[:-1] == before
    assert len(list((tmp_path / "parquet").rglob("*.parquet"))) == 2


def test_a_key_that_moved_between_folders_is_the_row_that_was_read_last(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.load(Target(write="append"), pa.table({"id": [1, 2, 1, 2], "team": ["b", "a", "a", "b"], "v": [1, 2, 3, 4]}))

    shop.load(target("upsert", partition_by="team", sort_by="v"), pa.table({"id": [3], "team": ["a"], "v": [9]}))

    assert folders(shop) == {"by_team=a": [1, 3], "by_team=b": [2]}
    assert [(row["id"], row["v"]) for row in shop.rows] == [(1, 3), (2, 4), (3, 9)]


def test_stored_rows_lack_what_the_new_form_names(tmp_path: Path) -> None:
    """A column that is new in the configuration, and partitions, sorts or tells versions by it."""
    shop = Shop(tmp_path)
    shop.load(Target(write="append"), pa.table(ROWS))
    named = target("upsert", partition_by="region", sort_by="rank", version="at")

    shop.load(
        named,
        pa.table({"id": [1, 5], "team": ["a", "a"], "v": [2, 2], "region": ["x", "x"], "rank": [1, 2], "at": [1, 1]}),
    )

    assert folders(shop) == {"by_region=__null__": [2, 3, 4], "by_region=x": [1, 5]}


def test_files_that_were_only_cast_are_written_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    cast = {"older_files": "cast"}
    shop.load(target("upsert", **cast), pa.table(ROWS))

    shop.load(
        target("upsert", partition_by="team", **cast), pa.table({"id": [5], "team": ["a"], "v": [1], "more": [1]})
    )

    assert shop.lake.verify().defects == ()


def test_many_small_files_become_few(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    for number in range(12):
        shop.load(target("append"), pa.table({"id": [number], "team": [str(number % 2)]}))

    shop.load(target("append", partition_by="team"), pa.table({"id": [99], "team": ["1"]}))

    assert len(shop.files) <= 3
    assert sorted(row["id"] for row in shop.rows) == [*range(12), 99]


def test_new_partitions_need_no_new_rows(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.load(target("upsert"), pa.table(ROWS))

    shop.load(target("upsert", partition_by="team"))

    assert folders(shop) == {"by_team=a": [1, 3], "by_team=b": [2, 4]}


@pytest.mark.parametrize("write", ["append", "replace"])
def test_rows_that_were_appended_are_there_once_when_they_get_a_key(tmp_path: Path, write: str) -> None:
    shop = Shop(tmp_path)
    shop.load(Target.model_validate({"write": write}), pa.table({"id": [1, 1, 2], "v": [1, 2, 1]}))

    shop.load(target("upsert"), pa.table({"id": [2, 3], "v": [9, 9]}))

    assert [(row["id"], row["v"]) for row in shop.rows] == [(1, 2), (2, 9), (3, 9)]
    assert (shop.change.counts["new"], shop.change.counts["updated"]) == (1, 1)


@pytest.mark.parametrize("partition_by", [(), ("team",)])
def test_the_row_read_last_stands_for_its_key_also_where_older_files_were_written_again(
    tmp_path: Path, partition_by: tuple[str, ...]
) -> None:
    """The second run brings a column, so that the first file becomes a new one in its commit."""
    shop = Shop(tmp_path)
    append = Target(write="append", partition_by=partition_by)
    shop.load(append, pa.table({"id": [1], "team": ["b"], "v": ["old"]}))
    shop.load(append, pa.table({"id": [1], "team": ["a"], "v": ["new"], "more": [1]}))

    shop.load(target("upsert"), pa.table({"id": [2], "v": ["other"]}))

    assert [(row["id"], row["v"]) for row in shop.rows] == [(1, "new"), (2, "other")]


@pytest.mark.parametrize("large", [0, 1, 2])
def test_files_keep_their_order_when_small_ones_are_put_together(tmp_path: Path, large: int) -> None:
    """Two small ones and a large one, which stays as it is: the newest still has the row that counts."""
    shop = Shop(tmp_path)
    for run in range(3):
        rows = 4000 if run == large else 1
        table = {"id": [1, *range(run * 5000, run * 5000 + rows)], "v": [os.urandom(8).hex() for _ in range(rows + 1)]}
        shop.load(Target(write="append"), pa.table(table))
    newest = table["v"][0]
    before = len(shop.files)
    size = max(path.stat().st_size for path in shop.lake.snapshot()["orders"])

    with shop.lake.lock("compact"):
        shop.lake.compact("compact", file_bytes=size)
    after = len(shop.files)
    shop.load(target("upsert"), pa.table({"id": [-1], "v": ["other"]}))

    assert (before, after) == (3, 3 if large == 1 else 2)
    assert [row["v"] for row in shop.rows if row["id"] == 1] == [newest]


def test_another_key_tells_stored_rows_apart_as_well(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.load(target("upsert"), pa.table(ROWS))

    shop.load(target("upsert", key="team"), pa.table({"id": [9], "team": ["b"], "v": [2]}))

    assert [(row["id"], row["team"]) for row in shop.rows] == [(3, "a"), (9, "b")]


@pytest.mark.parametrize(
    ("before", "after", "kind", "message"),
    [
        ({"write": "upsert"}, {"write": "history"}, SchemaError, "4 rows are stored by `write: upsert`"),
        ({"write": "append"}, {"write": "history"}, SchemaError, "cannot go on as `history`"),
        ({"write": "history"}, {"write": "upsert"}, SchemaError, "4 rows are stored by `write: history`"),
        ({"write": "history"}, {"write": "append"}, SchemaError, "or give the resource another name"),
        ({"write": "history"}, {"write": "history", "key": "team"}, SchemaError, "history is that of the key id"),
        ({"write": "history"}, {"write": "history", "version": "v"}, SchemaError, "runs without `version`, not of v"),
        ({"write": "history", "version": "v"}, {"write": "history"}, SchemaError, "of v, not of runs without"),
        ({"write": "history", "version": "v"}, {"write": "history", "version": "id"}, SchemaError, "of v, not of id"),
        ({"write": "upsert"}, {"write": "upsert", "key": "order_id"}, KeyMissing, "have no column 'order_id'"),
        ({"write": "append"}, {"write": "upsert", "version": "edited"}, KeyMissing, "no row has the column 'edited'"),
    ],
)
def test_what_is_stored_is_never_taken_for_something_else(
    tmp_path: Path, before: dict[str, str], after: dict[str, str], kind: type[PipelineError], message: str
) -> None:
    shop = Shop(tmp_path)
    shop.load(target(**before), pa.table(ROWS))
    rows = shop.rows

    with pytest.raises(kind, match=message) as raised:
        shop.load(target(**after), pa.table({**ROWS, "order_id": [1, 2, 3, 4]}))

    assert str(raised.value.message).startswith("orders: ")
    assert shop.rows == rows


def test_equal_rows_are_written_again_in_a_new_order(tmp_path: Path) -> None:
    """Once: a third run by the same order writes nothing."""
    shop = Shop(tmp_path)
    read = pa.table({"id": [3, 1, 2], "v": [1, 3, 2]})
    shop.load(target("replace", sort_by="id"), read)
    before = shop.table["id"].to_pylist()

    shop.load(target("replace", sort_by="v"), read)
    after = shop.table["id"].to_pylist()
    third = shop.load(target("replace", sort_by="v"), read)

    assert (before, after) == ([1, 2, 3], [3, 2, 1])
    assert not third.changed
    assert shop.lake.tidy() == 0


def test_a_history_may_be_replaced(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.load(target("history"), pa.table(ROWS))

    shop.load(target("replace"), pa.table({"id": [7], "team": ["a"], "v": [1]}))

    assert shop.rows == [{"id": 7, "team": "a", "v": 1}]
