"""A lake in a bucket, as a real S3 server keeps it: the same commits, whoever else writes and whatever gets lost."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import obstore
import pytest

from pipelines.errors import ConfigError, Conflict, StoreError
from pipelines.load.lake import Lake
from pipelines.load.stores import sources_of
from tests.buckets import SECRET, Bucket, new_bucket, s3_server, way_to
from tests.load.children import bucket_run
from tests.load.disks import QUICK
from tests.load.scenario import ALL_TARGETS, SOURCE, cursor, expected, pinned, run_once, stage

ROUNDS = int(os.environ.get("THREADMILL_CRASH_ROUNDS", "1"))
CONTEXT = multiprocessing.get_context("forkserver")
LATER = timedelta(days=3)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """One for all tests of a process."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(server: str) -> Bucket:
    """An empty one."""
    return new_bucket(server)


def machine(folder: Path, bucket: Bucket) -> Lake:
    """The lake as one machine sees it, whose data folder is *folder*."""
    return Lake(folder, SOURCE, bucket.remote, disk=QUICK)


def rows_are_right(lake: Lake, runs: int) -> bool:
    """Whether every dataset is as after *runs* runs, for a reader of the newest document."""
    return all(pinned(lake, name) == expected(name, runs) for name in lake.snapshot())


def test_all_write_modes_give_the_same_rows_as_in_a_folder(tmp_path: Path, bucket: Bucket) -> None:
    """Four runs, each on a machine that has nothing yet."""
    for run in range(4):
        run_once(machine(tmp_path / str(run), bucket), targets=ALL_TARGETS)

    lake = machine(tmp_path / "reader", bucket)
    assert rows_are_right(lake, 4)
    assert set(lake.snapshot()) == set(ALL_TARGETS)
    assert not (tmp_path / "0" / "parquet").exists()
    assert sources_of(tmp_path, bucket.remote) == [SOURCE]


def test_k06_of_two_machines_the_second_gets_a_conflict_and_loses_nothing(tmp_path: Path, bucket: Bucket) -> None:
    """No lock is shared; the loser's next run starts from the winner's commit."""
    one, other = machine(tmp_path / "one", bucket), machine(tmp_path / "other", bucket)
    run_once(one)
    draft = other.begin("slow")
    stage(other, draft, 2, QUICK)
    run_once(one)

    with other.lock("slow"), pytest.raises(Conflict, match="made commit 2 while this one was working"):
        other.commit(draft)
    run_once(other)

    assert one.log.numbers() == [2, 3]
    assert rows_are_right(one, 3)
    assert rows_are_right(other, 3)


def test_a_number_that_was_forgotten_meanwhile_is_not_taken_again(tmp_path: Path, bucket: Bucket) -> None:
    """Else a commit below the head would succeed, and its rows be lost."""
    one, other = machine(tmp_path / "one", bucket), machine(tmp_path / "other", bucket)
    run_once(one)
    draft = other.begin("very slow")
    stage(other, draft, 2, QUICK)
    for _ in range(3):
        run_once(one)
    one.vacuum(keep=1, grace=timedelta(0), now=datetime.now(UTC) + LATER)

    with pytest.raises(Conflict, match="another run made commit 2"):
        other.commit(draft)

    assert one.log.numbers() == [4]
    assert rows_are_right(one, 4)


@pytest.mark.parametrize("lost", [1, 6], ids=["once", "each-time"])
def test_a_commit_whose_answer_is_lost_is_read_back_and_counts(
    tmp_path: Path, bucket: Bucket, server: str, lost: int
) -> None:
    """The server has the document: asked again it says that there is one, and its run is ours."""
    with way_to(server) as way:
        lake = machine(tmp_path, bucket.behind(way))
        run_once(lake)
        way.lose = lost

        done = run_once(lake)

    assert way.lost == min(lost, 5)
    assert done.changed
    assert machine(tmp_path / "reader", bucket).log.numbers() == [1, 2]
    assert rows_are_right(machine(tmp_path / "reader", bucket), 2)


