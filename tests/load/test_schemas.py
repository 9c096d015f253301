"""Types over time: one schema for all files of a dataset, older ones written again or cast as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines
from pipelines.catalog import write_catalog
from pipelines.config.project import load_project
from pipelines.errors import TypeConflict
from pipelines.load.boundary import at_or_after
from pipelines.load.casting import of_older, sql_type
from pipelines.load.facts import facts
from pipelines.load.log import Dataset
from pipelines.load.merge import Change, Place
from pipelines.load.parquet import PartWriter
from pipelines.load.target import Target
from pipelines.marts.model import Mart
from pipelines.marts.query import files_of
from pipelines.marts.units import plan as divide
from pipelines.marts.units import read_input
from tests.load.disks import QUICK
from tests.load.test_merge import Shop
from tests.load.test_readers import READERS, Reader

TEXT, INT, FLOAT = pa.string(), pa.int64(), pa.float64()
APPEND = Target(write="append", older_files="cast")
BIG = 2**53 + 1
NOON = datetime(2024, 5, 1, 12, 30, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """An empty lake."""
    return Shop(tmp_path)


def column(values: list[Any], kind: pa.DataType) -> pa.Table:
    return pa.table({"n": pa.array(range(len(values))), "x": pa.array(values, kind)})


@dataclass(frozen=True)
class Widened:
    """A column as an older file has it, as it comes now, and the older values as they read from then on."""

    old: pa.DataType
    new: pa.DataType
    values: list[Any]
    wanted: list[Any]


def widened() -> Iterator[Any]:
    """What stays and is cast, and what is written again."""
    cents, fine = pa.decimal128(6, 2), pa.decimal128(12, 4)
    struct, grown = pa.struct({"a": INT}), pa.struct({"a": TEXT, "b": pa.list_(INT)})
    zoned, local = pa.timestamp("ms", "UTC"), pa.timestamp("ms")
    stays = [
        ("nulls", pa.null(), INT, [None], [None]),
        ("nulls-struct", pa.null(), struct, [None], [None]),
        ("int-int", pa.int8(), INT, [-7, None], [-7, None]),
        ("int-float", INT, FLOAT, [2**53, None, -3], [2.0**53, None, -3.0]),
        ("int-decimal", INT, cents, [BIG, -1], [Decimal(BIG), Decimal(-1)]),
        ("int-text", INT, TEXT, [BIG, None, -1], [str(BIG), None, "-1"]),
        ("float-float", pa.float32(), FLOAT, [0.5], [0.5]),
        ("decimal-decimal", cents, fine, [Decimal("-1.50")], [Decimal("-1.5")]),
        ("date-time", pa.date32(), pa.timestamp("us"), [date(2024, 5, 1)], [datetime(2024, 5, 1)]),  # noqa: DTZ001
        ("time-finer", zoned, pa.timestamp("us", "UTC"), [NOON, None], [NOON, None]),
        ("time-other-zone", zoned, pa.timestamp("us", "Europe/Madrid"), [NOON], [NOON]),
        ("struct-grows", struct, grown, [{"a": BIG}, None], [{"a": str(BIG), "b": None}, None]),
        ("list-of-nothing", pa.list_(pa.null()), pa.list_(INT), [[], None], [[], None]),
        ("list-grows", pa.list_(struct), pa.list_(grown), [[{"a": 1}]], [[{"a": "1", "b": None}]]),
    ]
    rewritten = [
        ("int-list-float", pa.list_(INT), pa.list_(FLOAT), [[1]], [[1.0]]),
        ("float-text", FLOAT, TEXT, [1.0, 1e20], ["1", "1e+20"]),
        ("bool-text", pa.bool_(), TEXT, [True], ["true"]),
        ("time-text", zoned, TEXT, [NOON], ["2024-05-01 12:30:00.000Z"]),
        ("local-time-zoned", local, zoned, [datetime(2024, 5, 1)], ["2024-05-01 00:00:00.000"]),  # noqa: DTZ001
        ("struct-text", struct, TEXT, [{"a": 1}], ['{"a":1}']),
        ("date-zoned", pa.date32(), zoned, [date(2024, 5, 1)], [datetime(2024, 5, 1, tzinfo=UTC)]),
    ]
    for name, *values in stays:
        yield pytest.param(Widened(*values), True, id=name)
    for name, *values in rewritten:
        yield pytest.param(Widened(*values), False, id=name)


@pytest.mark.parametrize(("case", "stays"), list(widened()))
def test_g18_older_files_are_cast_alike_by_every_reader_of_ours_or_written_again(
    shop: Shop, case: Widened, stays: bool
) -> None:
    """`read`, `scan` and `sql` see one schema; a file stays as it is where no value depends on the reader."""
    values, wanted = case.values, case.wanted
    shop.load(APPEND, column(values, case.old))
    before = shop.files

    shop.load(APPEND, column([None], case.new).append_column("more", pa.array(["m"])))

    rows = pipelines.scan("orders", data=shop.root).to_table()
    scanned = rows.filter(rows["more"].is_null()).sort_by("n")["x"].to_pylist()
    query = "SELECT x FROM orders WHERE more IS NULL ORDER BY n"
    asked = pipelines.sql(query, data=shop.root).to_arrow_table()["x"].to_pylist()
    frame = pipelines.read("orders", data=shop.root)
    assert scanned == wanted == asked
    assert len(frame) == len(values) + 1
    assert (before <= shop.files) == stays
    assert shop.lake.verify().defects == ()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("older_files", ["rewrite", "cast"])
def test_g18_a_plain_glob_reads_all_files_as_one_by_default_and_once_compacted(
    shop: Shop, reader: Reader, older_files: str
) -> None:
    """Int > float > decimal is text, a column joins, a struct grows: four readers, no option."""
    target = Target.model_validate({"write": "append", "older_files": older_files})
    shop.load(target, pa.table({"n": [1], "x": [1], "s": [{"a": 1}]}))
    shop.load(target, pa.table({"n": [2], "x": [2.5], "s": [{"a": 1, "b": "z"}], "new": ["y"]}))

    if older_files == "cast":
        with shop.lake.lock("compact"):
            shop.lake.compact("compact")
    rows = reader(shop.root / "parquet/shop/orders", ["n", "x", "s", "new"])

    assert sorted(rows, key=lambda row: float(row["n"])) == [
        {"n": 1, "x": 1.0, "s": {"a": 1, "b": None}, "new": None},
        {"n": 2, "x": 2.5, "s": {"a": 1, "b": "z"}, "new": "y"},
    ]


def test_g18_older_files_are_told_of_until_they_are_written_again(shop: Shop) -> None:
    shop.load(APPEND, pa.table({"n": [1]}))
    shop.load(APPEND, pa.table({"n": ["x"]}))
    told = of_older("shop.orders", shop.change.kept)

    with shop.lake.lock("compact"):
        head = shop.lake.compact("compact").head

    assert "1 file has older columns" in told[0]
    assert "`threadmill compact`" in told[0]
    assert head is not None
    assert of_older("shop.orders", head.datasets["orders"].files) == ()
    assert of_older("shop.orders", ()) == ()


def test_g15_a_file_with_integers_that_a_float_cannot_hold_is_not_cast(shop: Shop) -> None:
    """Its footer tells; written again it would lose a digit, so the column is refused."""
    shop.load(APPEND, pa.table({"x": [BIG]}))

    with pytest.raises(TypeConflict, match="without loss"):
        shop.load(APPEND, pa.table({"x": [0.5]}))

    assert pipelines.read("orders", data=shop.root)["x"].tolist() == [BIG]


def test_columns_that_must_not_be_null_may_be_so_from_the_next_file_on(shop: Shop) -> None:
    strict = pa.schema([pa.field("n", INT, nullable=False)])
    shop.load(APPEND, pa.Table.from_pylist([{"n": 1}], strict))

    shop.load(APPEND, pa.table({"n": [None, 2]}))

    assert sorted(map(str, shop.table["n"].to_pylist())) == ["1", "2", "None"]
    assert len(shop.files) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [pytest.param(pa.int32(), INT, id="int"), pytest.param(pa.timestamp("s"), pa.timestamp("us"), id="time")],
)
def test_an_upsert_finds_its_keys_in_older_files_and_writes_only_those_again(
    shop: Shop, old: pa.DataType, new: pa.DataType
) -> None:
    """Three files of ten keys each; the second run changes one key, the third deletes nothing and reads one again."""
    target = Target(key=("id",), write="upsert", partition_by=("team",), older_files="cast")
    keys = pa.table({"id": pa.array(range(30)).cast(old), "team": [i // 10 for i in range(30)], "v": ["a"] * 30})
    shop.load(target, keys)
    changed = pa.table({"id": pa.array([3]).cast(old).cast(new), "team": [0], "v": ["b"], "w": [1.5]})

    shop.load(target, changed)
    counts = dict(shop.change.counts)
    again = shop.load(target, changed)

    rows = pipelines.scan("orders", data=shop.root).to_table()
    assert sorted(file.split("-")[1] for file in shop.files) == ["000000000001"] * 2 + ["000000000002"]
    assert (counts["updated"], counts["new"], len(rows)) == (1, 0, 30)
    assert rows.schema.field("id").type == new
    assert sorted(rows["v"].to_pylist()) == ["a"] * 29 + ["b"]
    assert not again.changed
    assert shop.lake.verify().defects == ()


def test_a_history_ends_versions_in_older_files(shop: Shop) -> None:
    target = Target(key=("id",), write="history", version="at", partition_by=("team",), older_files="cast")
    shop.load(target, pa.table({"id": [1, 2], "at": [1, 1], "team": [0, 1], "v": [10, 20]}))

    shop.load(target, pa.table({"id": [1], "at": [5], "team": [0], "v": [0.5]}))

    rows = pipelines.scan("orders", data=shop.root).to_table().to_pylist()
    held = sorted((row["id"], row["at"], row["v"], row["valid_to"]) for row in rows)
    assert held == [(1, 1, 10.0, 5), (1, 5, 0.5, None), (2, 1, 20.0, None)]
    assert sum(file.older for file in shop.change.kept) == 1
    assert shop.lake.verify().defects == ()


@pytest.mark.parametrize("partition_by", ["bucket(8, id)", "id"])
def test_a_type_that_would_regroup_the_rows_is_refused(shop: Shop, partition_by: str) -> None:
    """The number 7 and the text 7 are in different buckets: an upsert would store a key twice."""
    target = Target(key=("id",), write="upsert", partition_by=(partition_by,))
    shop.load(target, pa.table({"id": pa.array(range(20), INT)}))
    finer = pa.array([Decimal("7.0")], pa.decimal128(25, 1))

    with pytest.raises(TypeConflict, match="folders are made from 'id', which is int64 and now comes as"):
        shop.load(target, pa.table({"id": finer}))
    shop.load(target, pa.table({"id": pa.array([7, 8], pa.int16())}))

    assert len(shop.rows) == 20


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (pa.array(["5", "A7"]), "string"),
        (pa.array([5, 2**63], pa.decimal128(20, 0)), "decimal(20, 0)"),
    ],
)
def test_batches_of_one_run_that_put_a_key_into_two_folders_are_refused(shop: Shop, other: pa.Array, told: str) -> None:
    target = Target(key=("id",), write="upsert", partition_by=("bucket(2, id)",))

    with pytest.raises(TypeConflict, match="folders are made from 'id', which is int64 and now comes as") as raised:
        shop.load(target, pa.table({"id": range(10)}), pa.table({"id": other}))

    assert raised.value.hint == f"declare its type in `columns`: {{id: {told}}}"


def in_two_pieces(shop: Shop, target: Target, *kinds: pa.DataType) -> Change:
    """What becomes of a batch of the keys 4 and 5 that is decoded in pieces, each with another type."""
    with PartWriter(shop.lake.store, "orders", target, disk=QUICK, staged=True) as writer:
        for kind in kinds:
            writer.write(pa.table({"id": pa.array(["4", "5"]).cast(kind)}))
        parts = writer.close()
    return shop.lake.merge(Place(shop.lake.store, shop.lake.tmp, "orders", target, disk=QUICK), Dataset(), parts)


@pytest.mark.parametrize(
    ("partition_by", "kinds"),
    [
        ("bucket(2, id)", (pa.decimal128(20, 0), pa.decimal128(22, 0), TEXT)),
        ("id", (pa.int32(), INT, pa.decimal128(20, 0), TEXT)),
    ],
)
def test_types_that_give_a_key_one_folder_may_follow_each_other(
    shop: Shop, partition_by: str, kinds: tuple[pa.DataType, ...]
) -> None:
    change = in_two_pieces(shop, Target(key=("id",), write="upsert", partition_by=(partition_by,)), *kinds)

    assert (change.counts["new"], change.counts["duplicates"]) == (2, 2 * len(kinds) - 2)


def test_a_key_in_two_folders_is_refused_within_a_batch_as_well(shop: Shop) -> None:
    with pytest.raises(TypeConflict, match="folders are made from 'id', which is int64 and now comes as string"):
        in_two_pieces(shop, Target(key=("id",), write="upsert", partition_by=("bucket(2, id)",)), INT, TEXT)


def test_the_catalog_its_samples_and_its_views_show_older_files_with_the_newest_columns(
    shop: Shop,
) -> None:
    """Between a commit and the catalog's own refresh its view is right, or refuses."""
    (shop.root / "config").mkdir()
    (shop.root / "config" / "shop.yaml").write_text("base_url: https://a.example\nresources: {orders: {path: /o}}\n")
    loaded = load_project({}, root=shop.root, data=shop.root)
    shop.load(APPEND, pa.table({"n": [1], "x": [1]}))
    write_catalog(loaded)
    shop.load(APPEND, pa.table({"n": [2], "x": [2.5], "new": ["y"]}))
    with duckdb.connect(str(shop.root / "catalog.duckdb"), read_only=True) as database:
        before = _or_error(lambda: sorted(database.sql("SELECT n, x FROM shop.orders").fetchall()))

    write_catalog(loaded)

    with duckdb.connect(str(shop.root / "catalog.duckdb"), read_only=True) as database:
        rows = sorted(database.sql("SELECT n, x, new FROM shop.orders").fetchall())
    assert before in ([(1, 1.0), (2, 2.5)], "altered")
    assert rows == [(1, 1.0, None), (2, 2.5, "y")]
    assert "| 1 | 1.0 |  |" in (shop.root / "CATALOG.md").read_text()


