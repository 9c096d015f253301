"""A target of the Meltano Singer SDK that writes Parquet. The SDK looks for its package: it cannot run by `-m`.

PyPI has no target of that SDK for Parquet files; this is the SDK's batch sink with pyarrow in it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from singer_sdk import Target
from singer_sdk import typing as th
from singer_sdk.sinks import BatchSink

KINDS = {"string": pa.string(), "number": pa.float64(), "integer": pa.int64()}


class ParquetSink(BatchSink):  # type: ignore[misc]  # the SDK is not in this environment
    """Each batch is a file."""

    max_size = 10_000
    files = 0

    def process_batch(self, context: Mapping[str, Any]) -> None:
        """Write the records of the batch."""
        properties = self.schema["properties"]
        schema = pa.schema([(name, KINDS[told["type"][-1]]) for name, told in properties.items()])
        rows = pa.Table.from_pylist([_plain(record) for record in context["records"]], schema=schema)
        self.files += 1
        pq.write_table(rows, f"{self.config['folder']}/{self.stream_name}-{self.files:04}.parquet", compression="zstd")


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """The SDK reads numbers as decimals, of which pyarrow makes no floats."""
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in record.items()}


class ParquetTarget(Target):  # type: ignore[misc]  # as above
    """One folder for all streams."""

    name = "target-parquet"
    config_jsonschema = th.PropertiesList(th.Property("folder", th.StringType, required=True)).to_dict()
    default_sink_class = ParquetSink


def main() -> None:
    """Write what comes on standard input into the folder that is the first argument."""
    ParquetTarget(config={"folder": sys.argv[1]}).listen(sys.stdin)
