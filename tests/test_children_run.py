"""Parents and children in whole runs: a watermark each, a lost one among them, and both made anew from kept pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.config.project import load_project
from pipelines.config.source import Source
from pipelines.errors import ConfigError
from pipelines.load.lake import Lake
from pipelines.replay import replay_source
from pipelines.report.result import SourceReport
from pipelines.source_run import Shared, run_source
from pipelines.watermarks import move
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, say

FORGE = """\
base_url: {url}
retry: {{attempts: 2, wait: 10ms}}
resources:
  repos: {{path: /repos, paginate: none, key: id}}
  issues:
    for_each: {{resource: repos}}
    path: /repos/{{repos.id}}/issues
    carry: {{repo: id}}
    paginate: none
    incremental: {{cursor: updated, since_param: since, start: 2024-01-01{per}}}
    key: [repo, id]
    write: {write}
    columns: {{updated: timestamp}}
    errors: [{{status: 404, do: skip}}]
"""


class Forge:
    """Three repositories with issues; `gone` has none any more."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder, self.gone = api, folder, {"c"}
        self.issues: dict[str, list[dict[str, Any]]] = {"a": [issue(1, 3), issue(2, 9)], "b": [issue(1, 2)], "c": []}
        api.answer("/repos", say([{"id": name} for name in "abc"]))
        for name in "abc":
            api.route(f"/repos/{name}/issues", partial(self._answer, name))

    def configure(self, write: str, *, per: str = "") -> None:
        """Write the source file."""
        (self.folder / "config").mkdir(exist_ok=True)
        (self.folder / "config" / "forge.yaml").write_text(FORGE.format(url=self.api.url, write=write, per=per))

    def add(self, name: str, *issues: dict[str, Any]) -> None:
        """A repository joins those that are there."""
        self.issues[name] = list(issues)
        self.api.answer("/repos", say([{"id": one} for one in self.issues]))
        self.api.route(f"/repos/{name}/issues", partial(self._answer, name))

    def run(self, work: Callable[[Source, Shared], SourceReport] = run_source) -> SourceReport:
        """Let *work* be done, by default a run; nothing may go wrong."""
        project = load_project({}, root=self.folder, data=self.folder / "data")
        now = datetime(2024, 6, 1, tzinfo=UTC)
        report = work(project.sources["forge"], Shared("r", now, project.settings, Here()))
        assert [report.problem, *(one.problem for one in report.resources if one.problem)] == [None]
        return report

    def stored(self) -> list[tuple[str, int]]:
        """Repository and id of each row that a plain reader sees."""
        rows = pq.read_table(self.folder / "data" / "parquet" / "forge" / "issues", partitioning=None).to_pylist()
        return sorted((row["repo"], row["id"]) for row in rows)

    def _answer(self, name: str, asked: Asked) -> Answer:
        if name in self.gone:
            return say({"message": "not found"}, 404)
        since = datetime.fromisoformat(asked.params["since"])
        return say([one for one in self.issues[name] if datetime.fromisoformat(one["updated"]) >= since])


def issue(number: int, day: int) -> dict[str, Any]:
    return {"id": number, "updated": f"2024-03-{day:02}T00:00:00Z"}


@pytest.fixture
def forge(api: FakeApi, tmp_path: Path) -> Forge:
    return Forge(api, tmp_path)


@pytest.mark.parametrize("per", [", per: repos", ""], ids=["said", "implied"])
@pytest.mark.parametrize("write", ["append", "upsert"])
def test_each_parent_goes_on_from_its_own_watermark(forge: Forge, write: str, per: str) -> None:
    """`b` gets an issue older than the newest of `a`; `c`, which was not found, is back with one that is older yet."""
    forge.configure(write, per=per)
    forge.run()
    forge.issues["b"].append(issue(2, 5))
    forge.issues["c"].append(issue(1, 1))
    forge.gone.clear()
    before = len(forge.api.asked)

    forge.run()
    third = forge.run()

    asked = {
        one.path: one.params["since"][:10] for one in forge.api.asked[before : before + 4] if "since" in one.params
    }
    assert asked == {
        "/repos/a/issues": "2024-03-09", "/repos/b/issues": "2024-03-02", "/repos/c/issues": "2024-01-01"
    }  # fmt: skip
    assert forge.stored() == [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 1)]
    assert third.changed is False


def test_children_of_children_may_name_every_parent_and_no_other(forge: Forge) -> None:
    forge.configure("upsert")
    source = forge.folder / "config" / "forge.yaml"
    comments = (
        "  comments: {{for_each: {{resource: issues}}, path: '/repos/{{{}.id}}/issues/{{issues.id}}/comments', "
        "write: append, paginate: none, errors: [{{status: 404, do: skip}}]}}\n"
    )
    one_level = source.read_text()

    source.write_text(one_level + comments.format("repos"))
    report = forge.run()
    source.write_text(one_level + comments.format("reports"))

    assert [one.requests for one in report.resources] == [1, 3, 3]
    assert "/repos/a/issues/2/comments" in [asked.path for asked in forge.api.asked]
    with pytest.raises(ConfigError, match=r"no value for the placeholder \{reports.id\}"):
        forge.run()


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_a_new_parent_is_read_from_the_start(forge: Forge, write: str) -> None:
    """`d` joins with issues that are older than every watermark."""
    forge.configure(write)
    forge.run()
    forge.add("d", issue(1, 1), issue(2, 8))

    forge.run()
    third = forge.run()

    assert forge.stored() == [("a", 1), ("a", 2), ("b", 1), ("d", 1), ("d", 2)]
    assert third.changed is False


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_a_watermark_set_by_hand_holds_for_every_parent(forge: Forge, write: str) -> None:
    """All parents are asked from there; `append` takes nothing older."""
    forge.configure(write)
    project = load_project({}, root=forge.folder, data=forge.folder / "data")
    source = project.sources["forge"]
    lake = Lake(forge.folder / "data", "forge")
    move(lake, {"issues": source.resources["issues"]}, "2024-03-03T00:00:00Z", "", run="r", config_hash="")

    forge.run()

    assert {one.params["since"] for one in forge.api.asked if "since" in one.params} == {"2024-03-03T00:00:00Z"}
    assert forge.stored() == [("a", 1), ("a", 2)]


@pytest.mark.parametrize("write", ["append", "upsert"])
def test_children_are_made_anew_from_kept_pages_with_their_parents(forge: Forge, write: str) -> None:
    """Two commits, a child that was skipped, and types that change; the API is not asked."""
    forge.configure(write)
    forge.run()
    forge.issues["b"].append(issue(2, 5))
    forge.run()
    before = len(forge.api.asked)
    source = forge.folder / "config" / "forge.yaml"
    source.write_text(source.read_text().replace("{updated: timestamp}", "{updated: timestamp, id: int32}"))

    report = forge.run(replay_source)

    head = Lake(forge.folder / "data", "forge").head()
    assert len(forge.api.asked) == before
    assert forge.stored() == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert report.commit == 3
    assert head is not None
    assert head.datasets["issues"].columns is not None
    assert "int32" in str(head.datasets["issues"].schema)
    assert set(head.datasets["issues"].state["watermark"]["parents"]) == {"a", "b"}
