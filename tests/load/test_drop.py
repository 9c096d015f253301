"""A dataset that is dropped is gone as a whole or there as a whole, wherever it ends in between."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import StoreError
from pipelines.load.lake import Lake
from tests.load.disks import QUICK, Killed, NoExchangeDisk, SteppingDisk, vanish
from tests.load.scenario import SOURCE, TARGETS, clone, expected, pinned, run_once, seen


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A data folder after two runs."""
    for _ in range(2):
        run_once(Lake(tmp_path / "day", SOURCE, disk=QUICK))
    return tmp_path / "day"


def drop(lake: Lake, *names: str) -> None:
    with lake.lock("drop"):
        lake.recover()
        lake.drop(names, "drop")


def is_shown(root: Path) -> bool:
    return (root / "parquet" / SOURCE / "events").exists()


def test_k01_a_drop_that_dies_before_any_step_leaves_the_dataset_whole_or_gone(day: Path, tmp_path: Path) -> None:
    """What readers see is what is committed once the next run has looked, and `verify` finds nothing."""
    counting = SteppingDisk()
    drop(Lake(clone(day, tmp_path / "counted"), SOURCE, disk=counting), "events")
    outcomes = set()

    for at in range(1, counting.steps + 1):
        root = clone(day, tmp_path / f"died-at-{at}")
        with suppress(Killed):
            drop(Lake(root, SOURCE, disk=SteppingDisk(at, vanish)), "events")
        lake = Lake(root, SOURCE, disk=QUICK)
        if is_shown(root):
            assert seen(root, "events") == expected("events", 2)
        with lake.lock("run"):
            lake.recover()
        head = lake.head()
        assert head is not None
        assert is_shown(root) == ("events" in head.datasets)
        assert lake.verify().defects == ()
        assert [seen(root, name) for name in TARGETS if name != "events"] == [
            expected(name, 2) for name in TARGETS if name != "events"
        ]
        outcomes.add(is_shown(root))

    assert counting.steps > 5
    assert outcomes == {True, False}


@pytest.mark.parametrize("disk", [QUICK, NoExchangeDisk()], ids=["exchange", "no-exchange"])
def test_a_drop_is_undone_by_a_rollback_until_older_commits_are_forgotten(day: Path, disk: SteppingDisk) -> None:
    lake = Lake(day, SOURCE, disk=disk)
    drop(lake, "events")
    with lake.lock("rollback"):
        lake.rollback(2, "rollback")
    back = seen(day, "events"), pinned(lake, "events")

    drop(lake, "events", "totals")
    with lake.lock("vacuum"):
        lake.vacuum(keep=1, grace=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))

    assert back == (expected("events", 2), expected("events", 2))
    assert lake.log.numbers() == [5]
    assert sorted(path.name for path in lake.store.iterdir()) == ["entities"]
    assert sorted(path.name for path in lake.shown.iterdir()) == ["entities"]


def test_a_dataset_that_is_not_there_is_not_dropped(day: Path) -> None:
    lake = Lake(day, SOURCE, disk=QUICK)

    with pytest.raises(StoreError, match="shop has no dataset 'event'") as refused:
        drop(lake, "event")

    assert "events" in refused.value.hint
    assert lake.log.numbers() == [1, 2]
