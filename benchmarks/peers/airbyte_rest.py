"""Airbyte's low-code CDK in PyAirbyte, with its defaults, into its DuckDB file and from there to Parquet.

The manifest has to declare types. Reals are declared as texts and cast in the end: the cache keeps a number
in DECIMAL(38, 9), which would round them. Needs the environment of `airbyte.lock`.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import urlopen

import airbyte as ab

from benchmarks.peers.airbyte_faults import Component
from benchmarks.peers.workload import REALS, TEXTS, Job, job, table


def main(work: Job) -> None:
    """Fetch all tables of *work*, then write each to a Parquet file."""
    folder = Path(work.folder)
    source = ab.get_source("source-declarative-manifest", config={}, source_manifest=manifest(work))
    source.select_all_streams()
    cache = ab.caches.DuckDBCache(db_path=folder / "cache.duckdb", cache_dir=folder / "cache")
    source.read(cache=cache)
    for endpoint in work.endpoints:
        casts = ", ".join(f"CAST({name} AS DOUBLE) AS {name}" for name in REALS & names(work, endpoint))
        rows = f'SELECT *{f" REPLACE ({casts})" if casts else ""} FROM main."{table(endpoint)}"'  # noqa: S608  # ours
        cache.execute_sql(f"COPY ({rows}) TO '{work.file(endpoint)}' (FORMAT parquet, COMPRESSION zstd)")


def manifest(work: Job) -> Component:
    """The API as the low-code CDK wants it told."""
    return {
        "version": "6.0.0",
        "type": "DeclarativeSource",
        "check": {"type": "CheckStream", "stream_names": [table(work.endpoints[0])]},
        "streams": [_stream(work, endpoint) for endpoint in work.endpoints],
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {}}},
    }


def names(work: Job, endpoint: str) -> set[str]:
    """The columns of a table, as its first record has them."""
    with urlopen(work.url(endpoint)) as answer:  # noqa: S310  # the address is ours
        return set(json.load(answer)["data"][0])


def _stream(work: Job, endpoint: str) -> Component:
    columns = {
        name: {"type": ["null", "string" if name in TEXTS | REALS else "integer"]} for name in names(work, endpoint)
    }
    requester = {"type": "HttpRequester", "url_base": work.base_url, "path": f"/{endpoint}", "http_method": "GET"}
    following = {
        "type": "DefaultPaginator",
        "page_token_option": {"type": "RequestPath"},
        "pagination_strategy": {"type": "CursorPagination", "cursor_value": "{{ response.get('next') }}"},
    }
    selector = {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}}
    retriever = {"requester": requester, "paginator": following, "record_selector": selector}
    return {
        "type": "DeclarativeStream",
        "name": table(endpoint),
        "primary_key": [],
        "retriever": {"type": "SimpleRetriever", **retriever},
        "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object", "properties": columns}},
    }


if __name__ == "__main__":
    main(job())
