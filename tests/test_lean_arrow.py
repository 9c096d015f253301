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


PUT_OFF = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pipelines.lean_arrow import put_off_compute
put_off_compute()
import pyarrow as pa
import pyarrow.compute as pc
import pipelines.source_run
print("pyarrow._compute" in sys.modules)
with ThreadPoolExecutor(8) as threads:
    print(set(threads.map(lambda n: pc.sum(pa.array([n, 1])).as_py() - n, range(8))))
from pyarrow.compute import field
print(pa.table({"a": [1, 2]}).filter(field("a") > 1).to_pydict(), pc.add(1, 2))
"""


def test_what_computes_is_imported_when_something_is_computed() -> None:
    done = subprocess.run([sys.executable, "-c", PUT_OFF], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["False", "{1}", "{'a': [2]} 3"]
