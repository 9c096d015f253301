"""The most memory that a process has had, as Linux tells it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

LINUX_ONLY = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's peak")


def begin_measuring() -> None:
    """The peak of this process is what it has now."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most memory that this process has had since."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
