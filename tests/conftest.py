"""What tests of all stages use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fake_api import FakeApi, fake_api


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """An API on 127.0.0.1 that answers as the test says."""
    with fake_api() as running:
        yield running
