"""Locks, drafts, recovery, vacuum and what the lake refuses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from pipelines.errors import Busy, Conflict, StoreError
from pipelines.load.disk import Disk
from pipelines.load.lake import Lake
from pipelines.load.log import Commit, Log
from pipelines.load.merge import Place, plan, resolve, work
from pipelines.load.stores import LocalStore
from pipelines.load.target import Target
from tests.load.disks import QUICK, NoExchangeDisk
from tests.load.scenario import SOURCE, TARGETS, cursor, expected, pinned, run_once, seen, stage, wrong_after
from tests.load.test_merge import Shop

TMP = "tmp"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake after two runs."""
    lake = Lake(tmp_path, SOURCE, disk=QUICK)
    for _ in range(2):
        run_once(lake)
    return lake


def test_k06_a_second_run_is_refused_and_told_who_is_there(lake: Lake, tmp_path: Path) -> None:
    with lake.lock("first"), pytest.raises(Busy) as caught, Lake(tmp_path, SOURCE).lock("second"):
        pass

    assert f"process {os.getpid()}, run first" in caught.value.message
    assert caught.value.exit_code == 4


def test_a_lock_is_free_again_after_its_run(lake: Lake) -> None:
    with lake.lock("first"):
        pass

    with lake.lock("second"):
        reached = cursor(lake.head())

    assert reached == 2


class Overtaken(LocalStore):
    """Where between listing the documents and reading one *meanwhile* happens, once."""

    meanwhile: list[Callable[[], object]]

    def numbers(self) -> list[int]:
        """What was there before."""
        found = super().numbers()
        while self.meanwhile:
            self.meanwhile.pop()()
        return found


def test_the_head_is_found_although_a_run_forgets_it_meanwhile(lake: Lake) -> None:
    store = Overtaken(lake.folder, QUICK, lambda: None)
    later = datetime.now(UTC) + timedelta(days=1)
    store.meanwhile = [lambda: lake.vacuum(keep=1, grace=timedelta(0), now=later), lambda: run_once(lake, QUICK)]
    before = lake.log.numbers()[-1]

    head = Log(SOURCE, store).head()

    assert head is not None
    assert lake.log.numbers() == [head.n] == [before + 1]


def test_of_two_drafts_from_one_head_the_second_gets_a_conflict_and_leaves_nothing(lake: Lake, tmp_path: Path) -> None:
    first, second = lake.begin("first"), lake.begin("second")
    stage(lake, first, 3, QUICK)
    stage(lake, second, 3, QUICK)
    lake.commit(first)

    with pytest.raises(Conflict, match="run first made commit 3"):
        lake.commit(second)

    assert not any((lake.store / part.path).exists() for part in second.parts)
    assert seen(tmp_path, "entities") == expected("entities", 3)


def test_an_answer_about_a_link_that_comes_twice_is_no_conflict(lake: Lake) -> None:
    """A network file system may repeat a link that succeeded: the document is our own."""
    draft = lake.begin("ours")
    stage(lake, draft, 3, QUICK)
    (lake.folder / "log" / "000000000003.json").write_bytes(draft.commit.encode())

    committed = lake.commit(draft)

    assert committed.changed
    assert cursor(lake.head()) == 3


def test_a_draft_without_news_is_not_written(lake: Lake) -> None:
    draft = lake.begin("nothing")
    for name in TARGETS:
        draft.set_state(name, {"run": 2})

    committed = lake.commit(draft)

    assert (committed.changed, committed.head) == (False, lake.head())
    assert lake.log.numbers()[-1] == 2


def test_a_new_watermark_alone_is_committed_without_touching_the_view(lake: Lake, tmp_path: Path) -> None:
    inodes = {path: path.stat().st_ino for path in (tmp_path / "parquet").rglob("*")}
    draft = lake.begin("state")
    draft.set_state("events", {"run": 2, "until": "2024-06-01"})

    committed = lake.commit(draft)

    assert (committed.changed, committed.published, draft.changed) == (True, (), ())
    assert lake.begin("next").state("events") == {"run": 2, "until": "2024-06-01"}
    assert {path: path.stat().st_ino for path in (tmp_path / "parquet").rglob("*")} == inodes


