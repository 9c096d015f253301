"""What tests of all stages use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_api import FakeApi, fake_api

# a busy machine makes no example wrong; the parent is the same whether or not the environment names a CI
settings.register_profile(
    "threadmill",
    settings.get_profile("default"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("threadmill")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    """An API on 127.0.0.1 that answers as the test says."""
    with fake_api() as running:
        yield running
