"""The servers, each for the whole session. `make test-servers` runs these tests; nothing else collects them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.servers.reader import Reader

collect_ignore_glob = [] if os.environ.get("TEST_SERVERS") else ["test_*.py"]


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A project of one source, to be configured."""
    return Reader(tmp_path)