def test_a_document_says_everything_and_reads_back_equal(lake: Lake) -> None:
    head = lake.head()

    document = orjson.loads((lake.folder / "log" / "000000000002.json").read_bytes())

    assert head is not None
    assert Commit.decode(head.encode()) == head
    assert document["format"] == 1
    assert document["datasets"]["entities"]["key"] == ["id"]
    assert document["datasets"]["entities"]["columns"][0] == {"name": "id", "type": "int64"}
    assert document["datasets"]["events"]["rows"] == 12
    assert document["datasets"]["events"]["files"][0]["stats"]["at"][0].startswith("2024-05-0")


def test_a_snapshot_stays_readable_while_later_runs_commit(lake: Lake) -> None:
    files = lake.snapshot(2)["entities"]

    run_once(lake)

    assert all(path.exists() for path in files)
    assert pinned(lake, "entities") == expected("entities", 3)


def test_vacuum_keeps_the_last_commits_and_those_within_the_grace_time(lake: Lake) -> None:
    for _ in range(3):
        run_once(lake)
    now = datetime.now(UTC)

    with lake.lock("vacuum"):
        kept = lake.vacuum(keep=1, grace=timedelta(hours=1), now=now), lake.log.numbers()
        gone = lake.vacuum(keep=1, grace=timedelta(hours=1), now=now + timedelta(hours=2)), lake.log.numbers()

    assert kept == (0, [4, 5])
    assert gone == (1, [5])


def test_files_stay_for_the_grace_time_from_when_they_were_replaced(tmp_path: Path) -> None:
    """Of daily runs the last replaces yesterday's files, which somebody has opened a moment before."""
    lake, now = Lake(tmp_path, SOURCE, disk=QUICK), datetime.now(UTC)
    for number, when in ((1, now - timedelta(days=1)), (2, now)):
        draft = lake.begin("run")
        stage(lake, draft, number, QUICK)
        lake.commit(draft, now=when)
    (opened,) = lake.snapshot(1)["totals"]

    forgotten: list[int] = []
    there: list[bool] = []
    for minutes in (0, 59, 61):
        with lake.lock("vacuum"):
            forgotten.append(lake.vacuum(keep=1, grace=timedelta(hours=1), now=now + timedelta(minutes=minutes)))
        there.append(opened.exists())

    assert (forgotten, there, lake.log.numbers()) == ([0, 0, 1], [True, True, False], [2])


def test_a_clock_that_was_set_back_changes_neither_order_nor_the_head(lake: Lake) -> None:
    """c07: commits are ordered by number."""
    draft = lake.begin("past")
    stage(lake, draft, 3, QUICK)

    lake.commit(draft, now=datetime(1999, 1, 1, tzinfo=UTC))

    assert cursor(lake.head()) == 3


def test_a_commit_that_touches_one_partition_swaps_that_folder_alone(tmp_path: Path) -> None:
    """The folders of the others, and the dataset's own, stay the very same; a new partition joins in one step too."""
    shop, target = Shop(tmp_path), Target(write="upsert", key=("id",), partition_by=("team",))
    shop.load(target, pa.table({"id": [1, 2, 3], "team": [0, 1, 2], "v": ["a", "b", "c"]}))
    view = tmp_path / "parquet/shop/orders"
    before = {path.name: path.stat().st_ino for path in (view, *view.iterdir())}

    shop.load(target, pa.table({"id": [2], "team": [1], "v": ["B"]}))
    shop.load(target, pa.table({"id": [4], "team": [9], "v": ["d"]}))
    one = {path.name: path.stat().st_ino for path in (view, *view.iterdir())}
    rows = [(row["id"], row["v"]) for row in shop.rows]
    shop.load(target, pa.table({"id": [1, 3], "team": [0, 2], "v": ["A", "C"]}))

    assert {name for name in before if one[name] != before[name]} == {"by_team=1"}
    assert rows == [(1, "a"), (2, "B"), (3, "c"), (4, "d")]
    assert view.stat().st_ino != before["orders"]
    assert [row["v"] for row in shop.rows] == ["A", "B", "C", "d"]
    assert shop.lake.verify().defects == ()


