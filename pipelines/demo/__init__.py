"""The bundled APIs: real snapshots behind real HTTP, in the live APIs' own shapes.

`serve()` runs them beside the caller; `python -m pipelines.demo` runs them in a
terminal. Neither needs an account, a key or the internet.
"""

from pipelines.demo.process import serve

__all__ = ["serve"]
