"""The same upsert by deltalake: `python delta_merge.py FOLDER` with base.parquet and changes-*.parquet in it.

Prints one JSON object: seconds to write the base, to merge each change, to
compact and to read everything; each table is checked by its sums.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake


def main(folder: Path) -> None:
    """Measure and print."""
    place, seconds = str(folder / "delta"), {}
    shutil.rmtree(place, ignore_errors=True)
    started = time.perf_counter()
    write_deltalake(place, pa.RecordBatchReader.from_batches(schema(folder), batches(folder / "base.parquet")))
    seconds["write"] = time.perf_counter() - started
    for path in sorted(folder.glob("changes-*.parquet")):
        started = time.perf_counter()
        changes = pq.read_table(path)
        merge = DeltaTable(place).merge(changes, "t.id = s.id", source_alias="s", target_alias="t")
        merge.when_matched_update_all("s.version >= t.version").when_not_matched_insert_all().execute()
        seconds[path.stem.partition("-")[2]] = time.perf_counter() - started
    seconds["commit-50"] = commit_50(folder)
    table = DeltaTable(place).to_pyarrow_table(columns=["id", "version"])
    sums = [len(table), *(pc.sum(table[name]).as_py() for name in table.column_names)]
    sys.stdout.write(json.dumps({"seconds": seconds, "sums": sums}))


def commit_50(folder: Path) -> float:
    """Seconds to append 50 partitions of one row group each."""
    place, rows = str(folder / "delta-50"), pq.read_table(folder / "fifty.parquet")
    shutil.rmtree(place, ignore_errors=True)
    started = time.perf_counter()
    write_deltalake(place, rows, partition_by=["team"])
    return time.perf_counter() - started


def schema(folder: Path) -> pa.Schema:
    """The columns of the base."""
    return pq.read_schema(folder / "base.parquet")


def batches(path: Path) -> list[pa.RecordBatch]:
    """The rows of a file."""
    return list(pq.read_table(path).to_batches())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
