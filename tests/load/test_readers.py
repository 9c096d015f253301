"""What pandas, pyarrow, DuckDB and Polars make of the view, also while it changes under them."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import dataset

from pipelines.load.lake import Lake
from pipelines.load.merge import Place, plan, resolve
from pipelines.load.partitions import parse
from pipelines.load.target import Target
from tests.load.disks import QUICK
from tests.load.scenario import SOURCE, expected, pinned, run_once
from tests.load.test_merge import Shop

ROUNDS = int(os.environ.get("THREADMILL_CRASH_ROUNDS", "1"))
NAMES = ["a/b", "..", "%2F", "", "007", "München", "a=b c", "__null__", "CON", "trailing.", "~", "\x01", "nul\x00"]
HOSTILE: list[str | None] = [*NAMES, "x" * 300, "Ü" * 300, None]
Reader = Callable[[Path, list[str]], list[dict[str, Any]]]
Rows = list[tuple[Any, ...]]
CARELESS = {"by_pandas", "by_pyarrow", "by_duckdb"}
"""Readers that leave out a name that vanished after they listed it; the others raise."""


def by_pandas(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    frame = pd.read_parquet(folder, columns=columns, dtype_backend="pyarrow")
    return pa.Table.from_pandas(frame, preserve_index=False).to_pylist()  # type: ignore[no-any-return]


def by_pyarrow(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    return pq.read_table(folder, columns=columns).to_pylist()  # type: ignore[no-any-return]


def by_duckdb(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        names = ", ".join(columns)
        found = connection.sql(f"SELECT {names} FROM read_parquet('{folder}/**/*.parquet')")
        return found.to_arrow_table().to_pylist()  # type: ignore[no-any-return]


def by_polars(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    return pl.read_parquet(f"{folder}/**/*.parquet", columns=columns).to_dicts()


READERS = [pytest.param(reader, id=reader.__name__) for reader in (by_pandas, by_pyarrow, by_duckdb, by_polars)]


def publish(root: Path, target: Target, table: pa.Table) -> Path:
    """Commit *table* as a dataset; its folder in the view."""
    lake = Lake(root, "shop", disk=QUICK)
    with lake.lock("run"):
        draft = lake.begin("run")
        place = Place(lake.store, lake.tmp, "orders", target)
        with place.writer() as writer:
            writer.write(table)
            parts = writer.close()
        draft.set_files("orders", resolve(plan(place, draft.dataset("orders"), parts)), target)
        lake.commit(draft)
    return root / "parquet/shop/orders"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "partition_by", ["team", "month(at)", "day(at)", "year(at)", "bucket(4, team)", "bucket(3, id)"]
)
def test_k09_any_value_partitions_and_reads_back_equal(tmp_path: Path, reader: Reader, partition_by: str) -> None:
    """Traversal, empty, 300 characters, null, leading zeros, umlauts: equal in four readers, inside the folder."""
    ids = list(range(len(HOSTILE)))
    times = [datetime(2023 + i % 2, 1 + i % 12, 28, 23, 30, tzinfo=UTC) if i else None for i in ids]
    table = pa.table({"id": ids, "team": HOSTILE, "at": pa.array(times, pa.timestamp("us", "UTC"))})

    folder = publish(tmp_path, Target(write="append", partition_by=(partition_by,)), table)

    rows = sorted(reader(folder, ["id", "team"]), key=lambda row: int(row["id"]))
    outside = [path for path in tmp_path.rglob("*.parquet") if not path.is_relative_to(folder.parents[1])]
    assert rows == [{"id": i, "team": value} for i, value in zip(ids, HOSTILE, strict=True)]
    assert all(path.is_relative_to(tmp_path / "lake/shop/store/orders") for path in outside)
    assert max(len(part.encode()) for path in folder.rglob("*") for part in path.parts[-2:]) < 160


def whole_by_pandas(folder: Path) -> list[dict[str, Any]]:
    return pd.read_parquet(folder, dtype_backend="pyarrow").to_dict("records")  # type: ignore[return-value]


def whole_by_pyarrow(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder).to_pylist()  # type: ignore[no-any-return]


def whole_by_duckdb(folder: Path) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        found = connection.sql(f"SELECT * FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = false)")
        return found.to_arrow_table().to_pylist()  # type: ignore[no-any-return]


def whole_by_polars(folder: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(f"{folder}/**/*.parquet", hive_partitioning=False).to_dicts()


@pytest.mark.parametrize("reader", [whole_by_pandas, whole_by_pyarrow, whole_by_duckdb, whole_by_polars])
def test_k09_any_column_name_reads_back_equal(tmp_path: Path, reader: Callable[[Path], list[dict[str, Any]]]) -> None:
    """Separators, dots, percent signs, quotes, reserved and long names are names of columns like any other."""
    names = ["a/b", "..", ".", "%2F", "München", "a=b c", "CON", "trailing.", '"quoted"', "it's", "n" * 300, "SELECT"]
    table = pa.table({name: [number, number + 1] for number, name in enumerate(names)})
    folder = publish(tmp_path, Target(write="append", sort_by=(names[0],)), table)

    rows = reader(folder)

    assert rows == table.to_pylist()


@pytest.mark.parametrize("reader", READERS)
def test_all_columns_and_the_partition_folder_are_read_without_options(tmp_path: Path, reader: Reader) -> None:
    """A partition column stays in the file; its folder has another name."""
    table = pa.table({"code": ["007", "ES"], "n": [1, 2]})
    folder = publish(tmp_path, Target(write="append", partition_by=("code",)), table)

    rows = reader(folder, ["code", "n"])

    assert sorted(row["code"] for row in rows) == ["007", "ES"]
    assert sorted(path.name for path in folder.iterdir()) == ["by_code=007", "by_code=ES"]


@pytest.mark.parametrize("reader", READERS)
def test_many_different_numbers_are_packed_and_read_back_equal(tmp_path: Path, reader: Reader) -> None:
    """100,000 rows: integers with nulls, times, dates and floats in their own encodings, nested ones beside them."""
    numbers = [None if i % 7 == 0 else i * 2**40 - 3 for i in range(100_000)]
    halves = [i / 7 for i in range(100_000)]
    table = pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "small": pa.array(range(100_000), pa.uint32()),
            "half": pa.array(halves, pa.float32()),
            "share": pa.array(halves),
            "t": pa.array(range(100_000), pa.timestamp("ms", "UTC")),
            "pair": pa.array([{"a": 1, "b": [2]}] * 100_000),
        }
    )
    folder = publish(tmp_path, Target(write="append"), table)

    rows = reader(folder, ["id", "half"])
    pairs = reader(folder, ["small", "share", "pair"])

    column = pq.read_metadata(next(folder.glob("*.parquet"))).row_group(0).column(0)
    assert "DELTA_BINARY_PACKED" in column.encodings
    assert rows == table.select(["id", "half"]).to_pylist()
    assert pairs[99_999] == {"small": 99_999, "share": halves[-1], "pair": {"a": 1, "b": [2]}}


def by_pyarrow_hive(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    return dataset.dataset(folder, partitioning="hive").to_table(columns=columns).to_pylist()  # type: ignore[no-any-return]


def by_duckdb_hive(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    with duckdb.connect() as connection:
        names = ", ".join(columns)
        found = connection.sql(f"SELECT {names} FROM read_parquet('{folder}/*/*.parquet', hive_partitioning = true)")
        return found.to_arrow_table().to_pylist()  # type: ignore[no-any-return]


def by_polars_hive(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    return pl.scan_parquet(folder, hive_partitioning=True).select(columns).collect().to_dicts()


def by_polars_glob(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    return pl.read_parquet(f"{folder}/*/*.parquet", columns=columns).to_dicts()


def by_python_glob(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("*/*.parquet"))  # all, before any is opened (docs/catalog.md)
    tables = [pq.read_table(path, columns=columns, partitioning=None) for path in paths]
    return pa.concat_tables(tables).to_pylist()  # type: ignore[no-any-return]


GLOBS = (by_pyarrow_hive, by_duckdb_hive, by_polars_hive, by_polars_glob, by_python_glob)


@pytest.mark.parametrize("reader", [pytest.param(reader, id=reader.__name__) for reader in GLOBS])
@pytest.mark.parametrize("partition_by", [("day(at)",), ("team", "month(at)")])
def test_globs_and_discovered_partitions_see_every_row(
    tmp_path: Path, reader: Reader, partition_by: tuple[str, ...]
) -> None:
    """`dataset/*/*.parquet`, and the names of folders as columns: `day=2024-05-01`, `by_team=a`."""
    times = pa.array([datetime(2024, 5, 1 + i % 3, tzinfo=UTC) for i in range(9)], pa.timestamp("us", "UTC"))
    table = pa.table({"id": list(range(9)), "at": times, "team": ["a", "b", "c"] * 3})
    folder = publish(tmp_path, Target(write="append", partition_by=partition_by), table)
    below = folder if len(partition_by) == 1 else folder / "by_team=a"
    found = parse(partition_by[-1]).name

    rows = reader(below, ["id", "team"])

    assert sorted(row["id"] for row in rows) == (list(range(9)) if below == folder else [0, 3, 6])
    with duckdb.connect() as connection:
        every = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
        query = f"SELECT count(*), count(DISTINCT {found}) FROM {every}"
        assert connection.sql(query).fetchall() == [(9, 3 if found == "day" else 1)]
    assert found in dataset.dataset(folder, partitioning="hive").schema.names


@pytest.mark.skipif("SPARK_PYTHON" not in os.environ, reason="SPARK_PYTHON names a Python that has pyspark and Java")
def test_spark_reads_folders_and_globs_with_the_partition_as_a_column(tmp_path: Path) -> None:
    for _ in range(3):
        run_once(Lake(tmp_path, SOURCE, disk=QUICK))
    view = tmp_path / "parquet" / SOURCE
    code = """
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
frames = [spark.read.parquet(path) for path in sys.argv[1:]]
print("told", json.dumps([[frame.count(), sorted(frame.columns)] for frame in frames]))
"""

    globs = [f"{view}/events", f"{view}/events/*/*.parquet", f"{view}/entities/by_team=*"]
    done = subprocess.run(
        [os.environ["SPARK_PYTHON"], "-c", code, *globs],
        stdout=subprocess.PIPE, text=True, check=True, timeout=110,
    )  # fmt: skip

    told = next(line for line in done.stdout.splitlines() if line.startswith("told "))
    entities = [len(expected("entities", 3)), ["id", "team", "value", "version"]]
    assert json.loads(told[5:]) == [[18, ["at", "day", "id"]], [18, ["at", "id"]], entities]


class Seen:
    """What readers found while commits went on: `ask` each again and again, `told` at the end.

    A reader looks before and after whether a folder was exchanged meanwhile, and reads again if so (docs/catalog.md):
    then it has a whole commit, with nothing torn, doubled or missing, and no error.
    """

    def __init__(self, team: int, seen: Callable[[Rows], Rows]) -> None:
        """*team* is where in a row the value of its folder is, *seen* the whole commit that rows most likely are of."""
        self.team, self.seen = team, seen
        self.exact: Counter[str] = Counter()
        self.silent: list[str] = []
        self.errors: list[str] = []
        self.unaware: Counter[str] = Counter()
        """Reads that an exchange fell into, and that lacked its folder without an error: had they not looked."""

    def ask(self, reader: Reader, folder: Path, columns: list[str]) -> None:
        """Read until nothing was exchanged meanwhile."""
        while not self._is_final(reader, folder, columns):
            pass

    def _is_final(self, reader: Reader, folder: Path, columns: list[str]) -> bool:
        """One read; whether nothing was exchanged between its beginning and its end."""
        name, before = reader.__name__, folders(folder)
        try:
            rows = sorted(tuple(row.values()) for row in reader(folder, columns))
        except (FileNotFoundError, duckdb.IOException) as error:
            final = folders(folder) == before
            if final or not (isinstance(error, FileNotFoundError) or "No such file" in str(error)):
                self.errors.append(f"{name}: {error}")
            return final
        final, whole = folders(folder) == before, self.seen(rows)
        if rows == whole:
            self.exact[name] += 1
            return final
        lacking = {row[self.team] for row in whole} - {row[self.team] for row in rows}
        if not final and len(lacking) == 1 and rows == [row for row in whole if row[self.team] not in lacking]:
            self.unaware[name] += 1
        else:
            self.silent.append(f"{name}: {len(rows)} of {len(whole)} rows, lacks {lacking or 'no folder'}")
        return final

    def told(self, readers: set[str]) -> None:
        """Fail where a reader had anything else than whole commits; or, not looking, lacked a folder often."""
        assert self.silent == []
        assert self.errors == []
        assert set(self.exact) == readers
        assert set(self.unaware) <= CARELESS
        assert self.unaware.total() <= max(1, self.exact.total() // 10_000)


def folders(root: Path) -> dict[str, int]:
    """Every folder of a dataset and which one it is: another one after an exchange."""
    found = {"": root.stat().st_ino}
    for folder, names, _ in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with suppress(FileNotFoundError):  # exchanged at this very moment, which the other look shows
                found[str(path)] = path.stat().st_ino
    return found


@pytest.mark.parametrize(
    "reader", [*(one.values[0] for one in READERS), by_polars_hive, by_python_glob], ids=lambda one: one.__name__
)
def test_k10_who_tells_that_a_listed_name_has_vanished(tmp_path: Path, reader: Reader) -> None:
    """A name that leads nowhere stands for a file exchanged after it was listed: some leave it out, and say nothing.

    Where this fails for a reader of `CARELESS`, it tells now: strike it there and in docs/catalog.md.
    """
    folder = tmp_path / "orders"
    (folder / "team=1").mkdir(parents=True)
    pq.write_table(pa.table({"id": [1]}), folder / "team=1/part-1.parquet")
    (folder / "team=1/part-2.parquet").symlink_to(folder / "gone")

    if reader.__name__ in CARELESS:
        assert reader(folder, ["id"]) == [{"id": 1}]
    else:
        with pytest.raises(FileNotFoundError):
            reader(folder, ["id"])


def test_k10_readers_during_commits_see_whole_commits_or_a_loud_error(tmp_path: Path) -> None:
    """Four kinds of readers in a loop during 15 commits (more in the long battery); pinned reads never fail."""
    for _ in range(2):
        run_once(Lake(tmp_path, SOURCE, disk=QUICK))
    whole = [expected("entities", run) for run in range(1, 18 + 15 * ROUNDS)]
    done = threading.Event()

    def closest(rows: Rows) -> Rows:
        return max(whole, key=lambda commit: (commit == rows, set(rows) <= set(commit)))

    seen = Seen(3, closest)

    def read(reader: Reader) -> None:
        while not done.is_set():
            seen.ask(reader, tmp_path / "parquet" / SOURCE / "entities", ["id", "version", "value", "team"])

    threads = [threading.Thread(target=read, args=(one.values[0],)) for one in READERS]
    for thread in threads:
        thread.start()
    lake = Lake(tmp_path, SOURCE, disk=QUICK)
    try:
        pins = []
        for run in range(3, 3 + 15 * ROUNDS):
            run_once(lake)
            pins.append(pinned(lake, "entities") == expected("entities", run))
        deadline = time.monotonic() + 30
        while len(seen.exact) < len(threads) and time.monotonic() < deadline:
            done.wait(0.01)
    finally:
        done.set()
        for thread in threads:
            thread.join(30)

    seen.told({"by_pandas", "by_pyarrow", "by_duckdb", "by_polars"})
    assert all(pins)


@pytest.mark.parametrize("partition_by", [("team",), ("bucket(2, id)", "team"), ()])
def test_k10_a_folder_that_a_reader_is_listing_stays_whole_for_a_while(
    tmp_path: Path, partition_by: tuple[str, ...]
) -> None:
    """Opened before a commit and read after it: the old name, never nothing, which would be silently missing rows."""
    shop = Shop(tmp_path)
    target = Target(write="upsert", key=("id",), partition_by=partition_by)
    shop.load(target, pa.table({"id": [1], "team": [1], "v": [1]}))
    (file,) = (tmp_path / "parquet/shop/orders").rglob("*.parquet")

    with os.scandir(file.parent) as listing:
        for run in (2, 3):
            shop.load(target, pa.table({"id": [1], "team": [1], "v": [run]}))
        found = [entry.name for entry in listing]

    assert found == [file.name]
    assert not file.exists()
    with shop.lake.lock("vacuum"):
        shop.lake.vacuum(keep=1, grace=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
    assert list(shop.lake.aside.iterdir()) == []


def test_k10_readers_during_swaps_of_single_partitions_see_whole_commits(tmp_path: Path) -> None:
    """33 commits (more in the long battery), each of one of six folders; every read is one of them, or an error."""
    shop = Shop(tmp_path)
    target = Target(write="upsert", key=("id",), partition_by=("team",))
    view = tmp_path / "parquet/shop/orders"
    commits = 40 * ROUNDS
    done = threading.Event()

    def closest(rows: Rows) -> Rows:
        """The commit of the newest row: the ten rows of a team have the number of the last run that touched it."""
        run = max((v for _, _, v in rows), default=0)
        return sorted((10 * team + i, team, run - (run - team) % 6) for team in range(6) for i in range(10))

    seen = Seen(1, closest)

    def read(reader: Reader) -> None:
        while not done.is_set():
            seen.ask(reader, view, ["id", "team", "v"])

    teams = [team for team in range(6) for _ in range(10)]
    shop.load(target, pa.table({"id": range(60), "team": teams, "v": teams}))
    shop.load(target, pa.table({"id": range(10), "team": [0] * 10, "v": [6] * 10}))
    readers = (by_pandas, by_duckdb, by_polars_hive, by_python_glob)
    threads = [threading.Thread(target=read, args=(one,)) for one in readers]
    for thread in threads:
        thread.start()
    try:
        for run in range(7, commits):
            ids = range(run % 6 * 10, run % 6 * 10 + 10)
            shop.load(target, pa.table({"id": ids, "team": [run % 6] * 10, "v": [run] * 10}))
        deadline = time.monotonic() + 30
        while len(seen.exact) < len(threads) and time.monotonic() < deadline:
            done.wait(0.01)
    finally:
        done.set()
        for thread in threads:
            thread.join(30)

    seen.told({reader.__name__ for reader in readers})
