"""Python's numbers as Arrow's bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

_PACKED = {pa.int64(): "q", pa.int32(): "i", pa.int16(): "h", pa.int8(): "b", pa.float64(): "d"}
"""The letters by which `struct` knows types of which it makes Arrow's very bytes."""


def plain_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """`pa.array` of values that msgspec has checked, None for null; numbers without a null in a third of its time.

    Raises:
        OverflowError: The type cannot hold a number.
        pyarrow.ArrowException: The type cannot hold a value.
    """
    letter = _PACKED.get(kind)
    if letter is not None:
        with suppress(struct.error):  # a null, or a number that is too large: the first ends it
            packed = pa.py_buffer(struct.pack(f"{len(values)}{letter}", *values))
            return pa.Array.from_buffers(kind, len(values), [None, packed])
    return pa.array(values, kind)
