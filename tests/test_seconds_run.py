"""How long each resource of a whole run took: what it did itself, not what others did meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pipelines.config.project import load_project
from pipelines.replay import replay_source
from pipelines.report.result import SourceReport
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import FakeApi, say

SHOP = """\
base_url: {url}
defaults: {{records: data, paginate: none, key: id, write: upsert}}
resources:
  orders: {{path: /orders}}
  lines:
    for_each: {{resource: orders}}
    path: /orders/{{orders.id}}/lines
  coupons: {{path: /coupons}}
  uses:
    for_each: {{resource: coupons}}
    path: /coupons/{{coupons.id}}/uses
"""


def shared(folder: Path) -> Shared:
    settings = load_project({}, root=folder, data=folder / "data").settings
    return Shared("r", datetime(2024, 6, 1, tzinfo=UTC), settings, Here())


def asked(api: FakeApi, folder: Path, *, orders_s: float) -> SourceReport:
    """A run in which `orders` take *orders_s*, their lines no time, and there is no coupon."""
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "shop.yaml").write_text(SHOP.format(url=api.url))
    api.answer("/orders", say({"data": [{"id": 1, "took_s": orders_s}]}, delay_s=orders_s))
    api.answer("/orders/1/lines", say({"data": [{"id": 7, "took_s": orders_s}]}))
    api.answer("/coupons", say({"data": []}))
    source = load_project({}, root=folder, data=folder / "data").sources["shop"]
    return run_source(source, shared(folder))


def seconds(report: SourceReport) -> dict[str, float]:
    assert [report.problem, *(one.problem for one in report.resources if one.problem)] == [None]
    return {one.resource: one.seconds for one in report.resources}


def test_the_seconds_of_a_resource_are_its_own(api: FakeApi, tmp_path: Path) -> None:
    """Orders take 1.5 s; their lines begin then, coupons are none and over at once, and nobody asks for their uses."""
    asked(api, tmp_path, orders_s=0.0)  # imports what workers need

    took = seconds(asked(api, tmp_path, orders_s=1.5))

    assert took["lines"] < 1.5 <= took["orders"]
    assert took["coupons"] < 1
    assert took["uses"] == 0


def test_the_seconds_of_a_replay_are_those_of_all_its_commits(api: FakeApi, tmp_path: Path) -> None:
    for orders_s in (0.0, 0.01):
        asked(api, tmp_path, orders_s=orders_s)
    source = load_project({}, root=tmp_path, data=tmp_path / "data").sources["shop"]

    took = seconds(replay_source(source, shared(tmp_path)))

    assert all(0 < took[name] < 30 for name in ("orders", "lines"))
