"""What a strong engineer writes in a day.

Pages are fetched by asyncio, parsed in threads, and streamed to disk by
pyarrow a row group at a time, so memory stays flat. No commit, no spool, no
resume, no error handling beyond the status.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq

from benchmarks.peers.async_pages import PAGES_AHEAD, ROW_GROUP, connect, pages, parse
from benchmarks.peers.columns import COLUMNS
from benchmarks.peers.workload import Job, job, table

if TYPE_CHECKING:
    import aiohttp

threads = ThreadPoolExecutor(2)


class Writer:
    """One Parquet file, a row group at a time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.file: pq.ParquetWriter | None = None
        self.waiting: list[pl.DataFrame] = []
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Keep *frame* until a row group is full."""
        self.waiting.append(frame)
        self.rows += frame.height
        if self.rows >= ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits as one row group."""
        if not self.waiting:
            return
        rows = pl.concat(self.waiting).to_arrow()
        self.waiting, self.rows = [], 0
        if self.file is None:
            self.file = pq.ParquetWriter(self.path, rows.schema, compression="zstd", compression_level=1)
        self.file.write_table(rows)

    def close(self) -> None:
        """Write the rest and the footer."""
        self.flush()
        if self.file is not None:
            self.file.close()


async def main(work: Job) -> None:
    """All tables side by side."""
    async with connect() as session:
        await asyncio.gather(*(pull(session, work, endpoint) for endpoint in work.endpoints))


async def pull(session: aiohttp.ClientSession, work: Job, endpoint: str) -> None:
    """Fetch, parse and write one table; parsing overlaps with the next request."""
    loop, columns = asyncio.get_running_loop(), COLUMNS[table(endpoint)]
    parsing: asyncio.Queue[asyncio.Future[pl.DataFrame] | None] = asyncio.Queue(PAGES_AHEAD)
    writing = asyncio.create_task(drain(parsing, Writer(work.file(endpoint))))
    async for page in pages(session, work.url(endpoint)):
        await parsing.put(loop.run_in_executor(threads, parse, page.data, columns))
    await parsing.put(None)
    await writing


async def drain(parsing: asyncio.Queue[asyncio.Future[pl.DataFrame] | None], writer: Writer) -> None:
    """Hand parsed pages to the *writer* in their order; what costs runs in a thread."""
    loop = asyncio.get_running_loop()
    while (page := await parsing.get()) is not None:
        frame = await page
        if writer.rows + frame.height >= ROW_GROUP:
            await loop.run_in_executor(threads, writer.add, frame)
        else:
            writer.add(frame)
    await loop.run_in_executor(threads, writer.close)


if __name__ == "__main__":
    asyncio.run(main(job()))
