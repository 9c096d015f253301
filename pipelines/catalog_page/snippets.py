"""Lines that read a dataset with each of the tools that analysts use, ready to be copied."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines.patterns import literal


def snippets(dataset: str, data: Path | None) -> dict[str, str]:
    """The lines for each tool; they read the newest commit, whole, from the folder that a run keeps up to date.

    Without a folder, in a bucket, the newest document tells the files: tools that list them would read old ones too.
    """
    ours = f"import pipelines\n\nframe = pipelines.read({_quoted(dataset)})"
    if data is None:
        return {
            "Threadmill": ours,
            "SQL": f"import pipelines\n\nframe = pipelines.sql({_quoted(f'FROM {dataset}')}).df()",
        }
    source, _, name = dataset.partition(".")
    path = data / "parquet" / source / name
    pattern = f"{Path(literal(path)).as_posix()}/**/*.parquet"
    folder, glob = _quoted(path.as_posix()), _quoted(pattern)
    query = _quoted("FROM '" + pattern.replace("'", "''") + "'")
    return {
        "pandas": f'import pandas as pd\n\nframe = pd.read_parquet({folder}, dtype_backend="pyarrow")',
        "Polars": f"import polars as pl\n\nframe = pl.read_parquet({glob})",
        "DuckDB": f"import duckdb\n\nframe = duckdb.sql({query}).df()",
        "Threadmill": ours,
        "Spark": f"frame = spark.read.parquet({folder})",
        "R": f"library(arrow)\nlibrary(dplyr)\n\nframe <- open_dataset({folder}) |> collect()",
    }


def _quoted(text: str) -> str:
    """*text* as a literal of Python, which is one of Spark's and R's as well."""
    return json.dumps(text, ensure_ascii=False)