def _or_error(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except duckdb.BinderException as error:
        return "altered" if "altered" in str(error) else str(error)


def test_facts_of_files_with_other_types_have_no_false_span(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [9], "n": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"x": ["10"], "n": [2.5]}), tmp_path / "2.parquet")
    files = [tmp_path / "1.parquet", tmp_path / "2.parquet"]

    found = facts(files, pa.schema({"x": TEXT, "n": FLOAT, "new": TEXT}))

    assert (found.spans, found.sample) == ({"n": ("1", "2.5")}, (("9", "1.0", ""),))


def test_the_sample_is_of_the_first_row_groups_that_have_rows(tmp_path: Path) -> None:
    table = pa.table({"n": range(9)})
    with pq.ParquetWriter(tmp_path / "2.parquet", table.schema) as writer:
        for first, count in ((0, 0), (0, 2), (2, 1), (3, 6)):
            writer.write_table(table.slice(first, count))
    pq.write_table(table.slice(0, 0), tmp_path / "1.parquet")

    found = facts([tmp_path / "1.parquet", tmp_path / "2.parquet"])

    assert found.sample == (("0",), ("1",), ("2",), ("3",), ("4",))


def test_a_mart_gets_older_files_with_the_columns_of_their_dataset(shop: Shop) -> None:
    shop.load(APPEND, pa.table({"n": [1], "x": [1]}))
    shop.load(APPEND, pa.table({"n": [2], "x": ["b"], "new": [0.5]}))
    head = shop.lake.head()
    assert head is not None
    schema = head.datasets["orders"].schema
    mart = Mart.model_validate({"inputs": {"orders": "shop.orders"}, "function": "a:b"})

    (unit,) = divide("copy", mart, {"shop.orders": shop.lake.snapshot()["orders"]}, 1, {"shop.orders": schema})

    files = dict(unit.inputs)["orders"]
    rows = read_input(files, unit.schemas["orders"]).to_pylist()
    assert rows == [{"n": 1, "x": "1", "new": None}, {"n": 2, "x": "b", "new": 0.5}]
    assert files_of([file.path for file in files], schema).to_table().to_pylist() == rows


