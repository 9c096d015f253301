"""Importing this tells libraries that come later to start no threads: a worker process has one core.

For the fork server, before anything else that it imports. There it runs alone;
in a program with threads, no one may change the environment of the process: a
thread that starts another program or asks the C library for a variable reads
the same list (`EFAULT` of `execve`, or worse).
"""

from __future__ import annotations

import os

os.environ.update(
    POLARS_MAX_THREADS="1",
    OMP_NUM_THREADS="1",
    ARROW_DEFAULT_MEMORY_POOL="system",  # which gives a finished batch's memory back
    # Polars' allocator gives memory back in a thread, and a forked process has none of its threads
    _RJEM_MALLOC_CONF="dirty_decay_ms:0,muzzy_decay_ms:0",
)
