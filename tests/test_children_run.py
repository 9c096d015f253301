"""Parents and children in whole runs: a watermark each, a lost one among them, and both made anew from kept pages."""

from __future__ import annotations

from collections import Counter
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
from pipelines.report.result import ResourceReport, SourceReport
from pipelines.report.spans import Span
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
        "key: id, write: upsert, paginate: none, errors: [{{status: 404, do: skip}}]}}\n"
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


@pytest.mark.parametrize("later", [[], ["e"]], ids=["next-run", "a-run-later"])
@pytest.mark.parametrize("write", ["append", "upsert"])
def test_a_new_parent_that_a_backfill_read_first_is_not_stored_twice(
    forge: Forge, write: str, later: list[str]
) -> None:
    """`d` has rows by a backfill, which leaves it without a watermark; one run may not find it; the next does."""
    forge.configure(write)
    forge.run()
    forge.add("d", issue(1, 1), issue(2, 8))
    forge.run(partial(run_source, span=Span("2024-03-01", "2024-03-09")))
    for name in later:
        forge.gone.add("d")
        forge.add(name, issue(1, 4))
        forge.run()
    forge.gone.discard("d")

    forge.run()

    stored = [("a", 1), ("a", 2), ("b", 1), ("d", 1), ("d", 2), *((name, 1) for name in later)]
    assert forge.stored() == stored


def test_stored_rows_are_not_all_read_again_once_every_parent_of_a_backfill_has_a_watermark(
    forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`e` joins with an old row; four stored rows lie where a watermark begins, and five before any."""
    forge.configure("append")
    forge.run()
    forge.add("d", *(issue(number, 1) for number in range(5)), issue(5, 8))
    forge.run(partial(run_source, span=Span("2024-03-01", "2024-03-09")))
    forge.run()
    forge.add("e", issue(1, 1))
    monkeypatch.setattr("pipelines.load.boundary.MAX_ROWS", 4)

    forge.run()

    assert forge.stored() == [("a", 1), ("a", 2), ("b", 1), *(("d", number) for number in range(6)), ("e", 1)]


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


COUNTED = """\
base_url: {url}
resources:
  repos: {{path: /repos, records: data, paginate: {{page_number: {{total: total}}}}, key: id, write: replace}}
  issues:
    for_each: {{resource: repos}}
    path: /repos/{{repos.id}}/issues
    carry: {{repo: id}}
    paginate: none
    key: [repo, id]
    write: {write}
  comments:
    for_each: {{resource: issues}}
    path: /repos/{{repos.id}}/issues/{{issues.id}}/comments
    carry: {{repo: repo, issue: id}}
    paginate: none
    key: [repo, issue, id]
    write: {write}
"""


class Counted:
    """Three repositories with two issues each and a comment on every issue, whatever number of them is told."""

    def __init__(self, api: FakeApi, folder: Path) -> None:
        self.api, self.folder, self.issues = api, folder, 2
        (folder / "config").mkdir()
        self.tell("abc", 3)
        api.route_all(self._answer)

    def configure(self, write: str) -> None:
        """Write the source file."""
        text = COUNTED.format(url=self.api.url, write=write)
        (self.folder / "config" / "forge.yaml").write_text(text)

    def tell(self, names: str, total: int | None) -> None:
        """From now on the API gives the repositories *names*, and says that there are *total*."""
        rows = [{"id": name} for name in names]
        told = {} if total is None else {"total": total}
        self.api.route("/repos", lambda asked: say({"data": rows if asked.params["page"] == "1" else [], **told}))

    def run(self) -> dict[str, ResourceReport]:
        """One run; what became of each resource."""
        project = load_project({}, root=self.folder, data=self.folder / "data")
        report = run_source(project.sources["forge"], Shared("r", datetime.now(UTC), project.settings, Here()))
        return {one.resource: one for one in report.resources}

    def stored(self, name: str) -> Counter[str]:
        """How many rows of the dataset *name* each repository has."""
        folder = self.folder / "data" / "parquet" / "forge" / name
        return Counter(pq.read_table(folder, partitioning=None)["repo"].to_pylist())

    def _answer(self, asked: Asked) -> Answer:
        return say([{"id": number} for number in range(self.issues if asked.path.endswith("issues") else 1)])


@pytest.fixture
def counted(api: FakeApi, tmp_path: Path) -> Counted:
    return Counted(api, tmp_path)


@pytest.mark.parametrize("more", [0, 5], ids=["fewer-issues", "more-issues"])
def test_children_of_a_parent_that_is_missing_are_not_replaced(counted: Counted, more: int) -> None:
    """3 repositories are told and 2 given, with fewer issues in all than before, or with more: those of `c` stay."""
    counted.configure("replace")
    counted.run()
    counted.tell("ab", 3)
    counted.issues += more

    again = counted.run()

    problems = {name: one.problem and one.problem.kind for name, one in again.items()}
    assert problems == dict.fromkeys(("repos", "issues", "comments"), "ExpectationFailed")
    assert "its parent repos is incomplete: 2 of 3 records" in again["issues"].evidence
    assert "its parent issues is incomplete: its parent repos is incomplete" in again["comments"].evidence
    assert counted.stored("issues") == {"a": 2, "b": 2, "c": 2}
    assert counted.stored("comments") == {"a": 2, "b": 2, "c": 2}


def test_children_of_a_parent_that_is_missing_are_not_gone(counted: Counted) -> None:
    """They are upserted, and `deletes: {missing: true}` takes none away until the parents are whole again."""
    counted.configure("upsert\n    deletes: {missing: true}")
    counted.run()
    counted.tell("ab", 3)
    counted.issues += 1

    short = counted.run()
    kept = counted.stored("issues"), counted.stored("comments")
    counted.tell("ab", 2)
    whole = counted.run()

    assert [short[name].verdict for name in ("issues", "comments")] == ["incomplete", "incomplete"]
    assert kept == ({"a": 3, "b": 3, "c": 2}, {"a": 3, "b": 3, "c": 2})
    assert [one.verdict for one in whole.values()] == ["complete"] * 3
    assert counted.stored("issues") == counted.stored("comments") == {"a": 3, "b": 3}


@pytest.mark.parametrize("write", ["replace", "upsert\n    deletes: {missing: true}"], ids=["replace", "upsert"])
def test_a_total_that_is_wrong_every_time_keeps_no_child_from_being_read(counted: Counted, write: str) -> None:
    """4 are told and 3 given in every run: `incomplete`, and the new issues are there."""
    counted.configure(write)
    counted.tell("abc", 4)
    counted.run()
    counted.issues += 1

    again = counted.run()

    assert {name: one.verdict for name, one in again.items()} == dict.fromkeys(again, "incomplete")
    assert counted.stored("issues") == {"a": 3, "b": 3, "c": 3}


def test_children_are_no_better_proved_than_their_parents(counted: Counted) -> None:
    """Without a total nobody knows whether a repository is missing, whatever is declared of its issues."""
    counted.configure("upsert")
    counted.tell("abc", None)

    report = counted.run()

    assert {name: one.verdict for name, one in report.items()} == dict.fromkeys(report, "unproved")
    assert report["issues"].evidence.startswith("its parent repos is unproved: paging ended")
