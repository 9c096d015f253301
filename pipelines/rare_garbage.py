"""Importing this has the garbage collector look rarely: what imports make stays, and looking costs a tenth of them.

For processes of our own only: programs, and worker processes.
"""

from __future__ import annotations

import gc

gc.set_threshold(50_000)
