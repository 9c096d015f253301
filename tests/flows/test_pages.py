"""What a person sees of a run in Prefect's pages, in a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import PROGRAM, browser
from tests.fake_api import say
from tests.flows.conftest import ShopProject
from tests.flows.heard import artifacts

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_SHOWN = {"sync-shop-progress": "progress", "sync-shop-result": "unproved", "sync-shop-summary": "data/parquet"}
"""What is there once a page has drawn its artifact, and not before, as its description is."""
_WIDTH = "(document.querySelector('img[alt=timeline]') || {}).naturalWidth"
"""Of the run's timeline, 0 where it cannot be shown."""
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("prefect_api"),
    pytest.mark.skipif(PROGRAM is None, reason="needs Chromium: apt install chromium"),
]


def test_the_pages_of_a_run_show_its_name_its_tables_its_timeline_and_what_to_do(
    shop: ShopProject, prefect_api: str, tmp_path: Path
) -> None:
    """One resource of two fails; pictures are kept beside the project."""
    from flows.sync import sync_source

    shop.api.answer("/refunds", say({"error": "no"}, 401))
    state: State[Any] = sync_source.with_options(retries=0)("shop", return_state=True)
    run, site = state.state_details.flow_run_id, prefect_api.removesuffix("/api")

    widths: dict[str, int] = {}

    with browser(tmp_path / "chromium") as tab:
        seen = {"run": tab.open(f"{site}/runs/flow-run/{run}", until="Task runs")}
        (tmp_path / "run.png").write_bytes(tab.picture())
        for key, artifact in artifacts(state).items():
            seen[key] = tab.open(f"{site}/artifacts/artifact/{artifact.id}", until=_SHOWN[key])
            (tmp_path / f"{key}.png").write_bytes(tab.picture())
            widths[key] = tab.value(_WIDTH)
        errors = [one for one in tab.complaints if one.startswith("error: ") and not re.search("[.]ico|/ico/", one)]

    assert "sync shop" in seen["run"]
    assert "Failed" in seen["run"]
    assert all(word in seen["sync-shop-result"] for word in ("verdict", "shop.orders", "unproved", "shop.refunds"))
    assert widths["sync-shop-summary"] > 800
    assert all(word in seen["sync-shop-summary"] for word in ("evidence", "went into", "seconds"))
    assert "hint: " in seen["sync-shop-summary"]
    assert "data/parquet/shop/" in seen["sync-shop-summary"]
    assert errors == []
