"""Going back, comparing, verifying, repairing and compacting what is committed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines
from pipelines.errors import StoreError
from pipelines.load.disk import DAMAGED, Disk
from pipelines.load.lake import Lake
from pipelines.load.merge import Change, Place, plan, resolve
from pipelines.load.target import Target
from tests.load.disks import QUICK, NoExchangeDisk, ReadOnlyDisk
from tests.load.scenario import (
    SOURCE,
    TARGETS,
    cursor,
    expected,
    keep_up,
    pinned,
    run_once,
    seen,
    stage,
    wrong_after,
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake after three runs, of which vacuum kept all."""
    lake = Lake(tmp_path, SOURCE, disk=QUICK)
    run_once(lake)
    keep_all(lake)
    for _ in range(2):
        with lake.lock("run"):
            draft = lake.begin("run")
            stage(lake, draft, cursor(draft.head) + 1, QUICK)
            lake.commit(draft)
    return lake


def keep_all(lake: Lake) -> None:
    with lake.lock("vacuum"):
        lake.vacuum(keep=50, grace=timedelta(0), now=datetime.now(UTC))


def load(lake: Lake, target: Target, table: pa.Table) -> None:
    """One run that reads *table*."""
    with lake.lock("run"):
        lake.recover()
        draft = lake.begin("run")
        place = Place(lake.store, lake.tmp, "orders", target, disk=QUICK)
        with place.writer() as writer:
            writer.write(table)
            parts = writer.close()
        draft.set_files("orders", resolve(plan(place, draft.dataset("orders"), parts)), target)
        lake.commit(draft)


