"""Names of partitions, schemas that widen, parts that are written."""

from __future__ import annotations

import errno
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipelines.batch import digest
from pipelines.errors import PartitionError, SchemaError, StoreError, TypeConflict
from pipelines.load.parquet import PartWriter, Sizes
from pipelines.load.partitions import MAX_LABEL_BYTES, decode, encode, split
from pipelines.load.schema import common_type, decode_schema, encode_schema, recast, unify
from pipelines.load.target import Target
from tests.load.disks import QuickDisk


@given(st.none() | st.text(max_size=300))
@settings(max_examples=300)
def test_s13_any_text_becomes_a_safe_name_and_comes_back(value: str | None) -> None:
    """ASCII, at most 120 bytes, no separator, never a relative or empty name."""
    name = encode(value)

    assert 0 < len(name.encode("ascii")) <= MAX_LABEL_BYTES
    assert not set(name) & set('/\\\0:*?"<>|= \n')
    assert name not in {".", ".."}
    assert decode(name) == value or ("~" in name and value is not None and len(value) > 10)


@given(st.lists(st.text(max_size=150), unique=True, max_size=20))
def test_s13_different_texts_get_different_names(values: list[str]) -> None:
    names = {encode(value) for value in [*values, None]}

    assert len(names) == len(values) + 1


def test_split_keeps_every_row_in_its_order() -> None:
    table = pa.table({"team": ["b", "a", None, "b", "a"], "n": [0, 1, 2, 3, 4]})

    found = {folder: rows["n"].to_pylist() for folder, rows in split(table, ("team",))}
    ordered = {folder: rows["n"].to_pylist() for folder, rows in split(table, ("team",), ("n",))}

    assert found == {"by_team=b": [0, 3], "by_team=a": [1, 4], "by_team=__null__": [2]} == ordered


@pytest.mark.parametrize(
    ("partition_by", "kind", "message"),
    [
        pytest.param("month(x)", pa.int64(), "cannot partition by month", id="month-of-a-number"),
        pytest.param("x", pa.float64(), "cannot partition by value", id="value-of-a-float"),
        pytest.param("bucket(4, x)", pa.struct([("a", pa.int64())]), "group it by another", id="bucket-of-an-object"),
        pytest.param("x", pa.list_(pa.int64()), "group it by another", id="value-of-a-list"),
        pytest.param("x", pa.timestamp("us"), "cannot partition by value", id="value-of-a-time"),
    ],
)
def test_a_column_that_cannot_name_a_partition_is_refused(partition_by: str, kind: pa.DataType, message: str) -> None:
    with pytest.raises(PartitionError, match=message):
        list(split(pa.table({"x": pa.nulls(1, kind)}), (partition_by,)))


@pytest.mark.parametrize("partition_by", ["y", "day(y)", "bucket(16, y)"])
def test_rows_without_the_column_that_makes_folders_have_nulls(partition_by: str) -> None:
    folders = [folder.partition("=")[2] for folder, _ in split(pa.table({"x": [1, 2]}), (partition_by,))]

    assert folders == ["__null__"]


def test_rows_of_many_folders_are_written_side_by_side_and_described_each(tmp_path: Path) -> None:
    """40 folders of 100 rows, each part with its own rows, least and greatest value."""
    table = pa.table({"team": [i % 40 for i in range(4000)], "n": range(4000)})

    with PartWriter(tmp_path, "d", Target(partition_by=("team",)), stats=("n",)) as writer:
        writer.write(table)
        parts = writer.close()

    read = [pq.read_table(tmp_path / part.path, partitioning=None).to_pylist() for part in parts]
    assert [part.partition for part in parts] == [f"by_team={team}" for team in range(40)]
    assert [part.stats["n"] for part in parts] == [(team, 3960 + team) for team in range(40)]
    assert [digest((tmp_path / part.path).read_bytes()) for part in parts] == [part.digest for part in parts]
    assert read == [[{"team": team, "n": n} for n in range(team, 4000, 40)] for team in range(40)]


def test_more_partitions_than_a_folder_should_have_are_refused() -> None:
    with pytest.raises(PartitionError, match="more than 10000"):
        list(split(pa.table({"x": list(range(10_001))}), ("x",)))


def test_a_column_named_like_a_partition_folder_is_refused() -> None:
    with pytest.raises(SchemaError, match="has the name of the partition folder"):
        list(split(pa.table({"at": pa.nulls(1, pa.date32()), "month": [1]}), ("month(at)",)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"write": "upsert"}, "needs a `key`", id="upsert-without-key"),
        pytest.param({"version": "v"}, "goes with", id="version-without-upsert"),
        pytest.param({"partition_by": ["week(at)"]}, "is no partition", id="unknown-partition"),
        pytest.param({"partition_by": ["day(a)", "day(b)"]}, "share a folder name", id="same-folder-name"),
        pytest.param({"write": "merge"}, "append", id="unknown-mode"),
    ],
)
def test_a_target_that_cannot_work_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Target.model_validate(settings)


