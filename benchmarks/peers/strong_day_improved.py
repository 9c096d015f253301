"""The strong engineer's day, made faster: Polars writes too, so pyarrow is never imported.

Its streaming engine pulls parsed pages from a queue and encodes columns side
by side without the GIL. The rest is as in `strong_day`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import TYPE_CHECKING

import polars as pl
from polars.io.plugins import register_io_source

from benchmarks.peers.async_pages import PAGES_AHEAD, ROW_GROUP, connect, pages, parse
from benchmarks.peers.columns import COLUMNS, Columns
from benchmarks.peers.workload import Job, job, table

if TYPE_CHECKING:
    import aiohttp

parsers, writers = ThreadPoolExecutor(2), ThreadPoolExecutor(8)


async def main(work: Job) -> None:
    """All tables side by side."""
    async with connect() as session:
        await asyncio.gather(*(pull(session, work, endpoint) for endpoint in work.endpoints))


async def pull(session: aiohttp.ClientSession, work: Job, endpoint: str) -> None:
    """Fetch, parse and write one table; a few pages wait between the two ends."""
    loop, columns = asyncio.get_running_loop(), COLUMNS[table(endpoint)]
    parsed: Queue[Future[pl.DataFrame] | None] = Queue()
    ahead = asyncio.Semaphore(PAGES_AHEAD)
    writing = loop.run_in_executor(writers, write, parsed, columns, work.file(endpoint))
    async for page in pages(session, work.url(endpoint)):
        await ahead.acquire()
        frame = parsers.submit(parse, page.data, columns)
        frame.add_done_callback(lambda _: loop.call_soon_threadsafe(ahead.release))
        parsed.put(frame)
    parsed.put(None)
    await writing


def write(parsed: Queue[Future[pl.DataFrame] | None], columns: Columns, file: str) -> None:
    """Stream frames from *parsed* into *file* until None comes."""
    times = {"time_hour": pl.Datetime("us", "UTC")} if "time_hour" in columns else {}

    def frames(*_: object) -> Iterator[pl.DataFrame]:
        waiting: list[pl.DataFrame] = []
        while (frame := parsed.get()) is not None:
            waiting.append(frame.result())
            if sum(one.height for one in waiting) >= ROW_GROUP:
                yield pl.concat(waiting)
                waiting = []
        yield from waiting

    rows = register_io_source(frames, schema=pl.Schema({**columns, **times}))
    rows.sink_parquet(file, compression="zstd", compression_level=1)


if __name__ == "__main__":
    asyncio.run(main(job()))
