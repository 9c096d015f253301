"""What looks like a number in a source file is asked for as it is written there, and is a number otherwise."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines import read
from pipelines.config.project import load_project
from pipelines.load.lake import Lake
from pipelines.run import run
from pipelines.watermarks import chosen, watermarks
from tests.fake_api import Answer, Asked, FakeApi, say

SOURCE = """\
base_url: {url}
params: {{version: 1.10, phone: +34600000000}}
resources:
  rows:
    path: /rows/{{at}}
    for_each: {{values: {{at: [1.9, 1.10, 12345e7]}}}}
    carry: {{at: at}}
    params: {{share: 0.5, least: [1.0, 2.50]}}
    body: {{least: 0.50, most: 1e3, at: "{{at}}"}}
    columns: {{at: string}}
    write: replace
"""
WEATHER = """\
base_url: {url}
resources:
  days:
    path: /days
    for_each: [{{place: Madrid, lat: 40.40, lon: -3.70}}, {{place: Rome, lat: 41.9, lon: 12.5}}]
    carry: {{lat: lat, lon: lon}}
    params: {{lat: "{{lat}}", lon: "{{lon}}"}}
    incremental: {{cursor: day, start: 2024-01-01}}
    columns: {{lon: string, day: date}}
    write: append
"""


def test_a_number_of_a_file_is_asked_for_as_it_is_written(api: FakeApi, tmp_path: Path) -> None:
    """Version 1.10 is not 1.1, and a phone has its +; in a JSON body a number stays one."""

    def rows(asked: Asked) -> Answer:
        return say([{"id": 1}])

    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SOURCE.format(url=api.url))
    for at in ("1.9", "1.10", "12345e7"):
        api.route(f"/rows/{at}", rows)

    report = run(load_project({}, root=tmp_path, data=tmp_path / "data"))

    asked = sorted(api.asked, key=lambda one: one.path)
    assert report.problems == []
    assert [one.path for one in asked] == ["/rows/1.10", "/rows/1.9", "/rows/12345e7"]
    params = {"version": "1.10", "phone": "+34600000000", "share": "0.5", "least": "2.50"}
    assert [one.params for one in asked] == [params] * 3
    assert [json.loads(one.body) for one in asked] == [
        {"least": 0.5, "most": 1000.0, "at": at} for at in (1.1, 1.9, 12345e7)
    ]
    assert sorted(read("shop.rows", data=tmp_path / "data")["at"]) == ["1.10", "1.9", "12345e7"]


def test_a_number_that_is_listed_is_carried_as_a_number_and_its_watermark_is_that_of_the_number(
    api: FakeApi, tmp_path: Path
) -> None:
    """40.40 and -3.70 are asked for as they are written; a column that is declared as text has them so, too."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "weather.yaml").write_text(WEATHER.format(url=api.url))
    api.answer("/days", say([{"day": "2024-05-01"}]))
    project = load_project({}, root=tmp_path, data=tmp_path / "data")

    report = run(project)

    source = project.sources["weather"]
    (known,) = watermarks(Lake(tmp_path / "data", "weather"), chosen(source, "days"))
    stored = read("weather.days", data=tmp_path / "data").sort_values("lat")
    assert report.problems == []
    assert sorted(one.params["lat"] for one in api.asked) == ["40.40", "41.9"]
    assert sorted(known["parents"]) == ["40.4/-3.7", "41.9/12.5"]
    assert (stored["lat"].tolist(), stored["lon"].tolist()) == ([40.4, 41.9], ["-3.70", "12.5"])