TEXT, INT, FLOAT, NULL = pa.string(), pa.int64(), pa.float64(), pa.null()


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        pytest.param(NULL, INT, INT, id="null-int"),
        pytest.param(pa.int32(), INT, INT, id="int-int"),
        pytest.param(INT, FLOAT, FLOAT, id="int-float"),
        pytest.param(INT, pa.uint64(), pa.decimal128(20, 0), id="int-uint"),
        pytest.param(INT, pa.decimal128(12, 2), pa.decimal128(21, 2), id="int-decimal"),
        pytest.param(pa.decimal128(5, 1), pa.decimal128(6, 4), pa.decimal128(8, 4), id="decimal-decimal"),
        pytest.param(pa.decimal128(38, 2), INT, pa.decimal128(38, 2), id="decimal-at-its-limit"),
        pytest.param(FLOAT, pa.decimal128(5, 1), TEXT, id="float-decimal"),
        pytest.param(pa.bool_(), INT, TEXT, id="bool-int"),
        pytest.param(pa.date32(), pa.timestamp("ms"), pa.timestamp("ms"), id="date-time"),
        pytest.param(pa.timestamp("s", "UTC"), pa.timestamp("us", "UTC"), pa.timestamp("us", "UTC"), id="time-time"),
        pytest.param(pa.timestamp("s"), pa.timestamp("s", "UTC"), TEXT, id="time-with-and-without-zone"),
        pytest.param(pa.list_(NULL), pa.list_(INT), pa.list_(INT), id="list"),
        pytest.param(
            pa.struct({"a": INT}), pa.struct({"b": TEXT}), pa.struct({"a": INT, "b": TEXT}), id="struct-grows"
        ),
        pytest.param(pa.struct({"a": INT}), INT, TEXT, id="struct-int"),
    ],
)
def test_two_types_widen_to_the_narrowest_that_holds_both(
    one: pa.DataType, other: pa.DataType, both: pa.DataType
) -> None:
    assert common_type(one, other) == both
    assert common_type(other, one).id == both.id


def test_rows_survive_a_wider_schema_value_by_value() -> None:
    table = pa.table({"n": [2**53 + 1, None], "s": [{"a": 1}, None], "t": pa.array([1, 2], pa.timestamp("s"))})
    schema = pa.schema({"x": TEXT, "n": pa.decimal128(20, 1), "s": TEXT, "t": pa.timestamp("us")})

    rows = recast(table, schema).to_pylist()

    assert [row["n"] for row in rows] == [Decimal(2**53 + 1), None]
    assert [row["s"] for row in rows] == ['{"a":1}', None]
    assert [row["x"] for row in rows] == [None, None]


def test_types_that_differ_are_refused_where_the_policy_does_not_widen() -> None:
    one, other = pa.schema({"n": INT}), pa.schema({"n": TEXT})

    with pytest.raises(TypeConflict, match="is int64 and now comes as string"):
        unify([one, other], "fail")
    assert unify([one, pa.schema({"n": NULL})], "fail") == one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(pa.list_(NULL), pa.list_(TEXT), id="list"),
        pytest.param(pa.struct({"a": NULL}), pa.struct({"a": INT}), id="struct"),
        pytest.param(pa.struct({"a": INT}), pa.struct({"a": INT, "b": TEXT}), id="new-field"),
    ],
)
def test_g19_a_type_that_comes_late_is_refused_by_no_policy(one: pa.DataType, other: pa.DataType) -> None:
    schemas = [pa.schema({"n": one}), pa.schema({"n": other})]

    assert unify(schemas, "fail") == schemas[1]


def test_g17_columns_that_differ_only_in_case_are_refused() -> None:
    with pytest.raises(SchemaError, match="'A' and 'a' differ only in case"):
        unify([pa.schema({"A": INT, "a": INT})])


def test_a_schema_reads_back_from_its_json() -> None:
    schema = pa.schema(
        [
            pa.field("a", pa.list_(pa.struct({"x": INT, "y": pa.list_(TEXT)}))),
            pa.field("b", pa.timestamp("ms", "Europe/Madrid"), metadata={"unit": "€"}),
            pa.field("c", pa.decimal128(12, 2)),
            pa.field("d", pa.date32()),
            pa.field("e", NULL),
        ]
    )

    again = decode_schema(encode_schema(schema))

    assert again.equals(schema, check_metadata=True)


