"""Airbyte's low-code CDK and PyAirbyte against a fault: `python -m benchmarks.peers.airbyte_faults URL FOLDER FAULT`.

The API is told as a manifest, as `source-declarative-manifest` reads it; the rows go into PyAirbyte's
default cache, a DuckDB file, which also keeps the state. Run by `python -m benchmarks.comparison`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import airbyte as ab

Component = dict[str, Any]

CURSOR = {
    "type": "DefaultPaginator",
    "page_token_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "cursor"},
    "pagination_strategy": {"type": "CursorPagination", "cursor_value": "{{ response.get('next') }}"},
}
OFFSET = {
    "type": "DefaultPaginator",
    "page_token_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "offset"},
    "page_size_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "limit"},
    "pagination_strategy": {"type": "OffsetIncrement", "page_size": 100},
}
NUMBERS = {
    "type": "DefaultPaginator",
    "page_token_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "page"},
    "pagination_strategy": {"type": "PageIncrement", "page_size": 5},
}
PAGINATORS = {"token": CURSOR, "killed": CURSOR, "nulls": CURSOR, "moved": OFFSET, "numbers": NUMBERS}
INCREMENTAL = {
    "type": "DatetimeBasedCursor",
    "cursor_field": "updated_at",
    "datetime_format": "%Y-%m-%dT%H:%M:%SZ",
    "start_datetime": {"type": "MinMaxDatetime", "datetime": "2024-01-01T00:00:00Z"},
    "start_time_option": {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "since"},
}


def main(base_url: str, folder: Path, fault: str) -> None:
    """Read the streams of *fault* into a DuckDB file in *folder*."""
    source = ab.get_source("source-declarative-manifest", config={}, source_manifest=manifest(base_url, fault))
    source.select_all_streams()
    cache = ab.caches.DuckDBCache(db_path=folder / "cache.duckdb", cache_dir=folder / "cache")
    if fault == "empty":
        source.read(cache=cache, write_strategy="replace", force_full_refresh=True)
    else:
        source.read(cache=cache)


def manifest(base_url: str, fault: str) -> Component:
    """The API as the low-code CDK wants it told."""
    rows = stream(base_url, "rows", PAGINATORS.get(fault))
    streams = [rows]
    if fault == "absent":
        streams = [stream(base_url, "gone"), rows]
    if fault == "parents":
        parents = stream(base_url, "parents")
        requester = rows["retriever"]["requester"]
        requester["path"] = "/parents/{{ stream_partition.parent }}/rows"
        parent = {"type": "ParentStreamConfig", "stream": parents, "parent_key": "id", "partition_field": "parent"}
        rows["retriever"]["partition_router"] = {"type": "SubstreamPartitionRouter", "parent_stream_configs": [parent]}
        rows["incremental_sync"] = INCREMENTAL
        streams = [parents, rows]
    if fault == "lag":
        rows["incremental_sync"] = {**INCREMENTAL, "lookback_window": "P2D"}
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": ["rows"]},
        "streams": streams,
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
    }


def stream(base_url: str, name: str, paginator: Component | None = None) -> Component:
    """One stream, its records at `data`, its types declared."""
    retriever: Component = {
        "type": "SimpleRetriever",
        "requester": {"type": "HttpRequester", "url_base": base_url, "path": f"/{name}", "http_method": "GET"},
        "record_selector": {
            "type": "RecordSelector",
            "extractor": {"type": "DpathExtractor", "field_path": ["data"]},
        },
        **({"paginator": paginator} if paginator else {}),
    }
    columns = {
        "id": {"type": ["null", "integer"]},
        "name": {"type": ["null", "string"]},
        "size": {"type": ["null", "integer"]},
        "place": {"type": ["null", "object"]},
        "updated_at": {"type": ["null", "string"], "format": "date-time"},
    }
    schema = {"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": columns}}
    return {
        "type": "DeclarativeStream",
        "name": name,
        "primary_key": ["id"],
        "retriever": retriever,
        "schema_loader": schema,
    }


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
