"""Importing this module keeps pyarrow from importing pandas by itself.

pyarrow imports pandas when it makes its first array, to be ready for frames:
0.4 s and 40 MB in every worker, also where no transform wants a frame. If it
finds none at that moment, it looks again when a frame is really asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec

import pyarrow as pa

from pipelines.later import Later


class _NoPandas:
    """Says for a moment that there is no pandas."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """What the import system asks for each module."""
        if name == "pandas":
            raise ModuleNotFoundError(name)
        return None


if "pandas" not in sys.modules:
    sys.meta_path.insert(0, _NoPandas)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)


_COMPUTE = "pyarrow.compute"


def put_off_compute() -> None:
    """Let `import pyarrow.compute` cost nothing until it computes: it makes 300 functions, a run's parent calls none.

    For a program's first act; worker processes do compute, and import it once for all of them.
    """
    sys.modules.setdefault(_COMPUTE, Later(_COMPUTE))
