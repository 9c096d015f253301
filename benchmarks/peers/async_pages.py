"""How both versions of the strong engineer's day fetch and parse.

aiohttp fetches; msgspec reads a page's envelope and leaves the rows raw;
Polars' JSON reader, which holds no GIL, parses them to declared types.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import aiohttp
import msgspec
import polars as pl

from benchmarks.peers.columns import TIME_FORMAT, Columns
from benchmarks.peers.workload import IN_FLIGHT, later_pages

ROW_GROUP = 100_000
PAGES_AHEAD = 8


class Envelope(msgspec.Struct):
    """A page around its records, which stay bytes."""

    data: msgspec.Raw
    next: str | None = None
    total_pages: int = 1


envelope: Callable[[bytes], Envelope] = msgspec.json.Decoder(Envelope).decode


def connect() -> aiohttp.ClientSession:
    """A session with as many connections as the workload allows."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT), read_bufsize=2**20)


async def pages(session: aiohttp.ClientSession, url: str) -> AsyncIterator[Envelope]:
    """The pages from *url* on; all the others at once where their number is known."""
    page = await _fetch(session, url)
    later = [asyncio.create_task(_fetch(session, u)) for u in later_pages(url, {"total_pages": page.total_pages})]
    yield page
    for task in later:
        yield await task
    while page.next:
        page = await _fetch(session, page.next)
        yield page


async def _fetch(session: aiohttp.ClientSession, url: str) -> Envelope:
    async with session.get(url) as response:
        response.raise_for_status()
        return envelope(await response.read())


def parse(data: msgspec.Raw, columns: Columns) -> pl.DataFrame:
    """Rows with their declared types."""
    frame = pl.read_json(bytes(data), schema=columns)
    if "time_hour" not in columns:
        return frame
    return frame.with_columns(pl.col("time_hour").str.to_datetime(TIME_FORMAT, time_zone="UTC"))
