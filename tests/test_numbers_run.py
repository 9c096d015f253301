"""What looks like a number in a source file is asked for as it is written there."""

from __future__ import annotations

import json
from pathlib import Path

from pipelines import read
from pipelines.config.project import load_project
from pipelines.run import run
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
    write: replace
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
