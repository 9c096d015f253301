"""Python's numbers as Arrow's bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_PACKED = {pa.int64(): "q", pa.int32(): "i", pa.int16(): "h", pa.int8(): "b", pa.float64(): "d"}
"""The letters by which `struct` knows types of which it makes Arrow's very bytes."""


def plain_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """`pa.array` of values that msgspec has checked, None for null; numbers without it, in a sixth of its time.

    Raises:
        OverflowError: The type cannot hold a number.
        pyarrow.ArrowException: The type cannot hold a value.
    """
    letter = _PACKED.get(kind)
    if letter is None:
        return pa.array(values, kind)
    try:
        return pa.Array.from_buffers(kind, len(values), [None, _packed(values, letter)])
    except struct.error:
        nulls = [place for place, value in enumerate(values) if value is None]
    filled, valid = list(values), np.ones(len(values), np.bool_)
    valid[nulls] = False
    for place in nulls:
        filled[place] = 0
    try:
        buffers = [pa.py_buffer(np.packbits(valid, bitorder="little")), _packed(filled, letter)]
    except struct.error as error:
        raise OverflowError(str(error)) from error
    return pa.Array.from_buffers(kind, len(values), buffers, len(nulls))


def _packed(values: Sequence[Any], letter: str) -> pa.Buffer:
    return pa.py_buffer(struct.pack(f"{len(values)}{letter}", *values))