def test_where_nobody_can_tell_the_run_fails_and_the_next_goes_on_from_what_is_there(
    tmp_path: Path, bucket: Bucket, server: str
) -> None:
    """The network breaks just after the server has written the document."""
    with way_to(server) as way:
        lake = machine(tmp_path, bucket.behind(way))
        run_once(lake)
        way.lose, way.breaks = 1, True

        with pytest.raises(StoreError, match=r"writing commit 2 of s3://.* failed"):
            run_once(lake)
    run_once(machine(tmp_path, bucket))

    assert rows_are_right(machine(tmp_path / "reader", bucket), 3)


@pytest.mark.timeout(120 * ROUNDS)
@pytest.mark.parametrize("passes", [False, True], ids=["before-it-arrives", "while-it-is-answered"])
def test_k01_a_run_killed_at_any_request_to_a_bucket_leaves_a_whole_commit(
    tmp_path: Path, bucket: Bucket, server: str, *, passes: bool
) -> None:
    """By kill -9, at every fifth request; at each in the long battery. The next run is on another machine."""
    reader = machine(tmp_path / "reader", bucket)
    run_once(machine(tmp_path / "first", bucket), targets=ALL_TARGETS)
    problems: list[str] = []
    kills = 0

    for at in count(1, 1 if ROUNDS > 1 else 5):
        before = cursor(reader.head())
        if _killed_at(at, tmp_path / f"killed-{at}", bucket, server, passes=passes) == 0:
            break
        kills += 1
        reached = cursor(reader.head())
        if reached not in (before, before + 1) or not rows_are_right(reader, reached):
            problems.append(f"request {at}: no whole commit")
        run_once(machine(tmp_path / f"next-{at}", bucket), targets=ALL_TARGETS)
        if cursor(reader.head()) != reached + 1 or not rows_are_right(reader, reached + 1):
            problems.append(f"request {at}: the next run did not go on from there")

    assert kills > 6
    assert problems == []
    assert reader.verify().defects == ()


def _killed_at(at: int, folder: Path, bucket: Bucket, server: str, *, passes: bool) -> int | None:
    """The exit code of a run that is killed when it sends its request number *at*."""
    with way_to(server) as way:
        process = CONTEXT.Process(target=bucket_run, args=(folder, bucket.behind(way).remote))
        way.at, way.event, way.passes = at, process.kill, passes
        process.start()
        process.join(60)
        return process.exitcode


def test_a_server_that_overwrites_what_it_must_not_is_refused(tmp_path: Path, bucket: Bucket, server: str) -> None:
    """Two writers would lose each other's commits there; nothing but the probe was put."""
    with way_to(server) as way:
        way.careless = True

        with pytest.raises(StoreError, match="overwrites objects that it was told not to"):
            run_once(machine(tmp_path, bucket.behind(way)))

    assert bucket.keys("log/") == []


def test_rollback_diff_compact_and_log_work_as_in_a_folder(tmp_path: Path, bucket: Bucket) -> None:
    """Each on a machine that has to bring what it reads."""
    for _ in range(3):
        run_once(machine(tmp_path / "writer", bucket))
    lake = machine(tmp_path / "keeper", bucket)

    differences = {one.dataset: one for one in lake.diff(2, 3)}
    compacted = machine(tmp_path / "compactor", bucket).compact("compact", file_bytes=10**6)
    merged = rows_are_right(machine(tmp_path / "compacted", bucket), 3)
    lake.rollback(2, "rollback")

    assert differences["events"].added == 6
    assert (compacted.changed, merged) == (True, True)
    assert rows_are_right(machine(tmp_path / "reader", bucket), 2)
    notes = [lake.log.read(number).note for number in lake.log.numbers()]
    assert notes == ["", "", "compact", "rollback to commit 2"]


def test_vacuum_removes_what_no_kept_commit_needs_and_leaves_uploads_of_today(tmp_path: Path, bucket: Bucket) -> None:
    """A part that no document names may be of a run that is about to commit; after a day it is not."""
    lake = machine(tmp_path, bucket)
    for _ in range(3):
        run_once(lake)
    obstore.put(bucket.client(), f"{SOURCE}/store/events/orphan.parquet", b"of a dead run")

    today = lake.vacuum(keep=1, grace=timedelta(0), now=datetime.now(UTC)), "orphan" in str(bucket.keys())
    later = lake.vacuum(keep=1, grace=timedelta(0), now=datetime.now(UTC) + LATER), "orphan" in str(bucket.keys())

    named = {f"{SOURCE}/store/{path}" for path in lake.log.read(3).paths}
    assert (today, later) == ((0, True), (1, False))
    assert set(bucket.keys("/store/")) == named
    assert lake.home.size_bytes() > 0
    assert rows_are_right(machine(tmp_path / "reader", bucket), 3)


