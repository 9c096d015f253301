"""Parquet files joined by their row groups: every reader reads what was in the parts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipelines.batch import Part
from pipelines.errors import StoreError
from pipelines.load import footer
from pipelines.load.changes import Place
from pipelines.load.footer import FooterError
from pipelines.load.open_part import OpenPart
from pipelines.load.splice import Splice
from pipelines.load.target import Target
from tests.load.disks import QUICK, FullDisk

YEARS = datetime(1900, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001  # hypothesis wants them without
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            "share": st.one_of(st.none(), st.floats(allow_nan=False)),
            "name": st.one_of(st.none(), st.text(max_size=20)),
            "price": st.one_of(st.none(), st.decimals(-(10**6), 10**6, places=2)),
            "tags": st.one_of(st.none(), st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=3)),
            "is_open": st.one_of(st.none(), st.booleans()),
            "at": st.one_of(st.none(), st.datetimes(*YEARS, timezones=st.just(UTC))),
            "place": st.one_of(st.none(), st.fixed_dictionaries({"x": st.integers(0, 9), "y": st.none()})),
        }
    ),
    min_size=1,
    max_size=30,
)
SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "share": pa.float64(),
        "name": pa.string(),
        "price": pa.decimal128(12, 2),
        "tags": pa.list_(pa.string()),
        "is_open": pa.bool_(),
        "at": pa.timestamp("us", "UTC"),
        "place": pa.struct({"x": pa.int64(), "y": pa.string()}),
    }
)


def place_in(folder: Path) -> Place:
    return Place(folder / "store", folder / "tmp", "orders", Target(write="append"), ("id",), disk=QUICK)


def seen_by_duckdb(what: str) -> list[tuple[object, ...]]:
    return duckdb.connect().execute(f"FROM {what}").fetchall()


def part_of(place: Place, table: pa.Table, number: int, *, staged: bool = False) -> Part:
    """*table* as a worker leaves it, in row groups of 7."""
    path = place.store / "orders" / f"{number}{'.arrow' if staged else '.parquet'}"
    file = OpenPart(path, table, place.stats, QUICK)
    file.write(table, 7)
    file.close()
    name = path.relative_to(place.store).as_posix()
    return Part("orders", "", name, file.rows, file.size_bytes, file.digest, number, file.stats)


@settings(max_examples=50)
@given(st.lists(st.tuples(ROWS, st.booleans()), min_size=1, max_size=4))
def test_what_is_read_of_the_file_is_what_was_in_the_parts(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[list[dict[str, object]], bool]]
) -> None:
    place = place_in(tmp_path_factory.mktemp("splice"))
    tables = [pa.Table.from_pylist(rows, SCHEMA) for rows, _ in batches]
    parts = [part_of(place, table, i, staged=batches[i][1]) for i, table in enumerate(tables)]

    (part,) = Splice(place, tuple(parts), SCHEMA).work()

    path = place.store / part.path
    whole = pa.concat_tables(tables)
    assert pq.read_table(path, page_checksum_verification=True).equals(whole)
    assert pl.read_parquet(path).rows() == pl.from_arrow(whole).rows()  # type: ignore[union-attr]  # a table is a frame
    assert seen_by_duckdb(f"'{path}'") == duckdb.from_arrow(whole).fetchall()
    assert (part.rows, part.size_bytes) == (len(whole), path.stat().st_size)
    assert part.digest == xxhash.xxh3_128_hexdigest(path.read_bytes())


def test_row_groups_keep_their_bounds_so_that_readers_skip_them(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    parts = [part_of(place, pa.table({"id": range(100 * i, 100 * i + 100)}), i) for i in range(30)]

    (part,) = Splice(place, tuple(parts), pa.schema({"id": pa.int64()})).work()

    (fragment,) = ds.dataset(place.store / part.path).get_fragments(ds.field("id") == 1_234)
    assert len(fragment.row_groups) == 30 * 15
    assert len(fragment.subset(ds.field("id") == 1_234).row_groups) == 1
    assert seen_by_duckdb(f"'{place.store / part.path}' WHERE id BETWEEN 1233 AND 1234") == [(1_233,), (1_234,)]
    assert part.stats == {"id": (0, 2_999)}


def test_a_part_that_is_stored_otherwise_is_encoded_again(tmp_path: Path) -> None:
    """The same column, but as a file says that cannot have nulls."""
    place = place_in(tmp_path)
    strict = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    parts = [
        part_of(place, pa.table({"id": [1, None]}), 0),
        part_of(place, pa.table({"id": [3]}, strict), 1),
    ]

    (part,) = Splice(place, tuple(parts), pa.schema({"id": pa.int64()})).work()

    assert pq.read_table(place.store / part.path).to_pydict() == {"id": [1, None, 3]}


def test_bounds_that_one_part_does_not_know_the_file_does_not_know(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    nulls = pa.table({"id": pa.array([None, None], pa.int64())})
    parts = [part_of(place, pa.table({"id": [1, 2]}), 0), part_of(place, nulls, 1)]

    (part,) = Splice(place, tuple(parts), nulls.schema).work()

    assert part.stats == {}


@pytest.mark.parametrize(
    ("large", "small", "kind", "read"),
    [
        pytest.param(["a", "b"], [1, 10], pa.string(), ["a", "b", "1", "10"], id="integers-after-texts"),
        pytest.param(
            [datetime(2024, 1, 1, 12)],  # noqa: DTZ001  # as an API sends it
            [date(2024, 1, 1)],
            pa.timestamp("us"),
            [datetime(2024, 1, 1, 12), datetime(2024, 1, 1)],  # noqa: DTZ001  # as above
            id="days-after-times",
        ),
    ],
)
def test_bounds_of_what_gets_another_type_are_unknown(
    tmp_path: Path, large: list[object], small: list[object], kind: pa.DataType, read: list[object]
) -> None:
    """As text, 10 comes before 2, and a day is shorter than a time."""
    place = place_in(tmp_path)
    parts = [part_of(place, pa.table({"id": large}), 0), part_of(place, pa.table({"id": small}), 1, staged=True)]

    (part,) = Splice(place, tuple(parts), pa.schema({"id": kind})).work()

    assert pq.read_table(place.store / part.path).to_pydict() == {"id": read}
    assert part.stats == {}


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    place = place_in(tmp_path)
    parts = tuple(part_of(place, pa.table({"id": range(100 * i, 100 * i + 100)}), i) for i in range(3))
    before = sorted(place.store.rglob("*"))

    with pytest.raises(StoreError, match="writing a part of orders failed"):
        Splice(replace(place, disk=FullDisk(at=2)), parts, pa.schema({"id": pa.int64()})).work()

    assert sorted(place.store.rglob("*")) == before


@pytest.mark.parametrize("index", [True, False])
def test_a_footer_is_written_as_it_was_read(tmp_path: Path, index: bool) -> None:
    """Byte for byte, whatever a writer says in it."""
    path = tmp_path / "a.parquet"
    table = pa.Table.from_pylist([{"id": i, "name": str(i), "price": Decimal(i)} for i in range(99)], SCHEMA)
    pq.write_table(table, path, row_group_size=3, write_page_index=index, sorting_columns=[pq.SortingColumn(0)])
    data = path.read_bytes()
    size = footer.footer_size(data[-8:])

    fields = footer.decode(data[-8 - size : -8])

    assert footer.encode(fields) == data[-8 - size :]
    assert len(footer.row_groups(fields)) == 33


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        pytest.param(b"\1\0\0\0PARE", "PARE", id="encrypted"),
        pytest.param(b"PAR1", "too short", id="short"),
    ],
)
def test_what_is_no_footer_is_refused(tail: bytes, why: str) -> None:
    with pytest.raises(FooterError, match=why):
        footer.footer_size(tail)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_footer_end_in_one_error(data: bytes) -> None:
    try:
        fields = footer.decode(data)
    except FooterError:
        return
    assert isinstance(fields, dict)
