"""The user's function sees the data as the API sent them, and nothing else of theirs is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from pipelines.errors import ConfigError, TransformError
from pipelines.transform.frames import apply, resolve

if TYPE_CHECKING:
    import pandas as pd

TABLE = pa.table(
    {
        "id": pa.array([1, None, 2**53 + 1]),
        "at": pa.array([0, None, 1], pa.timestamp("ms", "UTC")),
        "name": ["a", "b", None],
        "tags": [["x"], None, []],
    }
)


def written(folder: Path, text: str) -> Path:
    (folder / "shop.py").write_text(text)
    return folder


def test_a_frame_goes_in_and_out_without_loss() -> None:
    result = apply(TABLE, lambda frame: frame)

    assert result.equals(TABLE)


def test_integers_with_nulls_stay_integers_and_the_index_is_dropped() -> None:
    def clean(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[frame["id"].notna()].assign(double=lambda kept: kept["id"] * 2)[["id", "double"]]

    result = apply(TABLE, clean)

    assert result.to_pydict() == {"id": [1, 2**53 + 1], "double": [2, 2**54 + 2]}
    assert result.schema.types == [pa.int64(), pa.int64()]


def test_a_failing_function_is_named_with_its_line_and_the_columns(tmp_path: Path) -> None:
    folder = written(tmp_path, "def clean(frame):\n    wanted = 'nam'\n    return frame[wanted]\n")
    function = resolve("shop:clean", [folder])

    with pytest.raises(TransformError, match=r"shop:clean failed at shop.py:3: KeyError: 'nam'") as caught:
        apply(TABLE, function)

    assert "id, at, name, tags" in caught.value.hint


@pytest.mark.parametrize(
    "change",
    [lambda frame: frame.set_index("name"), lambda frame: frame.groupby("name")[["id"]].max()],
    ids=["index", "groups"],
)
def test_a_column_that_only_the_index_has_is_refused(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """It would be lost; one that the frame has as well is not."""
    with pytest.raises(TransformError, match="returned name as the index of the frame") as refused:
        apply(TABLE, change)

    assert "reset_index()" in refused.value.hint
    assert apply(TABLE, lambda frame: frame.set_index("name", drop=False)).column_names == TABLE.column_names


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(TransformError, match="returned Series and no DataFrame"):
        apply(TABLE, lambda frame: frame["id"])  # type: ignore[arg-type,return-value] # the mistake under test


FOREIGN = ["os:system", "shop:os", "../shop:clean", "shop", "shop:missing", "os.path:join", "this:c", "this.c:d"]


@pytest.mark.parametrize("name", FOREIGN)
def test_s12_nothing_outside_the_folder_is_ever_imported(name: str, tmp_path: Path) -> None:
    """`os` is there already, whoever imports it; `this` is a module that nobody imports."""
    folder = written(tmp_path, "import os\n\ndef clean(frame):\n    return frame\n")
    before = set(sys.modules)
    assert "this" not in before

    with pytest.raises(ConfigError):
        resolve(name, [folder])

    assert {module for module in set(sys.modules) - before if "threadmill_transforms" not in module} == set()


def test_threads_that_resolve_at_once_get_the_whole_module(tmp_path: Path) -> None:
    """The second comes while the module is being imported for the first."""
    folder = written(tmp_path, "import time\n\ntime.sleep(0.2)\n\ndef clean(frame):\n    return frame\n")

    with ThreadPoolExecutor(2) as threads:
        functions = list(threads.map(resolve, ["shop:clean"] * 2, [[folder]] * 2))

    assert [function.__name__ for function in functions] == ["clean", "clean"]
    assert functions[0] is functions[1]
