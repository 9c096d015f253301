"""What runs on a worker of a cluster: one call, and a look at whether the worker fits.

A worker is asked by the name of a function here, so it must have the same code,
and it reads and writes the data folder itself, so it must see it. Neither is
taken on trust.
"""

from __future__ import annotations

import os
import pickle
import platform
import socket
import sys
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xxhash
from msgspec import Struct

from pipelines.errors import ConfigError, PipelineError, TransformError, WorkerDied
from pipelines.load.disk import DISK

PACKAGE = Path(__file__).parent.parent
TRANSFORMS = PACKAGE / "transforms"
_LIBRARIES = ("numpy", "pandas", "polars", "pyarrow")


class Answer(Struct, frozen=True):
    """What came of a call: its value, or the error that it ended with (*done* is False); and where it ran."""

    done: bool
    value: Any
    where: tuple[str, int, int]


class Look(Struct, frozen=True):
    """What a worker says of itself. `said` is what it read in the shared folder; its mark there is `mark`."""

    host: str
    pid: int
    versions: dict[str, str]
    code: str
    transforms: str
    said: str
    mark: str


def fingerprint(folder: Path, *, without: Path | None = None) -> str:
    """The digest of the Python and SQL below *folder*: the same code, the same digest."""
    hashed = xxhash.xxh3_128()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".sql")):
        if without is None or without not in path.parents:
            hashed.update(f"{path.relative_to(folder)}\0".encode())
            hashed.update(path.read_bytes())
    return hashed.hexdigest()


LOADED = fingerprint(PACKAGE, without=TRANSFORMS)
"""The code that this process has, as of when it began; transforms are read anew for each run."""


def compute(code: str, shared: Path, call: bytes) -> Answer:
    """The pickled *call*, a function and its arguments; what it wrote is on the disk before anyone is told of it.

    An error comes back as a value: clusters repeat calls that raise, and only our errors surely pickle.
    """
    where = (socket.gethostname(), os.getpid(), threading.get_ident())
    if code != LOADED:
        return Answer(False, _other_code(where[0], where[1]), where)
    name = "a call"
    try:
        function, args = pickle.loads(call)  # noqa: S301  # from the run that this worker computes for
        name = getattr(function, "__name__", name)
        value = function(*args)
        DISK.sync_all(shared)
    except PipelineError as error:
        return Answer(False, error, where)
    except MemoryError:
        hint = "lower THREADMILL_BATCH_SIZE, or give the workers of the cluster more memory"
        return Answer(False, WorkerDied(f"{where[0]}: no memory left in {name}", hint), where)
    except Exception as error:  # noqa: BLE001  # whatever it is must reach the parent
        told = f"{name}: {type(error).__name__}: {error}"
        return Answer(False, TransformError(told, "this is a defect"), where)
    return Answer(True, value, where)


def look(shared: Path, token: str, transforms: Path | None) -> Look:
    """What this worker has and sees; leaves its mark in *shared*, and forgets the transforms of earlier runs."""
    for name in [name for name in sys.modules if name.startswith(("pipelines.transforms.", "threadmill_transforms."))]:
        del sys.modules[name]
    said, mark = "", shared / f"{token}-{socket.gethostname()}-{os.getpid()}"
    try:
        said = (shared / token).read_text(encoding="utf-8")
        mark.write_text(said, encoding="utf-8")
        DISK.sync_all(shared)
    except OSError as error:
        said = f"{error.strerror or error}"
    found = fingerprint(transforms or TRANSFORMS)
    return Look(socket.gethostname(), os.getpid(), versions(), LOADED, found, said, str(mark))


@cache
def versions() -> dict[str, str]:
    """Python and the libraries whose versions decide how rows are read and written."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **{name: version(name) for name in _LIBRARIES}}


def _other_code(host: str, pid: int) -> ConfigError:
    return ConfigError(
        f"the worker {host}, process {pid}, has other code of threadmill than this run",
        "install the same version there and restart the workers of the cluster",
    )
