"""The version of this code, as commits and requests name it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    CODE_VERSION = version("threadmill")
except PackageNotFoundError:  # run from a folder that was never installed
    CODE_VERSION = "unknown"
