"""The life of a worker process: it answers calls until its parent is gone."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from typing import Any

from pipelines.errors import PipelineError, TransformError

_BEHIND_THREADS = 5
"""How much workers stand back (nice) for the threads that fetch: these compute little, and pages wait for them."""


def serve(pipe: connection.Connection) -> None:
    """Answer the calls that come through *pipe*."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _print_aside()
    os.nice(_BEHIND_THREADS)
    gc.set_threshold(50_000)  # decoding makes and drops many tuples that are in no cycle
    gc.freeze()  # what was imported stays shared with the fork server, and is never looked through again
    threading.Thread(target=_leash, daemon=True).start()
    while True:
        try:
            call = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send(_answer(call))


def name_of(function: Any) -> str:
    """What *function* is called, or the one that it is a part of."""
    return str(getattr(getattr(function, "func", function), "__name__", "a call"))


def _answer(call: bytes) -> tuple[bool, Any]:
    name = "a call"
    try:
        function, args = ForkingPickler.loads(call)
        name = name_of(function)
        return True, function(*args)
    except PipelineError as error:
        return False, error
    except MemoryError:
        os._exit(137)
    except Exception as error:  # noqa: BLE001  # whatever it is must reach the parent, and only our errors surely pickle
        return False, TransformError(f"{name}: {type(error).__name__}: {error}", "this is a defect")


def _print_aside() -> None:
    """Let what functions and libraries print go to standard error: a command may write JSON to standard output."""
    sys.stdout = sys.stderr
    with suppress(OSError):  # there is no standard error
        os.dup2(2, 1)


def _leash() -> None:
    """Parent gone, worker gone: even in the middle of a computation."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
    os._exit(1)
