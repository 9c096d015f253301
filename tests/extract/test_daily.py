"""The requests of a day: counted for all runs and processes, from midnight to midnight UTC."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.config.project import load_project
from pipelines.errors import RateLimited
from pipelines.extract.daily import Daily, count_file, used_today
from pipelines.report.result import SourceReport
from pipelines.source_run import Shared, run_source
from pipelines.status import requests_today
from tests.engines import Here
from tests.fake_api import FakeApi

ORIGIN = "https://api.example:8443"
SOURCE = """\
base_url: {url}
limits: {{daily: 25, in_flight: 4}}
resources:
  items: {{path: /items, records: data, paginate: next_url, write: replace}}
"""


def at(written: str) -> Callable[[], datetime]:
    return lambda: datetime.fromisoformat(written).replace(tzinfo=UTC)


def test_requests_of_one_day_are_counted_by_weight_and_a_new_day_begins_at_midnight(tmp_path: Path) -> None:
    late = Daily(ORIGIN, 10, tmp_path, at("2024-05-01T23:59:59"))
    late.take(4)
    Daily(ORIGIN, 10, tmp_path, at("2024-05-01T00:00:00")).take(6)

    with pytest.raises(RateLimited, match="all 10 requests of today are used up"):
        late.take(1)
    early = Daily(ORIGIN, 10, tmp_path, at("2024-05-02T00:00:00"))
    early.take(7)

    path = count_file(tmp_path, ORIGIN)
    assert used_today(path, at("2024-05-02T12:00:00")) == 7
    assert used_today(path, at("2024-05-03T00:00:00")) == 0


def test_without_a_folder_the_count_lasts_as_long_as_the_run() -> None:
    daily = Daily(ORIGIN, 2, None, at("2024-05-01T12:00:00"))
    daily.take(1)
    daily.take(1)

    with pytest.raises(RateLimited):
        daily.take(1)


@pytest.mark.parametrize("written", [b"", b"no json" * 20, b'{"day": "2024-'], ids=["empty", "foreign", "torn"])
def test_a_count_that_cannot_be_read_begins_anew(tmp_path: Path, written: bytes) -> None:
    path = count_file(tmp_path, ORIGIN)
    path.write_bytes(written)

    Daily(ORIGIN, 5, tmp_path, at("2024-05-01T12:00:00")).take(3)

    assert used_today(path, at("2024-05-01T12:00:00")) == 3


def test_processes_that_ask_at_once_share_the_count(tmp_path: Path) -> None:
    """Four processes ask for 100 each of 250: 250 are granted."""
    script = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pipelines.errors import RateLimited
from pipelines.extract.daily import Daily
noon = datetime(2024, 5, 1, 12, tzinfo=UTC)
daily, granted = Daily("https://a.example", 250, Path(sys.argv[1]), lambda: noon), 0
for _ in range(100):
    try:
        daily.take(1)
        granted += 1
    except RateLimited:
        pass
print(granted)
"""
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]

    granted = [int(process.communicate(timeout=60)[0]) for process in running]

    assert sum(granted) == 250


def test_a_run_ends_when_the_day_is_used_up_and_goes_on_the_next_day(api: FakeApi, tmp_path: Path) -> None:
    """40 pages, 25 a day: the second run of the day asks nothing, one after midnight the other 15."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SOURCE.format(url=api.url))
    api.pages("/items", records=400, page_size=10)

    def run() -> SourceReport:
        project = load_project({}, root=tmp_path, data=tmp_path / "data")
        return run_source(project.sources["shop"], Shared("r", datetime.now(UTC), project.settings, Here()))

    today = datetime.now(UTC).date()
    first, second = run(), run()
    asked = api.calls["/items"]
    yesterday = count_file(tmp_path / "data" / "limits", api.url)
    yesterday.write_text('{"day": "2024-01-01", "requests": 25}')
    third = run()
    told = requests_today(load_project({}, root=tmp_path, data=tmp_path / "data"))
    if datetime.now(UTC).date() != today:
        pytest.skip("midnight came in between")

    assert [one.resources[0].problem and one.resources[0].problem.kind for one in (first, second, third)] == [
        "RateLimited", "RateLimited", None
    ]  # fmt: skip
    assert (asked, api.calls["/items"]) == (25, 40)
    assert told == ["shop: 15 of 25 requests today (UTC)"]
    assert (third.resources[0].rows_read, third.resources[0].resumed) == (400, 25)
