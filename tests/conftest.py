"""What tests of all stages use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fake_api import FakeApi, fake_api
from tests.ledger_api import LedgerApi

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


@pytest.fixture
def ledger(api: FakeApi, tmp_path: Path) -> LedgerApi:
    """A project whose one source is a ledger behind the fake API."""
    return LedgerApi(api, tmp_path)
