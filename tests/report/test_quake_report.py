"""The demo's page: a map and a table that say the same as the mart, safe whatever an API calls a place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.report.quake_report import page, picture
from tests.report.test_html_report import EVIL, Page
from tests.shop import ROOT


def quake(number: int, **more: Any) -> dict[str, Any]:
    """An event of the mart, a hundred km further east for each *number*."""
    event = {
        "event_id": f"e{number}", "time": pd.Timestamp("2018-02-06T15:50:00Z"), "mag": 6.4, "place": "somewhere",
        "longitude": 121.7 + number, "latitude": 24.1, "depth_km": 10.0, "city": "Xiulin", "country": "Taiwan",
        "km_to_city": 7.0, "people_100km": 1_000_000, "gdp_per_head": 37_337.0, "currency": "JPY",
        "rate_change_pct": -1.6,
    }  # fmt: skip
    return {**event, **more}


def events(*quakes: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(list(quakes)).convert_dtypes(dtype_backend="pyarrow")


def test_the_table_has_what_is_felt_near_people_and_the_map_has_everything() -> None:
    week = events(quake(1), quake(2, mag=1.2), quake(3, mag=None), quake(4, people_100km=0, place="at sea"))

    text = page(week)

    found = Page(text)
    assert found.tags.count("circle") == 4
    assert found.tags.count("tr") == 2
    assert found.loads == []
    assert "4 events, 2 of magnitude 4 and more; 1 of these within 100 km of a city." in "".join(found.text)


def test_a_higher_rate_is_told_as_a_loss_and_an_unknown_one_as_unknown() -> None:
    week = events(
        quake(1),
        quake(2, currency="PHP", rate_change_pct=0.5),
        quake(3, currency="TWD", rate_change_pct=None),
        quake(4, currency="EUR", rate_change_pct=0.0),
    )

    words = "".join(Page(page(week)).text)

    for told in ("JPY gained 1.6\u00a0%", "PHP lost 0.5\u00a0%", "TWD, no rate", "EUR"):
        assert told in words


def test_every_text_of_an_event_is_escaped() -> None:
    text = page(events(quake(1, place=EVIL, city=EVIL, country=EVIL, currency=EVIL)))

    assert "<script" not in text
    assert "".join(Page(text).text).count(EVIL) >= 4


def test_the_picture_is_an_image_of_its_own_that_is_always_the_same() -> None:
    week = events(quake(1), quake(2))

    drawn = picture(week)

    assert drawn == picture(week)
    assert drawn.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert drawn.count("<circle") == 2
    assert "title" not in drawn
    assert len(drawn) < 120_000


def test_without_the_mart_it_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.report.quake_report", "--data", str(tmp_path)]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "run `threadmill run` first" in done.stderr
    assert "Traceback" not in done.stderr
