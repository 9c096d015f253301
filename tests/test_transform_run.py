"""What a transform may make of appended rows: one that the API gives again is stored once, or an error says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.config.project import load_project
from pipelines.cursors import Cursor
from pipelines.errors import CursorError
from tests.fake_api import FakeApi
from tests.ledger_api import LedgerApi, instant, row

NOON, LATER = "2024-03-01T12:00:00Z", "2024-03-02T10:20:00.500Z"
KEYS = pytest.mark.parametrize("key", ["    key: id\n", ""], ids=["by-key", "by-all-columns"])


class Ledger(LedgerApi):
    """An API that is asked by time and gives the newest row again, and a transform of its rows."""

    def transform(self, result: str, *, key: str = "    key: id\n") -> None:
        """Let rows be appended as the expression *result* makes them of `frame`."""
        self.configure(write="append", more="    columns: {at: timestamp}\n    transform: rows:made\n")
        source = self.folder / "config" / "ledger.yaml"
        source.write_text(source.read_text().replace("    key: id\n", key))
        (self.folder / "config" / "settings.toml").write_text(f'transforms = "{self.folder}/functions"\n')
        (self.folder / "functions").mkdir()
        (self.folder / "functions" / "rows.py").write_text(
            f"import itertools\n\ncounter = itertools.count()\n\n\ndef made(frame):\n    return {result}\n"
        )


@pytest.fixture
def ledger(api: FakeApi, tmp_path: Path) -> Ledger:
    return Ledger(api, tmp_path)


@KEYS
@pytest.mark.parametrize(
    "result",
    [
        pytest.param("frame.assign(at=frame['at'].dt.floor('s'))", id="rounded"),
        pytest.param("frame.assign(at=frame['at'] + __import__('datetime').timedelta(hours=-1))", id="moved"),
        pytest.param("frame.assign(at=None)", id="emptied"),
    ],
)
def test_the_cursor_of_appended_rows_is_not_changed(ledger: Ledger, result: str, key: str) -> None:
    """Below the watermark the last row would not be looked for, and be appended again by each run."""
    ledger.transform(result, key=key)
    ledger.rows = [row(1, NOON), row(2, LATER)]

    (failed,) = ledger.run().resources

    assert failed.problem is not None
    assert failed.problem.kind == "CursorError"
    assert "ledger.rows: the transform changes the cursor 'at'" in failed.problem.message
    assert "another column" in failed.problem.hint
    assert ledger.stored("id") == []


@KEYS
@pytest.mark.parametrize(
    "result",
    [
        pytest.param("frame[frame['id'] > 1]", id="left-out"),
        pytest.param("frame.iloc[::-1]", id="turned-round"),
        pytest.param("frame.assign(second=frame['at'].dt.floor('s'))", id="another-column"),
        pytest.param("frame.assign(at=frame['at'].dt.tz_localize(None))", id="another-type"),
    ],
)
def test_a_row_that_comes_again_is_stored_once_whatever_else_a_transform_makes(
    ledger: Ledger, result: str, key: str
) -> None:
    """A third row joins at the instant of the second."""
    ledger.transform(result, key=key)
    ledger.rows = [row(1, NOON), row(2, LATER)]
    ledger.read()
    ledger.rows.append(row(3, LATER))

    second, third = ledger.read(), ledger.read()

    assert (second.new, third.new) == (1, 0)
    assert [number for number in ledger.stored("id") if number > 1] == [2, 3]


def test_a_column_that_differs_between_runs_needs_a_key(ledger: Ledger) -> None:
    """With one a row that comes again is stored once; without, the configuration is warned about."""
    ledger.transform("frame.assign(number=[next(counter) for _ in range(len(frame))])")
    ledger.rows = [row(1, NOON), row(2, LATER)]

    runs = [ledger.read() for _ in range(3)]
    keyed = load_project({}, root=ledger.folder).warnings
    source = ledger.folder / "config" / "ledger.yaml"
    source.write_text(source.read_text().replace("    key: id\n", ""))
    (warning,) = load_project({}, root=ledger.folder).warnings

    assert [one.new for one in runs] == [2, 0, 0]
    assert ledger.stored("id") == [1, 2]
    assert keyed == ()
    assert "resources.rows.transform: with `write: append` and no `key` a row that is read again is told by" in warning


@pytest.mark.parametrize(
    ("kind", "before", "after", "is_kept"),
    [
        pytest.param("instant", [NOON], [NOON], True, id="text"),
        pytest.param("instant", [LATER], [instant(LATER)], True, id="text-to-time"),
        pytest.param("instant", ["2024-03-01"], [instant(NOON).date()], True, id="text-to-date"),
        pytest.param("instant", [NOON], [instant(NOON).date()], False, id="time-to-date"),
        pytest.param("instant", [instant(NOON).date()], [instant("2024-03-01")], True, id="date-to-time"),
        pytest.param("instant", [NOON], ["noon"], False, id="no-time"),
        pytest.param("instant", [NOON], [1_709_294_400], False, id="epoch"),
        pytest.param("instant", [NOON], [[NOON]], False, id="list"),
        pytest.param("instant", [NOON, LATER], [], True, id="no-row"),
        pytest.param("number", [9, 10], [10.0], True, id="integer-to-float"),
        pytest.param("number", ["9", "10"], [10], True, id="text-to-integer"),
        pytest.param("number", [9.5], [9], False, id="cut"),
        pytest.param("number", [9, 10], [10, None], False, id="null"),
        pytest.param("text", ["a", "b"], ["b"], True, id="letters"),
        pytest.param("text", ["a"], ["A"], False, id="capitals"),
    ],
)
def test_cursors_are_the_same_whatever_their_type(
    kind: str, before: list[Any], after: list[Any], is_kept: bool
) -> None:
    cursor = Cursor("at", "shop.orders", kind)
    read, made = pa.table({"at": before}), pa.table({"at": after})

    if is_kept:
        cursor.refuse_changed(read, made)
    else:
        with pytest.raises(CursorError, match=r"shop\.orders: the transform changes the cursor 'at'"):
            cursor.refuse_changed(read, made)
