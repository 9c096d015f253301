"""The commands for committed data: what they print, their JSON, their exit codes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from pipelines.cli import app
from pipelines.load.lake import Lake
from pipelines.version import CODE_VERSION
from tests.load.disks import QUICK
from tests.load.scenario import SOURCE, TARGETS, expected, run_once, seen


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two commits of one source."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run_once(Lake(tmp_path / "data", SOURCE, disk=QUICK))
    return tmp_path / "data"


def threadmill(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def answer(*arguments: str) -> Any:
    """What a command prints for programs."""
    result = threadmill(*arguments, "--json")
    assert result.exit_code in {0, 1}, result.output
    return orjson.loads(result.stdout)


def test_a_dataset_is_dropped_in_a_commit_that_a_rollback_undoes(data: Path) -> None:
    before = seen(data, "events")

    done = answer("drop", f"{SOURCE}.events")
    gone = not (data / "parquet" / SOURCE / "events").exists()
    others = [seen(data, name) for name in TARGETS if name != "events"]
    verified = threadmill("verify")
    again = threadmill("drop", f"{SOURCE}.events")
    notes = [one["note"] for one in answer("log", SOURCE)]
    threadmill("rollback", SOURCE, "2")

    assert done == {"dataset": f"{SOURCE}.events", "rows": 12, "commit": 3, "pending": []}
    assert (gone, others) == (True, [expected(name, 2) for name in TARGETS if name != "events"])
    assert verified.exit_code == 0
    assert (again.exit_code, "has no dataset 'events'" in again.stderr) == (1, True)
    assert "there are entities, totals" in again.stderr
    assert notes[0] == "drop events"
    assert seen(data, "events") == before


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("name", "told"), [(SOURCE, "is no dataset"), ("shp.events", "did you mean shop?"), (f"{SOURCE}.", "is no dataset")]
)
def test_what_cannot_be_dropped_is_told(name: str, told: str) -> None:
    result = threadmill("drop", name)

    assert result.exit_code == 2
    assert told in result.stderr


@pytest.mark.usefixtures("data")
def test_log_lists_commits_with_their_rows_the_newest_first() -> None:
    text = threadmill("log", SOURCE).stdout

    commits = answer("log", SOURCE)

    assert [commit["commit"] for commit in commits] == [2, 1]
    assert commits[0]["datasets"]["events"]["rows"] == 12
    assert "events 12, entities" in text


def test_rollback_and_diff_tell_what_changed(data: Path) -> None:
    done = answer("rollback", SOURCE, "1")

    differences = {one["dataset"]: one for one in answer("diff", SOURCE, "2", "3")}

    assert done == {"source": SOURCE, "commit": 3, "changed": True, "pending": []}
    assert (differences["events"]["removed"], differences["events"]["rows_after"]) == (6, 6)
    assert differences["events"]["state_after"] == {"run": 1}
    assert [seen(data, name) for name in TARGETS] == [expected(name, 1) for name in TARGETS]
    assert "commits 1 and 3 of shop hold the same" in threadmill("diff", SOURCE, "1", "3").stdout
    assert "nothing to do" in threadmill("rollback", SOURCE, "1").stdout


def test_a_rollback_that_cannot_be_shown_yet_is_a_commit_all_the_same(data: Path) -> None:
    """A file stands where the view is put together; once it is gone, the next command that writes shows the commit."""
    aside = data / "lake" / SOURCE / "aside"
    shutil.rmtree(aside, ignore_errors=True)
    aside.touch()

    result = threadmill("rollback", SOURCE, "1", "--json")
    before = [seen(data, name) for name in TARGETS]
    aside.unlink()
    answer("vacuum", SOURCE)

    done = orjson.loads(result.stdout)
    assert (result.exit_code, done["commit"], done["changed"]) == (0, 3, True)
    assert set(done["pending"]) == set(TARGETS)
    assert "warning: shop: commit 3 is not shown yet: showing the commit failed" in result.stderr
    assert before == [expected(name, 2) for name in TARGETS]
    assert [seen(data, name) for name in TARGETS] == [expected(name, 1) for name in TARGETS]


def test_the_catalog_tells_of_what_a_command_committed(data: Path) -> None:
    """It keeps the words that a run wrote into it; where there is none, none is made."""
    (data.parent / "config").mkdir()
    (data.parent / "config" / f"{SOURCE}.yaml").write_text(
        "base_url: https://a.example\nresources: {totals: {path: /t, description: All there is}}\n"
    )
    without = threadmill("rollback", SOURCE, "1").exit_code, (data / "catalog.json").exists()
    assert threadmill("catalog").exit_code == 0

    answer("rollback", SOURCE, "2")
    one = orjson.loads((data / "catalog.json").read_bytes())
    answer("compact", SOURCE)
    other = orjson.loads((data / "catalog.json").read_bytes())

    assert without == (0, False)
    assert {each["commit"] for each in one["datasets"]} == {4}
    assert {each["commit"] for each in other["datasets"]} == {answer("log", SOURCE)[0]["commit"]}
    assert next(each for each in other["datasets"] if each["dataset"] == f"{SOURCE}.totals")["description"]
    assert answer("log", SOURCE)[0]["code_version"] == CODE_VERSION


def test_verify_leaves_with_1_where_something_is_wrong_and_repair_puts_it_right(data: Path) -> None:
    whole = threadmill("verify")
    next((data / "parquet" / SOURCE / "totals").rglob("*.parquet")).unlink()

    damaged = threadmill("verify", SOURCE)
    repaired = answer("repair", SOURCE)

    assert (whole.exit_code, damaged.exit_code) == (0, 1)
    assert "no defects" in whole.stdout
    assert "the view shows other files" in damaged.stdout
    assert "hint: `threadmill repair`" in damaged.stdout
    assert repaired[SOURCE]["shown"] == ["totals"]
    assert threadmill("verify").exit_code == 0


def test_compact_and_vacuum_tell_files_and_bytes(data: Path) -> None:
    compacted = answer("compact", SOURCE, "--file-size", "1MB")

    vacuumed = answer("vacuum", "--keep", "1", "--grace", "0s")

    assert compacted[SOURCE]["files_before"] > compacted[SOURCE]["files_after"]
    assert vacuumed[SOURCE]["commits"] == 2
    assert vacuumed[SOURCE]["bytes"] > 0
    assert [seen(data, name) for name in TARGETS] == [expected(name, 2) for name in TARGETS]


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(("log", "shap"), 2, "has no data of a source 'shap'", id="unknown-source"),
        pytest.param(("rollback", SOURCE, "77"), 1, f"{SOURCE} has no commit 77", id="unknown-commit"),
        pytest.param(("vacuum", "--grace", "3 fortnights"), 2, "--grace: needs a number with its unit", id="grace"),
        pytest.param(("compact", "--file-size", "big"), 2, "--file-size: needs a number", id="size"),
    ],
)
def test_a_mistake_is_told_with_a_way_out(arguments: tuple[str, ...], code: int, message: str) -> None:
    result = threadmill(*arguments)

    assert result.exit_code == code
    assert message in result.stderr
    assert "hint: " in result.stderr


@pytest.mark.usefixtures("data")
def test_k06_a_command_that_writes_is_refused_while_a_run_is_in(data: Path) -> None:
    with Lake(data, SOURCE).lock("a run"):
        result = threadmill("rollback", SOURCE, "1")

    assert result.exit_code == 4
    assert "another run is working on shop" in result.stderr


@pytest.mark.parametrize("command", ["verify", "repair", "compact", "vacuum"])
def test_where_there_is_no_data_yet_a_line_says_so_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)

    result = threadmill(command)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "data has no data yet: run `threadmill run` first\n"
    assert answer(command) == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["log", "diff", "rollback", "verify", "repair", "compact", "vacuum"])
def test_help_shows_an_example(command: str) -> None:
    assert f"threadmill {command}" in threadmill(command, "--help").stdout