def damage(path: Path) -> None:
    """Turn one byte in the middle of a file; its size stays."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def test_a_rollback_brings_rows_and_watermarks_back_in_a_new_commit(lake: Lake, tmp_path: Path) -> None:
    with lake.lock("rollback"):
        done = lake.rollback(1, "rollback")

    assert done.head is not None
    assert (done.head.n, done.head.parent, done.head.note) == (4, 3, "rollback to commit 1")
    assert [seen(tmp_path, name) for name in TARGETS] == [expected(name, 1) for name in TARGETS]
    assert cursor(lake.head()) == 1
    assert [pinned(lake, name) for name in TARGETS] == [expected(name, 1) for name in TARGETS]


def test_the_run_after_a_rollback_goes_on_from_there(lake: Lake, tmp_path: Path) -> None:
    with lake.lock("rollback"):
        lake.rollback(2, "rollback")

    run_once(lake)

    assert cursor(lake.head()) == 3
    assert list(wrong_after(tmp_path, lake)) == []


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_damaged_file_is_told_by_all_that_read_it(lake: Lake, tmp_path: Path, damage: str) -> None:
    """A run that must merge with it, a compaction and a reader: `StoreError` with what to do, and no other commit."""
    path = max(lake.snapshot()["entities"], key=lambda path: path.stat().st_size)
    path.chmod(0o644)
    if damage == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.write_bytes(path.read_bytes()[:4] + bytes(path.stat().st_size - 400) + path.read_bytes()[-396:])

    with pytest.raises(StoreError) as run:
        run_once(lake)
    with pytest.raises(StoreError) as compact, lake.lock("compact"):
        lake.compact("compact")
    with pytest.raises(StoreError) as read:
        pipelines.read("shop.entities", data=tmp_path)

    assert {raised.value.hint for raised in (run, compact, read)} == {DAMAGED}
    assert lake.log.numbers()[-1] == 3
    assert [defect.path for defect in lake.verify().defects] == [path.relative_to(lake.store).as_posix()]


def test_a_rollback_to_a_commit_that_is_not_kept_or_not_whole_changes_nothing(lake: Lake) -> None:
    only_first = lake.log.read(1).paths - lake.log.read(3).paths
    (lake.store / min(only_first)).unlink()

    with lake.lock("rollback"):
        with pytest.raises(StoreError, match="shop has no commit 99"):
            lake.rollback(99, "rollback")
        with pytest.raises(StoreError, match="commit 1 cannot come back: 1 of its files are gone"):
            lake.rollback(1, "rollback")

    assert lake.log.numbers() == [1, 2, 3]


def test_a_diff_counts_rows_by_key_and_names_columns(tmp_path: Path) -> None:
    """One new, one changed, one moved out by a replace; a column joins."""
    lake, target = Lake(tmp_path, "shop", disk=QUICK), Target(key=("id",), write="replace")
    load(lake, target, pa.table({"id": [1, 2, 3], "v": ["a", "b", "c"]}))
    load(lake, target, pa.table({"id": [1, 2, 4], "v": ["a", "B", "d"]}))
    load(lake, Target(write="append"), pa.table({"id": [5], "v": ["e"], "w": [0.5]}))

    (rows,) = lake.diff(1, 2)
    (columns,) = lake.diff(2, 3)

    assert (rows.added, rows.changed, rows.removed, rows.rows_before, rows.rows_after) == (1, 1, 1, 3, 3)
    assert (columns.added, columns.columns) == (1, ("+ w double",))
    assert lake.diff(2, 2) == []


def test_a_whole_lake_verifies_without_a_defect(lake: Lake) -> None:
    verified = lake.verify()

    assert verified.defects == ()
    assert (verified.commit, verified.rows) == (3, sum(len(expected(name, 3)) for name in TARGETS))


def test_verify_tells_a_turned_byte_a_missing_file_and_a_view_that_differs(lake: Lake, tmp_path: Path) -> None:
    events, entities = lake.snapshot()["events"], lake.snapshot()["entities"]
    damage(events[0])
    entities[0].unlink()
    next((tmp_path / "parquet" / SOURCE / "totals").rglob("*.parquet")).unlink()
    (tmp_path / "parquet" / SOURCE / "events" / "notes.txt").write_text("mine")

    found = {(defect.dataset, defect.what) for defect in lake.verify().defects}

    assert found == {
        ("events", "has other bytes than were written"),
        ("entities", "is gone"),
        ("entities", "the view shows other files than were committed"),
        ("totals", "the view shows other files than were committed"),
        ("events", "the view shows other files than were committed"),
        ("events", "is in the view, but not ours"),
    }


def test_verify_tells_of_a_file_that_somebody_wrote_without_its_key(lake: Lake) -> None:
    """Readable, and not what was written; the check of keys has nothing to say of it."""
    path = lake.snapshot()["entities"][0]
    table = pq.read_table(path, partitioning=None).drop_columns(["id"])
    path.chmod(0o644)
    pq.write_table(table, path)

    found = {defect.what for defect in lake.verify().defects}

    assert any(what.startswith("has ") and "bytes" in what for what in found), found


def test_verify_does_not_ask_of_pieces_what_long_texts_keep_from_being_told(tmp_path: Path) -> None:
    """Of 30,000 addresses the greatest of the first piece is too long to be noted; the file's own is not."""
    lake, target = Lake(tmp_path, "shop", disk=QUICK), Target(key=("url",), write="upsert")
    urls = [f"https://a.example/{number:06}" for number in range(30_000)]
    urls[9_000] = urls[9_000].replace("/009000", "/zz" + "z" * 300)
    urls[29_999] = "https://a.example/zzzzz~"
    load(lake, target, pa.table({"url": urls}))

    assert lake.verify().defects == ()


def test_verify_finds_doubled_and_empty_keys_and_rows_in_a_wrong_folder(tmp_path: Path) -> None:
    """Such a commit cannot be made by a merge; it is put together by hand."""
    lake, target = Lake(tmp_path, "shop", disk=QUICK), Target(key=("id",), write="upsert", partition_by=("team",))
    load(lake, Target(write="append"), pa.table({"id": [1, 2, None], "team": [0, 1, 1]}))
    load(lake, Target(write="append"), pa.table({"id": [2], "team": [1]}))
    with lake.lock("by hand"):
        draft = lake.begin("by hand")
        dataset = draft.dataset("orders")
        place = Place(lake.store, lake.tmp, "orders", target)
        with place.writer() as writer:
            writer.write_to("by_team=7", pa.table({"id": [9], "team": [1]}))
            parts = writer.close()
        draft.set_files("orders", Change(dataset.files, parts, schema=dataset.schema), target)
        lake.commit(draft)

    found = [defect.what for defect in lake.verify().defects]

    assert "1 rows have no value for their key (id)" in found
    assert "keys are there more than once, such as {id: 2}" in found
    assert "holds rows of by_team=1 beside those of its own folder" in found