def test_a_part_is_described_as_it_lies_on_disk(tmp_path: Path) -> None:
    table = pa.table({"id": [3, 1, 2], "name": ["c", "a", "b"]})

    with PartWriter(tmp_path, "d", Target(key=("id",), sort_by=("id",)), sequence=7, stats=("name",)) as writer:
        writer.write(table)
        (part,) = writer.close()

    data = (tmp_path / part.path).read_bytes()
    metadata = pq.read_metadata(tmp_path / part.path)
    assert (part.rows, part.sequence, part.size_bytes, part.digest) == (3, 7, len(data), digest(data))
    assert part.stats == {"id": (1, 3), "name": ("a", "c")}
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert pq.read_table(tmp_path / part.path, page_checksum_verification=True)["id"].to_pylist() == [1, 2, 3]


def test_many_small_tables_become_few_row_groups(tmp_path: Path) -> None:
    """200 tables of 1,000 rows: two files, a row group each."""
    with PartWriter(tmp_path, "d", Target(partition_by=("team",))) as writer:
        for _ in range(200):
            writer.write(pa.table({"team": [0, 1] * 500, "n": list(range(1000))}))
        parts = writer.close()

    assert [part.rows for part in parts] == [100_000, 100_000]
    assert [pq.read_metadata(tmp_path / part.path).num_row_groups for part in parts] == [1, 1]


def test_a_file_that_is_large_enough_is_closed(tmp_path: Path) -> None:
    sizes = Sizes(row_group_bytes=10_000, held_bytes=50_000, file_bytes=20_000, open_files=2)
    with PartWriter(tmp_path, "d", Target(partition_by=("team",)), sizes=sizes) as writer:
        for number in range(40):
            names = [os.urandom(8).hex() for _ in range(1000)]
            writer.write(pa.table({"team": [number % 5] * 1000, "name": names}))
        parts = writer.close()

    assert sum(part.rows for part in parts) == 40_000
    assert len(parts) > 5


@pytest.mark.parametrize(("folders", "room"), [pytest.param(3, 2, id="few"), pytest.param(20, 9, id="side-by-side")])
def test_k05_a_disk_that_fills_up_while_writing_leaves_no_part(tmp_path: Path, folders: int, room: int) -> None:
    class Filling(QuickDisk):
        """Has room for some writes."""

        writes = 0

        def write(self, file: int, data: bytes | memoryview) -> None:
            """Refuse those after *room*."""
            self.writes += 1
            if self.writes > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(file, data)

    def write_all() -> None:
        with PartWriter(tmp_path, "d", Target(partition_by=("team",)), disk=Filling()) as writer:
            writer.write(pa.table({"team": range(folders), "n": range(folders)}))
            writer.close()

    with pytest.raises(StoreError, match="No space left"):
        write_all()

    assert list(tmp_path.rglob("*.parquet")) == []


def _nested(levels: int, kind: str) -> pa.Array:
    array = pa.array([7])
    for _ in range(levels):
        array = (
            pa.ListArray.from_arrays([0, 1], array) if kind == "lists" else pa.StructArray.from_arrays([array], ["a"])
        )
    return array


def _written(store: Path, target: Target, table: pa.Table) -> Path:
    with PartWriter(store, "d", target) as writer:
        writer.write(table)
        (part,) = writer.close()
    return store / part.path


@pytest.mark.parametrize("kind", ["lists", "objects"])
def test_what_is_nested_so_deeply_that_nobody_could_read_it_is_not_written(tmp_path: Path, kind: str) -> None:
    """Parquet's readers give up at 50 lists, and a commit is for ever; what is written all of them read."""
    path = _written(tmp_path / "deep", Target(), pa.table({"x": _nested(40, kind)}))
    with pytest.raises(SchemaError, match="'x' has more than 40 lists or objects") as refused:
        _written(tmp_path / "deeper", Target(), pa.table({"x": _nested(41, kind)}))

    assert pq.read_table(path).num_rows == duckdb.read_parquet(str(path)).shape[0] == len(pl.read_parquet(path)) == 1
    assert "`columns: {x: json}`" in refused.value.hint
    assert not list((tmp_path / "deeper").rglob("*.parquet"))


@pytest.mark.parametrize("order", [{"sort_by": ("n", "tags")}, {"write": "upsert", "key": ("n",), "version": "tags"}])
def test_lists_and_objects_are_no_order(tmp_path: Path, order: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match=r"'tags' is list<.*>, which no order") as refused:
        _written(tmp_path, Target(**order), pa.table({"n": [1], "tags": [["a"]]}))

    assert refused.value.hint == f"correct `{'sort_by' if 'sort_by' in order else 'version'}`"

    assert not list(tmp_path.rglob("*.parquet"))