@pytest.mark.parametrize("others", ["website/store/logo.png", f"{SOURCE}/store/events/part.parquet"])
def test_what_no_document_tells_of_is_no_source_and_vacuum_leaves_it_alone(
    tmp_path: Path, bucket: Bucket, others: str
) -> None:
    """A folder of somebody else beside the lake's, and a lake whose log is gone."""
    run_once(Lake(tmp_path, "bank", bucket.remote, disk=QUICK))
    obstore.put(bucket.client(), others, b"precious")
    lake = Lake(tmp_path, others.partition("/")[0], bucket.remote, disk=QUICK)

    lake.vacuum(keep=1, grace=timedelta(0), now=datetime.now(UTC) + LATER)

    assert sources_of(tmp_path, bucket.remote) == ["bank"]
    assert bucket.keys(others) == [others]


@pytest.mark.parametrize("damage", ["remove", "replace"])
def test_verify_finds_a_damaged_object_and_repair_brings_it_back_from_a_copy(
    tmp_path: Path, bucket: Bucket, damage: str
) -> None:
    """The machine that wrote it has one; another has not, and says that the file is lost."""
    lake, stranger = machine(tmp_path / "writer", bucket), machine(tmp_path / "stranger", bucket)
    run_once(lake)
    file = lake.log.read(1).datasets["totals"].files[0]
    key, size = f"{SOURCE}/store/{file.path}", file.size_bytes
    obstore.delete(bucket.client(), key)
    if damage == "replace":
        obstore.put(bucket.client(), key, b"x" * size)

    found = [(one.dataset, one.path) for one in lake.verify().defects]
    with pytest.raises(StoreError, match="is gone, or has other bytes"):
        stranger.snapshot()
    hopeless = stranger.repair()
    repaired = lake.repair()

    assert found == [("totals", file.path)]
    assert (hopeless.lost, repaired.restored, repaired.lost) == ((file.path,), (file.path,), ())
    assert (lake.verify().defects, stranger.verify().defects) == ((), ())
    assert rows_are_right(stranger, 1)


def test_s17_errors_tell_the_place_and_no_credentials(tmp_path: Path, bucket: Bucket) -> None:
    missing = Bucket("not-there", bucket.endpoint)

    with pytest.raises(StoreError) as refused:
        run_once(machine(tmp_path, missing))

    assert "s3://not-there/team/lake/shop" in refused.value.message
    assert SECRET not in f"{refused.value}{missing.remote!r}{machine(tmp_path, missing).home!r}"


def test_a_merge_brings_only_the_files_that_it_touches(tmp_path: Path, bucket: Bucket) -> None:
    """Three runs appended events; a fourth on a new machine needs none of their files."""
    for _ in range(3):
        run_once(machine(tmp_path / "writer", bucket))
    lake = machine(tmp_path / "other", bucket)

    run_once(lake)

    here = list((lake.store / "events").rglob("*.parquet"))
    assert len(here) == 2
    assert len(lake.log.read(4).datasets["events"].files) == 8


@pytest.mark.parametrize("left", [0, 100])
def test_a_copy_that_a_power_cut_has_cut_is_downloaded_again(tmp_path: Path, bucket: Bucket, left: int) -> None:
    """The bucket has all of it: the machine that was cut goes on, and reads what was committed."""
    lake = machine(tmp_path, bucket)
    run_once(lake)
    copies = list(lake.store.rglob("*.parquet"))
    for path in copies:
        path.chmod(0o600)
        os.truncate(path, left)

    run_once(lake)

    assert len(copies) > 3
    assert rows_are_right(lake, 2)


def test_without_its_package_a_bucket_is_an_error_that_names_it(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)

    with pytest.raises(ConfigError) as refused:
        machine(tmp_path, bucket)

    assert "pip install obstore" in refused.value.hint