def test_verify_tells_counts_columns_and_bounds_that_a_commit_says_otherwise(lake: Lake) -> None:
    """The files are as they were written; the document is not."""
    path = lake.folder / "log" / "000000000003.json"
    document = orjson.loads(path.read_bytes())
    events, entities, totals = (document["datasets"][name] for name in ("events", "entities", "totals"))
    events["files"][0]["rows"] += 1
    entities["files"][0]["stats"]["id"][1] += 1
    totals["columns"][0]["name"] = "other"
    path.chmod(0o644)
    path.write_bytes(orjson.dumps(document))

    found = {(defect.dataset, defect.what) for defect in lake.verify().defects}

    least, greatest = entities["files"][0]["stats"]["id"]
    assert found == {
        ("events", f"has {events['files'][0]['rows'] - 1} rows instead of {events['files'][0]['rows']}"),
        ("entities", f"has values of 'id' from {least} to {greatest - 1}, which its commit does not say"),
        ("totals", "has other columns than its dataset has; `threadmill compact` rewrites it"),
    }


def test_verify_finds_versions_that_overlap_end_too_early_or_are_current_and_over(tmp_path: Path) -> None:
    """Keys 1 and 5 are right; the first of key 2 ends after the second began; 3 says both; 4 ends before it begins."""
    lake = Lake(tmp_path, "shop", disk=QUICK)
    times = [datetime(2024, 1, day, tzinfo=UTC) for day in range(1, 6)]
    versions = {
        "id": [1, 1, 2, 2, 3, 4, 5],
        "valid_from": [times[0], times[1], times[0], times[1], times[0], times[2], times[2]],
        "valid_to": [times[1], None, times[2], None, times[3], times[1], times[2]],
        "is_current": [False, True, False, True, True, False, False],
    }
    load(lake, Target(write="append"), pa.table(versions))
    path = lake.folder / "log" / "000000000001.json"
    document = orjson.loads(path.read_bytes())
    document["datasets"]["orders"] |= {"write": "history", "key": ["id"]}
    path.chmod(0o644)
    path.write_bytes(orjson.dumps(document))

    found = [defect.what for defect in lake.verify().defects]

    assert found == [
        "1 versions end before they begin",
        "1 versions hold on when the next one of their key has begun",
        "1 versions are is_current and have ended, or neither",
    ]


def test_a_lake_that_nobody_may_write_to_is_verified_and_read(lake: Lake, tmp_path: Path) -> None:
    looking = Lake(tmp_path, SOURCE, disk=ReadOnlyDisk(1))

    verified = looking.verify()

    assert (verified.defects, verified.rows) == ((), lake.verify().rows)
    assert [pinned(looking, name) for name in TARGETS] == [expected(name, 3) for name in TARGETS]


def test_verify_reads_the_bytes_of_a_view_that_has_no_second_names(lake: Lake, tmp_path: Path) -> None:
    view = sorted((tmp_path / "parquet" / SOURCE / "events").rglob("*.parquet"))
    for path in view:
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    whole = lake.verify().defects

    damage(view[0])

    assert whole == ()
    assert [defect.what for defect in lake.verify().defects] == ["has other bytes than were committed"]


@pytest.mark.parametrize("side", ["store", "view"])
def test_repair_brings_a_removed_or_replaced_file_back_from_its_other_name(
    lake: Lake, tmp_path: Path, side: str
) -> None:
    view = sorted((tmp_path / "parquet" / SOURCE).rglob("*.parquet"))
    files = [path for paths in lake.snapshot().values() for path in paths] if side == "store" else view
    files[0].unlink()
    size = files[-1].stat().st_size
    files[-1].unlink()
    files[-1].write_bytes(os.urandom(size))

    with lake.lock("repair"):
        done = lake.repair()

    assert done.lost == ()
    assert len(done.restored) == (2 if side == "store" else 0)
    assert lake.verify().defects == ()
    assert [seen(tmp_path, name) for name in TARGETS] == [expected(name, 3) for name in TARGETS]


def copied(lake: Lake) -> None:
    """Somebody brings the lake's folder back from a copy: its files are no longer those of the view."""
    aside = lake.folder.with_name("backup")
    shutil.copytree(lake.folder, aside)
    shutil.rmtree(lake.folder)
    aside.rename(lake.folder)


