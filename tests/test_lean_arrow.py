"""Workers without transforms do not pay for pandas, those with them get their frames."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import pipelines.lean_arrow
import pyarrow as pa
pa.array([1, None]); pa.Table.from_pylist([{"a": 1}])
print("pandas" in sys.modules)
import pandas as pd
frame = pa.table({"a": [1, None]}).to_pandas(types_mapper=pd.ArrowDtype)
print(frame["a"].dtype, pa.Table.from_pandas(frame, preserve_index=False)["a"].to_pylist(), pa.array(pd.Series([1.5])))
"""


def test_arrays_are_made_without_pandas_and_frames_with_it() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)

    lines = done.stdout.splitlines()
    assert lines[0] == "False"
    assert lines[1].startswith("int64[pyarrow] [1, None]")
