"""Whether a type only says more than it did: what had one keeps it, what had none gets one.

An empty list has no type for its items, a null none for its field.
"""

from __future__ import annotations

import pyarrow as pa


def fills(old: pa.DataType, new: pa.DataType, *, adds: bool = True) -> bool:
    """Whether *new* is *old* with types where there were none; with *adds* objects may have more fields, too."""
    if old == new or pa.types.is_null(old):
        return True
    if pa.types.is_struct(old) and pa.types.is_struct(new):
        types = {field.name: field.type for field in new}
        is_free = adds or len(old) in (0, len(new))
        return is_free and all(one.name in types and fills(one.type, types[one.name], adds=adds) for one in old)
    are_lists = bool(pa.types.is_list(old) and pa.types.is_list(new))
    return are_lists and fills(old.value_type, new.value_type, adds=adds)
