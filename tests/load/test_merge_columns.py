"""Upserts whose columns and folders change from run to run: every key once, with the row that was read last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.load.target import OlderFiles, Target
from tests.load.test_merge import Shop

PLACES = [(), ("bucket(2, id)",), ("team",)]


@pytest.mark.parametrize("partition_by", [(), ("bucket(2, id)",)])
def test_a_file_with_older_columns_that_new_rows_join_is_written_once(
    tmp_path: Path, partition_by: tuple[str, ...]
) -> None:
    """No key of the second run lies within those of the first: the file is only joined, and only for its columns."""
    shop = Shop(tmp_path)
    target = Target(write="upsert", key=("id",), partition_by=partition_by)
    shop.load(target, pa.table({"id": [1, 2, 4], "total": [10, 20, 40]}))

    shop.load(target, pa.table({"id": [5, 6], "total": [12.5, 13.0]}))

    assert [(row["id"], row["total"]) for row in shop.rows] == [(1, 10), (2, 20), (4, 40), (5, 12.5), (6, 13)]
    assert shop.change.counts["new"] == 2


def test_a_batch_without_the_version_column_has_no_versions(tmp_path: Path) -> None:
    """An API that leaves out what is null, and a batch in which it always is."""
    shop = Shop(tmp_path)
    target = Target(write="upsert", key=("id",), version="edited")

    shop.load(target, pa.table({"id": [1, 2]}), pa.table({"id": [2, 3], "edited": [7, 8]}))

    assert [(row["id"], row["edited"]) for row in shop.rows] == [(1, None), (2, 7), (3, 8)]


@pytest.mark.parametrize("where", [{"sort_by": ("v",)}, {"partition_by": ("v",)}], ids=["sorted", "divided"])
def test_of_rows_without_versions_the_one_read_last_counts_however_they_are_ordered(
    tmp_path: Path, where: dict[str, Any]
) -> None:
    """No record of the batch has the version, which another run had."""
    shop = Shop(tmp_path)
    target = Target.model_validate({"write": "upsert", "key": "id", "version": "edited", **where})

    shop.load(target, pa.table({"id": [2], "v": [5], "edited": [7]}))
    shop.load(target, pa.table({"id": [1, 1], "v": [9, 1]}))

    assert [(row["id"], row["v"]) for row in shop.rows] == [(1, 1), (2, 5)]


Batch = dict[str, list[Any]]


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Up to six rows of four columns, some of them with another type, or not there at all."""
    ids = draw(st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True))
    columns: Batch = {"id": ids, "team": [one % 3 for one in ids]}
    numbers = st.integers(0, 9) if draw(st.booleans()) else st.sampled_from([0.5, 1.5, 2.0])
    for name, values in (("total", numbers), ("note", st.sampled_from(["a", "b"]))):
        if draw(st.booleans()):
            columns[name] = draw(st.lists(values, min_size=len(ids), max_size=len(ids)))
    return columns


@settings(max_examples=60)
@given(
    runs=st.lists(st.tuples(st.sampled_from(PLACES), st.lists(batches(), max_size=2)), min_size=2, max_size=4),
    older_files=st.sampled_from(["rewrite", "cast"]),
)
def test_any_sequence_of_columns_and_folders_equals_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[tuple[str, ...], list[Batch]]],
    older_files: OlderFiles,
) -> None:
    shop = Shop(tmp_path_factory.mktemp("lake"))
    expected: dict[int, dict[str, Any]] = {}
    for partition_by, run in runs:
        target = Target(write="upsert", key=("id",), partition_by=partition_by, older_files=older_files)
        shop.load(target, *(pa.table(batch) for batch in run))
        for batch in run:
            expected |= {row["id"]: row for row in pa.table(batch).to_pylist()}

    files = (shop.root / "parquet").rglob("*.parquet")
    found = [row for path in files for row in pq.read_table(path, partitioning=None).to_pylist()]

    names = ("id", "team", "total", "note")
    assert sorted([tuple(row.get(name) for name in names) for row in found], key=str) == sorted(
        [tuple(row.get(name) for name in names) for row in expected.values()], key=str
    )