def cut(path: Path) -> None:
    """Take the end of a file away."""
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("disk", "harm"),
    [
        pytest.param(QUICK, cut, id="cut"),
        pytest.param(QUICK, damage, id="turned"),
        pytest.param(QUICK, Path.unlink, id="gone"),
        pytest.param(NoExchangeDisk(), cut, id="cut-copy"),
        pytest.param(NoExchangeDisk(), Path.unlink, id="gone-copy"),
    ],
)
@pytest.mark.parametrize("what", ["run", "rollback"])
def test_what_only_the_view_has_whole_is_put_back_before_anything_is_shown(
    tmp_path: Path, disk: Disk, harm: Callable[[Path], None], what: str
) -> None:
    """A copy of the store came back with a file that is not whole, and no repair came before the next run."""
    lake = Lake(tmp_path, SOURCE, disk=disk)
    for _ in range(2):
        run_once(lake, disk)
    copied(lake)
    both = lake.log.read(1).paths & lake.log.read(2).paths
    harm(lake.store / min(both))

    if what == "run":
        run_once(lake, disk)
    else:
        keep_up(lake, "rollback")
        with lake.lock("recovery"):
            lake.recover()

    assert list(wrong_after(tmp_path, lake)) == []
    assert lake.verify().defects == ()


def test_a_run_shows_no_file_that_is_damaged_in_store_and_view(lake: Lake, tmp_path: Path) -> None:
    """What stands, stands."""
    copied(lake)
    cut(lake.snapshot()["totals"][0])
    (shown,) = (tmp_path / "parquet" / SOURCE / "totals").rglob("*.parquet")
    damage(shown)
    before = {path: path.stat().st_ino for path in (tmp_path / "parquet").rglob("*")}

    with pytest.raises(StoreError, match=r"totals/.*\.parquet is damaged in the store, and in the view as well"):
        run_once(lake)

    assert {path: path.stat().st_ino for path in (tmp_path / "parquet").rglob("*")} == before


def test_repair_names_what_is_lost_and_leaves_the_view_alone(lake: Lake, tmp_path: Path) -> None:
    damage(lake.snapshot()["totals"][0])
    before = sorted((tmp_path / "parquet").rglob("*"))

    with lake.lock("repair"):
        done = lake.repair()

    assert done.lost == (lake.snapshot()["totals"][0].relative_to(lake.store).as_posix(),)
    assert sorted((tmp_path / "parquet").rglob("*")) == before


def test_compact_merges_small_files_of_each_partition_and_keeps_every_row(lake: Lake, tmp_path: Path) -> None:
    before = len(lake.snapshot()["events"])

    with lake.lock("compact"):
        done = lake.compact("compact")
        again = lake.compact("compact")

    assert (before, len(lake.snapshot()["events"])) == (6, 2)
    assert [seen(tmp_path, name) for name in TARGETS] == [expected(name, 3) for name in TARGETS]
    assert (done.changed, again.changed) == (True, False)
    assert cursor(lake.head()) == 3
    assert lake.verify().defects == ()


def test_compact_leaves_files_of_a_good_size_alone(tmp_path: Path) -> None:
    lake, target = Lake(tmp_path, "shop", disk=QUICK), Target(write="append", sort_by=("n",))
    for start in range(4):
        load(
            lake, target, pa.table({"n": list(range(start, 4000, 4)), "x": [os.urandom(8).hex() for _ in range(1000)]})
        )
    sizes = [path.stat().st_size for path in lake.snapshot()["orders"]]

    with lake.lock("compact"):
        lake.compact("compact", file_bytes=min(sizes))
        kept = lake.snapshot()["orders"]
        lake.compact("compact", file_bytes=10**9)

    (one,) = lake.snapshot()["orders"]
    assert len(kept) == 4
    assert pq.read_table(one)["n"].to_pylist() == list(range(4000))


def test_the_commit_at_a_time_is_the_newest_made_by_then(lake: Lake) -> None:
    third = lake.log.read(3)

    found = lake.log.at(third.created_at), lake.log.at(third.created_at - timedelta(microseconds=1))

    assert [commit.n for commit in found] == [3, 2]
    with pytest.raises(StoreError, match="made by 1999-01-01"):
        lake.log.at(datetime(1999, 1, 1, tzinfo=UTC))
