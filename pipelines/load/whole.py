"""Whether the bytes of a stored file are those that were written."""

from __future__ import annotations

from pathlib import Path

import xxhash

from pipelines.load.stores import Stored

_BLOCK = 4 * 2**20


def is_whole(path: Path, file: Stored) -> bool:
    """Whether a file of its own is at *path*, as long as *file* and with its digest."""
    if path.is_symlink() or not path.is_file():
        return False
    return path.stat().st_size == file.size_bytes and file_digest(path) == file.digest


def file_digest(path: Path) -> str:
    """The digest of a file's bytes, as a `Part` has it."""
    found = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
