"""What the page of a run shows of records that were set aside: those of this run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from pipelines.config.project import load_project
from pipelines.report.result import RunReport, SourceReport
from pipelines.report.runs import read_run
from pipelines.report.samples import set_aside
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import FakeApi, say

SHOP = """\
base_url: {url}
resources:
  stock:
    path: /stock
    paginate: none
    write: append
    columns: {{n: int64}}
    on_mismatch: quarantine
    expect: [{{unique: n}}]
"""


def test_a_resource_that_failed_set_nothing_aside(api: FakeApi, tmp_path: Path) -> None:
    """The second run meets another record that does not fit, and a row that is stored: nothing of it is written."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SHOP.format(url=api.url))
    project = load_project({}, root=tmp_path, data=tmp_path / "data")

    def run(*values: object) -> SourceReport:
        api.answer("/stock", say([{"n": value} for value in values]))
        now = datetime(2024, 6, 1, tzinfo=UTC)
        report = run_source(project.sources["shop"], Shared("r", now, project.settings, Here()))
        RunReport("r", str(now), 1.0, str(project.settings.data), (report,)).save(project.settings.data / "runs")
        return report

    first = run(1, "many")
    told = set_aside(read_run(project.settings.data), project.settings.data)
    second = run(1, "some")
    (failed,) = second.resources
    old = replace(second, resources=(replace(failed, rejected=1),))
    RunReport("r", "", 1.0, "", (old,)).save(project.settings.data / "runs")

    assert [one.rejected for one in first.resources] == [1]
    assert [one.resource for one in told] == ["shop.stock"]
    assert failed.problem is not None
    assert (failed.problem.kind, failed.rejected, second.commit) == ("ExpectationFailed", 0, first.commit)
    assert set_aside(read_run(project.settings.data), project.settings.data) == []