def test_foreign_files_are_moved_out_of_the_view_and_kept(lake: Lake, tmp_path: Path) -> None:
    view = tmp_path / "parquet" / SOURCE
    (view / "events" / "notes.txt").write_text("mine")
    (view / "events" / "day=2024-05-01" / "copy.parquet").write_bytes(b"mine")
    (view / "mine").mkdir()
    (view / "mine" / "report.csv").write_text("mine")

    with lake.lock("run"):
        recovery = lake.recover()

    assert set(recovery.foreign) == {"events/notes.txt", "events/day=2024-05-01/copy.parquet", "mine"}
    assert len(list((lake.folder / "foreign").rglob("*.*"))) == 3
    assert list(wrong_after(tmp_path, lake)) == []


@pytest.mark.parametrize("disk", [QUICK, NoExchangeDisk()], ids=["links", "copies"])
def test_what_is_put_into_the_view_while_a_run_is_on_is_kept_as_well(tmp_path: Path, disk: Disk) -> None:
    """The folder that it lies in is exchanged and goes, after a while; the note does not."""
    shop = Shop(tmp_path)
    target = Target(write="upsert", key=("id",))
    shop.load(target, pa.table({"id": [1], "v": [1]}))
    shop.lake = Lake(tmp_path, "shop", disk=disk)
    note = tmp_path / "parquet/shop/orders/note.txt"

    def run(units: Any) -> list[Any]:
        note.write_text("mine")
        return [work(unit) for unit in units]

    shop.load(target, pa.table({"id": [1], "v": [2]}), run=run)
    with shop.lake.lock("vacuum"):
        shop.lake.vacuum(keep=1, grace=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))

    (kept,) = (shop.lake.folder / "foreign").iterdir()
    assert (kept.read_text(), kept.name.endswith("-note.txt")) == ("mine", True)
    assert not note.exists()
    assert list(shop.lake.aside.iterdir()) == []


