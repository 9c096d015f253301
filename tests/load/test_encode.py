"""Staged parts become Parquet files of a good size, with the same rows in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.batch import Part
from pipelines.load.changes import Change, Place, resolve
from pipelines.load.encode import encoded
from pipelines.load.parquet import PartWriter
from pipelines.load.stored import STAGED, file_schema, groups
from pipelines.load.target import Target
from tests.load.disks import QUICK


class Staging:
    """A place, and what is staged there."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.place = Place(folder / "store", folder / "tmp", "orders", target, disk=QUICK)
        self.parts: list[Part] = []

    def stage(self, *tables: pa.Table) -> None:
        """A batch for each of *tables*."""
        place = self.place
        for table in tables:
            number = len(self.parts)
            with PartWriter(place.store, "orders", place.target, sequence=number, disk=QUICK, staged=True) as writer:
                writer.write(table)
                self.parts += writer.close()

    def encode(self, others: Sequence[Part] = ()) -> Change:
        """What becomes of the staged parts, beside *others*."""
        schema = file_schema(self.place.store / self.parts[0].path)
        return resolve(encoded(self.place, Change((), (*others, *self.parts), (), schema)))

    def read(self, change: Change) -> dict[str, list[int]]:
        """The numbers of each partition, in the order of its files."""
        found: dict[str, list[int]] = {}
        for part in change.added:
            found.setdefault(part.partition, []).extend(pq.read_table(self.place.store / part.path)["id"].to_pylist())
        return found


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path, Target(write="append"))


def numbers(first: int, last: int, **columns: pa.Array) -> pa.Table:
    return pa.table({"id": range(first, last), **columns})


def test_many_batches_become_one_file(staging: Staging) -> None:
    staging.stage(*(numbers(100 * i, 100 * i + 100) for i in range(30)))

    change = staging.encode()

    assert len(change.added) == 1
    assert staging.read(change) == {"": list(range(3_000))}
    assert change.dropped == tuple(staging.parts)


def test_each_partition_becomes_one_file(tmp_path: Path) -> None:
    staging = Staging(tmp_path, Target(write="append", partition_by=("team",)))
    teams = pa.array([f"t{i % 7}" for i in range(100)])
    staging.stage(*(numbers(100 * i, 100 * i + 100, team=teams) for i in range(5)))

    change = staging.encode()

    assert sorted(part.partition for part in change.added) == [f"by_team=t{i}" for i in range(7)]
    assert staging.read(change)["by_team=t3"] == [i for i in range(500) if i % 100 % 7 == 3]


def test_rows_of_many_bytes_are_encoded_side_by_side(tmp_path: Path) -> None:
    staging = Staging(tmp_path, Target(write="append", sort_by=("id",)))
    wide = pa.array(["x" * 1_000] * 10_000)
    staging.stage(*(numbers(10_000 * i, 10_000 * i + 10_000, text=wide) for i in range(5)))

    change = staging.encode()

    assert 1 < len(change.added) <= 4
    assert staging.read(change) == {"": list(range(50_000))}


def test_what_is_sorted_or_merged_stays_beside_what_is_staged(tmp_path: Path) -> None:
    """Files of an upsert know the keys that they hold; one of all rows would be rewritten for each key."""
    staging = Staging(tmp_path, Target(write="upsert", key=("id",)))
    with staging.place.writer(9) as writer:
        writer.write(numbers(0, 10))
        (finished,) = writer.close()
    staging.stage(numbers(10, 20))

    change = staging.encode([finished])

    assert finished in change.added
    assert not any(part.path.endswith(STAGED) for part in change.added)


def test_batches_of_many_rows_are_row_groups_of_one_file(staging: Staging) -> None:
    """In the order of their pages, with what is too little for a group between them."""
    staging.stage(*(numbers(20_000 * i, 20_000 * i + (20_000 if i % 3 else 500)) for i in range(20)))

    change = staging.encode()

    (part,) = change.added
    file = pq.ParquetFile(staging.place.store / part.path, page_checksum_verification=True)
    assert {Path(one.path).suffix for one in staging.parts} == {STAGED, ".parquet"}
    assert staging.read(change) == {
        "": [one for i in range(20) for one in range(20_000 * i, 20_000 * i + (20_000 if i % 3 else 500))]
    }
    assert change.dropped == tuple(staging.parts)
    assert file.metadata.num_row_groups == 20
    assert file.read().num_rows == part.rows == 13 * 20_000 + 7 * 500


def test_a_staged_part_is_read_as_the_parquet_file_that_it_will_be(staging: Staging) -> None:
    """Parquet knows no seconds: both tell milliseconds."""
    staging.stage(numbers(0, 3, at=pa.array([1, 2, None], pa.timestamp("s", "UTC"))))
    path = staging.place.store / staging.parts[0].path

    change = staging.encode()

    written = pq.read_table(staging.place.store / change.added[0].path)
    assert file_schema(path).field("at").type == written.schema.field("at").type == pa.timestamp("ms", "UTC")
    assert pa.concat_tables(groups(path)).equals(written)


def test_some_columns_of_a_staged_part_come_in_the_order_asked_for(staging: Staging) -> None:
    staging.stage(pa.table({"a": [1, 2], "b": ["x", "y"], "c": [True, None]}))

    (table,) = groups(staging.place.store / staging.parts[0].path, ["c", "a"])

    assert table.to_pydict() == {"c": [True, None], "a": [1, 2]}
