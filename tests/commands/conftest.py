"""A project in whose folder commands are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fake_api import FakeApi
from tests.ledger_api import MAY, LedgerApi


@pytest.fixture
def ledger(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LedgerApi:
    """Eight rows, one each day; not read yet."""
    monkeypatch.chdir(tmp_path)
    ledger = LedgerApi(api, tmp_path)
    ledger.rows = list(MAY)
    return ledger
