"""`python -m flows` where no run can begin."""

from __future__ import annotations

import pytest

from tests.flows.conftest import ShopProject
from tests.shop import Ended

pytestmark = pytest.mark.timeout(300)


def test_a_wrong_configuration_is_one_error_and_no_time_is_told_of_a_run_that_did_not_begin(
    shop: ShopProject, server: str
) -> None:
    (shop.folder / "config/bank.yaml").write_text(f"base_url: {shop.api.url}\nresources: {{accounts: {{pth: /x}}}}\n")

    ended = Ended.of(shop.start("-m", "flows", PREFECT_API_URL=server))

    assert ended.code == 2, ended
    assert ended.err.count("ConfigError") == 1
    assert "config/bank.yaml:2: resources.accounts.pth: unknown key (did you mean path?)" in ended.err
    last = ended.out.splitlines()[-1]
    assert last.startswith("Prefect (your Prefect server): ")
    assert last.endswith(" s; no run began")
    assert list((shop.folder / "data").rglob("*.parquet")) == []
