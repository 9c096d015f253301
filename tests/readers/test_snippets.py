"""The lines that the catalogue page shows for Spark and R, run as they are copied from it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog_page.snippets import snippets

_SPARK = """\
import json, sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
for dataset, lines in json.load(open(sys.argv[1])).items():
    exec(lines)
    print("\\n" + json.dumps([dataset, frame.count(), sorted(frame.columns)]))
"""
_R = """\
columns <- paste(sort(names(frame), method = "radix"), collapse = '", "')
cat('\\n["{dataset}", ', nrow(frame), ', ["', columns, '"]]\\n', sep = "")
"""


def test_spark_reads_every_row_and_column_by_the_snippet(data: Path, tmp_path: Path) -> None:
    """`SPARK_PYTHON` names a Python that has pyspark; Spark needs Java 17 or later."""
    lines = {dataset: snippets(dataset, data)["Spark"] for dataset in datasets(data)}
    (tmp_path / "snippets.json").write_text(json.dumps(lines))

    read = printed([os.environ["SPARK_PYTHON"], "-c", _SPARK, tmp_path / "snippets.json"], tmp_path)

    assert read == datasets(data)


def test_r_reads_every_row_and_column_by_the_snippet(data: Path, tmp_path: Path) -> None:
    """R with its packages arrow and dplyr, as they are installed."""
    if shutil.which("Rscript") is None or subprocess.run(["Rscript", "-e", "library(arrow)"], check=False).returncode:
        pytest.skip("needs R with the packages arrow and dplyr")
    script = [line for one in datasets(data) for line in (snippets(one, data)["R"], _R.replace("{dataset}", one))]
    (tmp_path / "snippets.R").write_text("\n".join(script))

    read = printed(["Rscript", tmp_path / "snippets.R"], tmp_path)

    assert read == datasets(data)


def datasets(data: Path) -> dict[str, tuple[int, list[str]]]:
    """Rows and columns of each dataset, as pandas reads them by its snippet."""
    found = {}
    for folder in sorted((data / "parquet").glob("*/*")):
        name = f"{folder.parent.name}.{folder.name}"
        there: dict[str, Any] = {}
        exec(snippets(name, data)["pandas"], there)  # noqa: S102 - that it runs is what is promised
        found[name] = (len(there["frame"]), sorted(there["frame"].columns))
    return found


def printed(command: list[object], folder: Path) -> dict[str, tuple[int, list[str]]]:
    """What *command* says of each dataset: its lines that are JSON."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    return {dataset: (rows, columns) for dataset, rows, columns in told}
