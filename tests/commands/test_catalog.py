"""`threadmill catalog`: what there is to read, written anew."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from tests.commands.calls import threadmill
from tests.fake_api import FakeApi
from tests.shop import Shop


@pytest.fixture
def ran(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project of two sources after one run, in whose folder commands are called."""
    monkeypatch.chdir(tmp_path)
    shop = Shop(api, tmp_path)
    assert shop.run().code == 0
    return shop


def test_the_command_writes_what_is_gone_and_nothing_where_all_is_there(ran: Shop) -> None:
    """A run has written it already; its example in the help works."""
    told = threadmill("catalog", "--help").stdout
    data = str(ran.folder / "data")
    before = threadmill("catalog", "--data", data, "--json")
    (ran.folder / "data" / "catalog.html").unlink()

    after = threadmill("catalog", "--data", data, "--json")
    plain = threadmill("catalog", "--data", data)

    assert told.partition("Example:")[2].strip() == "threadmill catalog"
    assert (orjson.loads(before.stdout)["changed"], orjson.loads(after.stdout)["changed"]) == (False, True)
    assert plain.stdout.splitlines() == orjson.loads(after.stdout)["files"]
    assert "shop.orders" in (ran.folder / "data" / "catalog.html").read_text(encoding="utf-8")


def test_it_asks_no_api(ran: Shop) -> None:
    before = len(ran.api.asked)

    assert threadmill("catalog").exit_code == 0
    assert len(ran.api.asked) == before