def test_a_view_without_any_commit_may_be_the_last_copy_and_is_kept(
    lake: Lake, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody begins afresh, or took only the view to another machine; an empty folder just goes."""
    view = tmp_path / "parquet" / SOURCE
    before = sorted(path.name for path in view.rglob("*.parquet"))
    shutil.rmtree(lake.folder)
    (view / "empty").mkdir()

    with lake.lock("run"):
        recovery = lake.recover()

    assert sorted(recovery.foreign) == sorted(TARGETS)
    assert sorted(path.name for path in (lake.folder / "foreign").rglob("*.parquet")) == before
    assert list(view.iterdir()) == []
    assert all(f"path={view / name} " in caplog.text for name in TARGETS)


@pytest.mark.parametrize("do", ["recover", "repair", "vacuum"])
def test_a_log_that_is_gone_costs_no_file_and_all_is_well_once_it_is_back(lake: Lake, tmp_path: Path, do: str) -> None:
    """Without it nothing in the store has a name: it would be swept up, and the view moved aside."""
    log, elsewhere = lake.folder / "log", tmp_path / "log"
    log.rename(elsewhere)
    before = sorted(tmp_path.rglob("*.parquet"))

    told = {defect.path: defect.what for defect in lake.verify().defects}
    ways: dict[str, Callable[[], object]] = {
        "recover": lake.recover,
        "repair": lake.repair,
        "vacuum": lambda: lake.vacuum(keep=1, grace=timedelta(0), now=datetime.now(UTC)),
    }
    with pytest.raises(StoreError) as refused, lake.lock("run"):
        ways[do]()

    assert told == dict.fromkeys(TARGETS, "is in the view, but the log of its commits is gone")
    assert str(log) in refused.value.message
    assert str(lake.folder) in str(refused.value.hint)
    assert sorted(tmp_path.rglob("*.parquet")) == before
    shutil.rmtree(log, ignore_errors=True)
    elsewhere.rename(log)
    assert lake.verify().defects == ()
    run_once(lake)
    assert list(wrong_after(tmp_path, lake)) == []


@pytest.mark.parametrize("damage", ["remove", "replace"])
def test_a_view_that_somebody_damaged_is_rebuilt(lake: Lake, tmp_path: Path, damage: str) -> None:
    file = next((tmp_path / "parquet" / SOURCE / "events").rglob("*.parquet"))
    size = file.stat().st_size
    file.unlink()
    if damage == "replace":
        file.write_bytes(b"x" * size)

    with lake.lock("run"):
        recovery = lake.recover()

    assert recovery.shown == ("events",)
    assert list(wrong_after(tmp_path, lake)) == []


@pytest.mark.parametrize("place", [f"parquet/{SOURCE}", f"parquet/{SOURCE}/events", f"lake/{SOURCE}/{TMP}"])
def test_s24_a_symbolic_link_where_a_folder_should_be_is_refused(lake: Lake, tmp_path: Path, place: str) -> None:
    """What it leads to stays as it is."""
    target = tmp_path / "elsewhere"
    (tmp_path / place).rename(target)
    (target / "precious.parquet").write_bytes(b"x")
    (tmp_path / place).symlink_to(target)

    with pytest.raises(StoreError, match="symbolic link"):
        run_once(Lake(tmp_path, SOURCE, disk=QUICK))

    assert (target / "precious.parquet").exists()


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o000, "0o440", "0o750"), (0o077, "0o400", "0o700")])
def test_s24_objects_are_read_only_for_owner_and_group_and_obey_the_umask(
    tmp_path: Path, umask: int, file: str, folder: str
) -> None:
    before = os.umask(umask)
    try:
        run_once(Lake(tmp_path / "data", SOURCE, disk=QUICK))
    finally:
        os.umask(before)

    found = [tmp_path / "data", *(tmp_path / "data").rglob("*")]
    assert {oct(path.stat().st_mode & 0o777) for path in found if path.suffix == ".parquet"} == {file}
    assert {oct(path.stat().st_mode & 0o777) for path in found if path.is_dir()} == {folder}


@pytest.mark.parametrize("count", [3, 40])
def test_parts_that_another_machine_removed_cost_the_run_and_are_in_no_commit(lake: Lake, count: int) -> None:
    """Few parts are synced one by one, many all at once."""
    draft = lake.begin("run")
    place = Place(lake.store, lake.tmp, "many", Target(write="append", partition_by=("team",)), disk=QUICK)
    with place.writer() as writer:
        writer.write(pa.table({"id": range(count), "team": range(count)}))
        parts = writer.close()
    draft.set_files("many", resolve(plan(place, draft.dataset("many"), parts)), place.target)
    (lake.store / parts[-1].path).unlink()

    with pytest.raises(StoreError, match=rf"1 of the {count} files that this run wrote are gone, .*\.parquet"):
        lake.commit(draft)

    assert cursor(lake.head()) == 2
    assert "many" not in lake.snapshot()


def test_a_damaged_document_is_named_and_nothing_is_guessed(lake: Lake) -> None:
    path = lake.folder / "log" / "000000000002.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(StoreError, match=r"000000000002\.json is damaged"):
        lake.head()


@pytest.mark.parametrize("is_other", [False, True])
def test_a_document_of_a_later_version_is_read_as_far_as_it_is_known_or_refused_as_such(
    lake: Lake, is_other: bool
) -> None:
    """To remove it, as one that is damaged may be, would lose a commit."""
    path = lake.folder / "log" / "000000000002.json"
    known, document = lake.head(), orjson.loads(path.read_bytes())
    document["more"] = document["datasets"]["totals"]["more"] = document["datasets"]["totals"]["files"][0]["more"] = 1
    document["format"] += is_other
    path.chmod(0o644)
    path.write_bytes(orjson.dumps(document))

    if not is_other:
        assert lake.head() == known
        return
    with pytest.raises(StoreError, match="has format 2, which is newer than this version") as refused:
        lake.head()
    assert "remove" not in refused.value.hint


def test_a_data_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    with pytest.raises(StoreError, match="preparing the data folder"), Lake(tmp_path / "data", SOURCE).lock("run"):
        pass


def test_a_failed_run_leaves_no_staged_files(lake: Lake, tmp_path: Path) -> None:
    def fail() -> None:
        with lake.lock("run"):
            stage(lake, lake.begin("run"), 3, QUICK)
            raise pa.ArrowInvalid("something else went wrong")

    with pytest.raises(pa.ArrowInvalid):
        fail()

    assert list(wrong_after(tmp_path, lake)) == []


def test_abilities_tell_what_the_file_system_can_do(lake: Lake) -> None:
    assert (lake.abilities.hard_links, lake.abilities.exchange) == (True, True)
    assert list(lake.tmp.iterdir()) == []
