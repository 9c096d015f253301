"""The same steps by deltalake: `python delta_merge.py STEP FOLDER`, with the rows as Parquet files in FOLDER.

Prints one JSON object: the seconds of the step, the bytes it read where that tells, and sums of the rows
that are there afterwards.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake


def main(step: str, folder: Path) -> None:
    """Measure and print."""
    name = {"fifty": "fifty", "compact": "small"}.get(step, "orders")
    place, size_mb = str(folder / "delta" / name), 0.0
    for number in range(3 if step == "fifty" else 0):
        write(folder / "fifty.parquet", str(folder / "delta" / f"warm-{number}"), ["team"])
    if step == "compact":
        for table in groups(folder / "small.parquet"):
            write_deltalake(place, table, mode="append")
        size_mb = sum(path.stat().st_size for path in Path(place).glob("*.parquet")) / 1e6
    started = time.perf_counter()
    if step == "write":
        write(folder / "base.parquet", place, None)
    elif step == "fifty":
        write(folder / "fifty.parquet", place, ["team"])
    elif step == "compact":
        DeltaTable(place).optimize.compact()
    else:
        changes = pq.read_table(folder / f"{step}.parquet")
        merge = DeltaTable(place).merge(changes, "t.id = s.id", source_alias="s", target_alias="t")
        merge.when_matched_update_all("s.version >= t.version").when_not_matched_insert_all().execute()
    seconds = time.perf_counter() - started
    there = DeltaTable(place)
    told = {"seconds": seconds, "size_mb": size_mb, "files": len(there.file_uris()), "sums": sums(there.file_uris())}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    # a thread of the library that still runs would abort the interpreter at its end
    os._exit(0)


def sums(files: list[str]) -> list[int]:
    """Rows, and sums over all of them; in small pieces, as memory is measured until the end."""
    found = [0, 0, 0]
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=["id", "version"]):
                each = [len(batch), *(pc.sum(batch[name]).as_py() for name in ("id", "version"))]
                found = [known + more for known, more in zip(found, each, strict=True)]
    return found


def write(path: Path, place: str, partition_by: list[str] | None) -> None:
    """Write the rows of a file as a table."""
    batches = (batch for table in groups(path) for batch in table.to_batches())
    write_deltalake(place, pa.RecordBatchReader.from_batches(pq.read_schema(path), batches), partition_by=partition_by)


def groups(path: Path) -> Iterator[pa.Table]:
    """The row groups of a file, one after the other."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
