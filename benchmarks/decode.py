"""What decoding costs: seconds for a million rows of 19 columns, by reader.

Rows are made here in the shape of nycflights13 (integers with nulls, floats,
text, a time), 300 bytes each, in pages of 1,000. Readers take turns, the
best of several rounds counts. `python -m benchmarks.decode [pages] [rounds]`
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable

os.environ["POLARS_MAX_THREADS"] = "1"

import msgspec
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.json

from pipelines.transform.columns import Shape
from pipelines.transform.decode import decode

NUMBERS = (
    *("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "flight"),
    *("air_time", "distance", "hour", "minute"),
)
TEXTS = ("carrier", "tailnum", "origin", "dest", "time_hour")
COLUMNS = {**dict.fromkeys(NUMBERS, "int64"), "arr_delay": "float64", **dict.fromkeys(TEXTS, "string")}
DECLARED = Shape.model_validate({"columns": COLUMNS | {"time_hour": "timestamp"}})
TIMED = Shape.model_validate({"columns": {"time_hour": "timestamp"}})
POLARS = {name: {"int64": pl.Int64, "float64": pl.Float64, "string": pl.String}[kind] for name, kind in COLUMNS.items()}
ARROW = pa.schema(list(COLUMNS.items()))
Reader = Callable[[list[bytes]], int]


def flights(pages: int, *, alike: bool = True) -> list[bytes]:
    """Pages of 1,000 made-up flights; the same ones each time. Unlike ones have their fields in two orders."""
    chance = random.Random(1)  # noqa: S311 - only has to be the same each time
    found = []
    for _ in range(pages):
        rows = [_flight(chance) for _ in range(1_000)]
        rows = rows if alike else [dict(reversed(row.items())) if place % 2 else row for place, row in enumerate(rows)]
        found.append(json.dumps(rows, separators=(",", ":")).encode())
    return found


def _flight(chance: random.Random) -> dict[str, object]:
    flown = chance.random() > 0.025
    row: dict[str, object] = {name: chance.randint(1, 2_359) for name in NUMBERS}
    row |= dict.fromkeys(("dep_time", "dep_delay", "arr_time", "air_time")) if not flown else {}
    row["arr_delay"] = chance.choice([chance.randint(-30, 200), chance.randint(-30, 200) + 0.5]) if flown else None
    row |= {"carrier": "UA", "tailnum": f"N{chance.randint(0, 4_000):05d}", "origin": "EWR", "dest": "IAH"}
    row["time_hour"] = f"2013-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}T05:00:00Z"
    return row


def _polars(pages: list[bytes]) -> int:
    return sum(
        len(pl.read_json(page, schema=POLARS).with_columns(pl.col("time_hour").str.to_datetime("%+", time_zone="UTC")))
        for page in pages
    )


def _pyarrow(pages: list[bytes]) -> int:
    body = b"\n".join(b'{"r":' + page + b"}" for page in pages)
    table = pyarrow.json.read_json(
        pa.py_buffer(body),
        read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(body)),
        parse_options=pyarrow.json.ParseOptions(explicit_schema=pa.schema([("r", pa.list_(pa.struct(list(ARROW))))])),
    )
    rows = pa.concat_arrays(table["r"].chunks).flatten()
    rows.field("time_hour").cast(pa.timestamp("us", "UTC"))
    return len(rows)


def _orjson(pages: list[bytes]) -> int:
    return sum(len(pa.Table.from_pylist(orjson.loads(page), schema=ARROW)) for page in pages)


def _only_msgspec(pages: list[bytes]) -> int:
    words = {"int64": int, "float64": float, "string": str}
    row = msgspec.defstruct("Row", [(name, words[kind] | None) for name, kind in COLUMNS.items()], gc=False)
    decoder = msgspec.json.Decoder(list[row])  # type: ignore[valid-type] # made at run time
    return sum(len(decoder.decode(page)) for page in pages)


def _decode(shape: Shape, *, fast: bool) -> Reader:
    return lambda pages: decode([(page, {}) for page in pages], shape, fast=fast).table.num_rows


READERS: dict[str, Reader] = {
    "decode, declared types": _decode(DECLARED, fast=True),
    "decode, types found": _decode(TIMED, fast=True),
    "decode, fields in any order": _decode(DECLARED, fast=True),
    "decode, exact path": _decode(DECLARED, fast=False),
    "msgspec alone, no columns": _only_msgspec,
    "polars.read_json(schema)": _polars,
    "pyarrow.json(schema)": _pyarrow,
    "orjson + from_pylist": _orjson,
}


def main(pages: int = 50, rounds: int = 5) -> None:
    """Print a line for each reader."""
    pa.set_cpu_count(1)
    data, unlike = flights(pages), flights(pages, alike=False)
    best = dict.fromkeys(READERS, float("inf"))
    for _ in range(rounds):
        for name, read in READERS.items():
            start = time.process_time()
            rows = read(unlike if "any order" in name else data)
            best[name] = min(best[name], (time.process_time() - start) / rows)
    for name, seconds in best.items():
        sys.stdout.write(f"{name:28} {seconds * 1e6:6.2f} s per million rows {1 / seconds:12,.0f} rows/s\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