def test_rows_at_the_edge_of_an_append_are_read_from_older_files_too(tmp_path: Path) -> None:
    pq.write_table(pa.table({"at": [1, 5], "v": [1, 2]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"at": [5], "v": ["x"]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"v": [7]}), tmp_path / "0.parquet")
    files = [tmp_path / f"{number}.parquet" for number in range(3)]

    found = at_or_after(files, "at", "5", kind="number", schema=pa.schema({"at": INT, "v": TEXT}))

    assert found is not None
    assert found.to_pylist() == [{"at": 5, "v": "2"}, {"at": 5, "v": "x"}]


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.int8(), pa.uint64(), pa.float32(), pa.bool_(), pa.binary(), pa.date32(), pa.time64("us"), pa.null()),
        *(
            pa.timestamp("ns"),
            pa.timestamp("ns", "UTC"),
            pa.timestamp("ms", "UTC"),
            pa.decimal128(20, 3),
            pa.duration("s"),
        ),
        *(pa.list_(pa.struct({'a "b"': INT})), pa.struct({"x y": pa.list_(TEXT)})),
    ],
    ids=str,
)
def test_types_are_told_to_duckdb_as_it_reads_them_from_a_file(tmp_path: Path, kind: pa.DataType) -> None:
    pq.write_table(pa.table({"a": pa.nulls(1, kind)}), tmp_path / "a.parquet")
    with duckdb.connect() as database:
        told = database.sql(f"SELECT NULL::{sql_type(kind)} AS a").types
        read = database.sql(f"SELECT a FROM '{tmp_path / 'a.parquet'}'").types

    assert told == read
