"""What the stages hand over: small frozen values, references instead of data.

Everything here pickles into a few hundred bytes, so that a batch can cross a
process or machine boundary while the bytes it stands for stay where they are.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import xxhash
from msgspec import Struct, field

from pipelines.errors import StoreError

Json = Any
"""A value as JSON has it; `Any` because the API decides."""


class Real(float):
    """A number with a point or an exponent, and the text it was written as."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Real:
        """The nearest float, with its text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[Real], tuple[str]]:
        return Real, (self.text,)


Real.__name__ = float.__name__  # JMESPath takes for a number what has the name of one


def as_written(value: Json) -> Json:
    """*value* with the text of each `Real` in it, for where a number is a name: version 1.10 is not 1.1."""
    if isinstance(value, dict):
        return {key: as_written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_written(item) for item in value]
    return value.text if isinstance(value, Real) else value


class PageRef(Struct, frozen=True):
    """Where one fetched page lies: compressed bytes in a spool file.

    `carry` holds the values that every record of the page gets from its parent
    (column, value); `order` sorts the pages of a resource as the API has them.
    """

    spool: str
    offset: int
    size_bytes: int
    raw_bytes: int
    digest: str
    order: tuple[int, ...] = ()
    carry: tuple[tuple[str, Json], ...] = ()
    parent: str = ""
    """Names the parent whose watermark the page belongs to; empty without parents."""
    without: tuple[int, ...] = ()
    """Positions of records that an earlier page has already: they are to be left out."""

    def read(self) -> bytes:
        """The body as it was fetched (after masking).

        Raises:
            StoreError: The spool file is gone, short or damaged.
        """
        try:
            with open(self.spool, "rb") as file:
                packed = os.pread(file.fileno(), self.size_bytes, self.offset)
        except OSError as error:
            raise StoreError(f"cannot read the page spool {self.spool}: {error.strerror}", "run again") from error
        if len(packed) != self.size_bytes:
            raise StoreError(
                f"the page spool {self.spool} is shorter than it was", "run again; the page is fetched anew"
            )
        body = unpack(packed, self.raw_bytes)
        if digest(body) != self.digest:
            raise StoreError(f"the page spool {self.spool} is damaged", "run again to fetch it anew")
        return body


class Batch(Struct, frozen=True):
    """Pages of one resource for one worker: a DataFrame not yet decoded."""

    source: str
    resource: str
    sequence: int
    pages: tuple[PageRef, ...]

    @property
    def raw_bytes(self) -> int:
        """Size of the pages once inflated."""
        return sum(page.raw_bytes for page in self.pages)


class Part(Struct, frozen=True):
    """A finished Parquet file in the store that no commit names yet.

    `path` is relative to the store; `partition` is the directory in the view,
    such as `month=2024-05` (empty without partitions); `stats` maps a column to
    its (min, max) as JSON values; `digest` is the xxh3-128 of the file's bytes.
    """

    dataset: str
    partition: str
    path: str
    rows: int
    size_bytes: int
    digest: str
    sequence: int = 0
    stats: dict[str, tuple[Json, Json]] = field(default_factory=dict)


def digest(data: bytes | memoryview) -> str:
    """The 128-bit xxh3 of *data* in hex: detects damage, not attacks."""
    return xxhash.xxh3_128_hexdigest(data)


@lru_cache(maxsize=1)
def _codec() -> Any:
    # pyarrow costs 0.15 s to import; `--help` and `check` never pack a page
    import pyarrow

    return pyarrow.Codec("lz4_raw")


def pack(body: bytes) -> bytes:
    """Compress *body* for the spool (LZ4: about 1 GB/s, without the GIL)."""
    return bytes(_codec().compress(body, asbytes=True)) if body else b""


def unpack(packed: bytes, raw_bytes: int) -> bytes:
    """The inverse of `pack`; *raw_bytes* is the size of the result."""
    return bytes(_codec().decompress(packed, raw_bytes, asbytes=True)) if raw_bytes else b""
