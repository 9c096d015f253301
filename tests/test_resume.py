"""A run that ended early is continued: no page that was fetched is asked for again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.config.project import load_project
from pipelines.replay import replay_source
from pipelines.report.result import ResourceReport, SourceReport
from pipelines.source_run import Shared, run_source
from tests.engines import Here
from tests.fake_api import Answer, Asked, FakeApi, say
from tests.processes import eventually
from tests.shop import seen, start

PAGES = 40
SIZE = 3
SETTINGS = 'workers = 1\ngrace = "1s"\n'
LONG = """\
base_url: {url}
limits: {{in_flight: 1}}
retry: {{attempts: 2, wait: 10ms}}
resources:
  items:
    path: /items
    records: data
    paginate: {{next_url: next}}
    incremental: {{cursor: updated, since_param: since, start: 2024-01-01, lag: 1d}}
    key: id
    write: upsert
    columns: {{updated: timestamp}}
  tags:
    path: /tags
    records: data
    paginate: {{next_url: next}}
    write: replace
"""
THINGS = """\
base_url: {url}
limits: {{in_flight: 1}}
resources:
  items:
    for_each: {{values: {{thing: [1, 2, 3, 4, 5]}}}}
    path: /things/{{thing}}
    records: data
    paginate: none
    key: id
"""
FORGE = """\
base_url: {url}
resources:
  repos:
    path: /repos
    records: data
    paginate: {{next_url: next}}
    key: id
    expect: [{{min_rows: {least}}}]
  issues:
    for_each: {{resource: repos}}
    path: /repos/{{repos.id}}/issues
    carry: {{repo: id}}
    records: data
    paginate: none
    key: [repo, id]
"""
Route = Callable[[Asked], Answer]


def pages(api: FakeApi, path: str, *, last: int = PAGES) -> Route:
    """Answers of `SIZE` records each, up to page *last*."""

    def page(asked: Asked) -> Answer:
        number = int(asked.params.get("page", 1))
        rows = [
            {"id": number * SIZE + i, "updated": f"2024-01-{1 + number // 2:02}T00:00:00Z", "page": number}
            for i in range(SIZE)
        ]
        since = f"&since={asked.params['since']}" if "since" in asked.params else ""
        link = f"{api.url}{path}?page={number + 1}{since}"
        return say({"data": rows, "next": link if number < last else None})

    return page


def failing_from(route: Route, number: int, answer: Answer) -> Route:
    """The same pages, but *answer* from page *number* on."""
    return lambda asked: answer if int(asked.params.get("page", 1)) >= number else route(asked)


@pytest.fixture
def project(api: FakeApi, tmp_path: Path) -> Path:
    """Two resources of 40 pages each."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "settings.toml").write_text(SETTINGS)
    (tmp_path / "config" / "long.yaml").write_text(LONG.format(url=api.url))
    for path in ("/items", "/tags"):
        api.route(path, pages(api, path))
    return tmp_path


def run(project: Path) -> tuple[SourceReport, dict[str, ResourceReport]]:
    """One run of the source, its workers' calls made here; its report, and those of its resources."""
    loaded = load_project({}, root=project, data=project / "data")
    report = run_source(loaded.sources["long"], Shared("r", datetime.now(UTC), loaded.settings, Here()))
    return report, {resource.resource: resource for resource in report.resources}


def change(project: Path, old: str, new: str) -> None:
    source = project / "config" / "long.yaml"
    source.write_text(source.read_text().replace(old, new))


def asked_since(api: FakeApi, position: int, path: str, *, until: int | None = None) -> list[int]:
    """Numbers of the pages of *path* asked for after so many requests, in their order."""
    return sorted(int(asked.params.get("page", 1)) for asked in api.asked[position:until] if asked.path == path)


@pytest.mark.parametrize("read", [8, 32])
def test_k02_a_killed_run_asks_only_for_those_of_forty_pages_that_it_lacks(
    api: FakeApi, project: Path, read: int
) -> None:
    """The answer after that never comes; the run is killed, and run again at another pace."""
    api.route("/items", failing_from(pages(api, "/items"), read + 1, say({}, delay_s=60)))
    api.route("/tags", pages(api, "/tags", last=1))
    killed = start(project, "run")
    eventually(lambda: len(asked_since(api, 0, "/items")) == read + 1)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    api.route("/items", pages(api, "/items"))
    change(project, "in_flight: 1", "in_flight: 2")
    before = len(api.asked)

    _, again = run(project)

    assert asked_since(api, before, "/items") == list(range(read + 1, PAGES + 1))
    assert (again["items"].problem, again["items"].requests, again["items"].resumed) == (None, PAGES - read, read)
    assert len(seen(project / "data", "long/items")) == PAGES * SIZE


def test_a_resource_that_failed_beside_a_healthy_one_resumes_its_own_pages_only(api: FakeApi, project: Path) -> None:
    """`items` breaks at page 31 of 40: `tags` is committed; the next run asks for ten pages, then for the lag only."""
    api.route("/items", failing_from(pages(api, "/items"), 31, say({"message": "down"}, status=500)))

    _, first = run(project)
    api.route("/items", pages(api, "/items"))
    before = len(api.asked)
    _, second = run(project)
    before_third = len(api.asked)
    third, _ = run(project)

    assert first["items"].problem is not None
    assert (first["items"].problem.kind, first["tags"].new) == ("HttpError", PAGES * SIZE)
    assert second["items"].problem is None
    assert asked_since(api, before, "/items", until=before_third) == list(range(31, PAGES + 1))
    assert asked_since(api, before, "/tags", until=before_third) == list(range(1, PAGES + 1))
    assert len(seen(project / "data", "long/items")) == PAGES * SIZE
    assert third.changed is False
    assert {asked.params["since"] for asked in api.asked[before_third:] if asked.path == "/items"} == {
        "2024-01-20T00:00:00Z"
    }


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(say({"error": {"code": "QUOTA"}}), id="quota-by-a-rule"),
        pytest.param(say({"message": "sorry"}), id="no-records"),
        pytest.param(Answer(200, b"<html>down</html>"), id="no-json"),
    ],
)
def test_pages_before_an_answer_that_is_an_error_are_kept(api: FakeApi, project: Path, answer: Answer) -> None:
    """Page 31 of 40 is the error; of the quota the second run gets no page either."""
    rule = "    errors: [{status: 200, when: \"error.code == 'QUOTA'\", do: retry}]\n"
    change(project, "    path: /items\n", f"    path: /items\n{rule}")
    api.route("/items", failing_from(pages(api, "/items"), 31, answer))
    failed = [run(project)[1]["items"] for _ in range(2 if b"QUOTA" in answer.body else 1)]
    api.route("/items", pages(api, "/items"))
    before = len(api.asked)

    run(project)

    assert all(one.problem is not None for one in failed)
    assert asked_since(api, before, "/items") == list(range(31, PAGES + 1))
    assert len(seen(project / "data", "long/items")) == PAGES * SIZE


@pytest.mark.parametrize(
    ("status", "starts_again"), [(400, True), (404, True), (410, True), (401, False), (403, False), (429, False)]
)
def test_a_page_that_stays_refused_is_reached_from_the_start(
    api: FakeApi, project: Path, status: int, starts_again: bool
) -> None:
    """The token of page 31 ended between runs: the second gets no page, and the third new tokens."""
    api.route("/items", failing_from(pages(api, "/items"), 31, say({"message": "down"}, status=500)))
    run(project)
    api.route("/items", failing_from(pages(api, "/items"), 31, say({"message": "expired"}, status=status)))
    _, refused = run(project)
    api.route("/items", pages(api, "/items"))
    before = len(api.asked)

    run(project)

    assert refused["items"].problem is not None
    assert ("asked from the start next time" in refused["items"].problem.hint) is starts_again
    assert asked_since(api, before, "/items") == list(range(1 if starts_again else 31, PAGES + 1))
    assert len(seen(project / "data", "long/items")) == PAGES * SIZE


@pytest.mark.parametrize("answer", [say({"message": "no"}, status=400), say({"message": "sorry"})])
def test_pages_of_other_questions_are_kept_where_a_first_page_stays_refused(
    api: FakeApi, project: Path, answer: Answer
) -> None:
    """The third of five questions is refused twice: no token of an earlier page leads there."""
    (project / "config" / "long.yaml").write_text(THINGS.format(url=api.url))
    for number in range(1, 6):
        api.answer(f"/things/{number}", say({"data": [{"id": number}]}))
    good = api.routed("/things/3")
    api.answer("/things/3", answer)
    failed = [run(project)[1]["items"] for _ in range(2)]
    api.route("/things/3", good)
    before = len(api.asked)

    run(project)

    assert all(one.problem is not None for one in failed)
    assert [asked.path for asked in api.asked[before:]] == ["/things/3", "/things/4", "/things/5"]
    assert len(seen(project / "data", "long/items")) == 5


def test_pages_of_children_are_kept_where_a_page_of_their_parent_is_no_good(api: FakeApi, project: Path) -> None:
    """Page 2 of the parent is no JSON, twice: its first page is asked for again, and no page of a child."""
    (project / "config" / "long.yaml").write_text(FORGE.format(url=api.url, least=1))
    api.pages("/repos", records=3, page_size=2)
    for repo in range(3):
        api.answer(f"/repos/{repo}/issues", say({"data": [{"id": 1}, {"id": 2}]}))
    good, spooled = api.routed("/repos"), project / "data" / "spool" / "long" / "issues.pages"

    def broken(asked: Asked) -> Answer:
        eventually(lambda: spooled.exists() and spooled.read_bytes().count(b'{"f":"') == 2)
        return Answer(200, b"<html>down</html>")

    api.route("/repos", lambda asked: broken(asked) if asked.params else good(asked))
    failed = [run(project)[1]["issues"] for _ in range(2)]
    api.route("/repos", good)
    before = len(api.asked)

    run(project)

    assert [one.problem.kind for one in failed if one.problem] == ["DecodeError", "DecodeError"]
    assert sorted(asked.path for asked in api.asked[before:]) == ["/repos", "/repos", "/repos/2/issues"]
    assert len(seen(project / "data", "long/issues")) == 6


@pytest.mark.parametrize("answer", [say({"message": "sorry"}), say({"data": [], "next": "?page=1"})])
def test_pages_of_a_resource_that_failed_are_not_those_of_the_commit(
    api: FakeApi, project: Path, answer: Answer
) -> None:
    """`tags` is committed beside it, and made anew from its pages."""
    api.route("/items", failing_from(pages(api, "/items"), 31, answer))
    report, failed = run(project)
    loaded = load_project({}, root=project, data=project / "data")

    replayed = replay_source(loaded.sources["long"], Shared("r2", datetime.now(UTC), loaded.settings, Here()))

    kept = project / "data" / "spool" / "long" / "kept" / "000000000001"
    assert (report.commit, failed["items"].problem is None) == (1, False)
    assert sorted(path.name for path in kept.iterdir()) == ["plan.json", "tags.pages"]
    assert [replayed.problem, *(one.problem for one in replayed.resources)] == [None, None]
    assert len(seen(project / "data", "long/tags")) == PAGES * SIZE


def test_children_are_made_anew_from_pages_of_a_parent_that_failed_once_they_were_read(
    api: FakeApi, project: Path
) -> None:
    """Three repos are too few, and no row of theirs is committed, by a replay neither."""
    (project / "config" / "long.yaml").write_text(FORGE.format(url=api.url, least=100))
    api.pages("/repos", records=3, page_size=2)
    for repo in range(3):
        api.answer(f"/repos/{repo}/issues", say({"data": [{"id": 1}, {"id": 2}]}))
    report, failed = run(project)
    asked = len(api.asked)
    loaded = load_project({}, root=project, data=project / "data")

    replayed = replay_source(loaded.sources["long"], Shared("r2", datetime.now(UTC), loaded.settings, Here()))

    assert failed["repos"].problem is not None
    assert (report.commit, failed["repos"].problem.kind) == (1, "ExpectationFailed")
    assert [(one.resource, one.problem) for one in replayed.resources] == [("issues", None)]
    assert (replayed.problem, len(api.asked)) == (None, asked)
    assert len(seen(project / "data", "long/issues")) == 6
    assert not (project / "data" / "spool" / "long" / "repos.pages").exists()


def test_pages_that_could_not_be_kept_with_their_plan_are_removed(project: Path) -> None:
    """A folder is in the way of the plan, so that writing it fails as on a full disk; the rows are committed."""
    kept = project / "data" / "spool" / "long" / "kept"
    (kept / "000000000001" / "plan.json.new").mkdir(parents=True)

    report, _ = run(project)

    assert (report.commit, report.problem) == (1, None)
    assert len(seen(project / "data", "long/tags")) == PAGES * SIZE
    assert not kept.exists()


def test_pages_fetched_for_another_configuration_are_dropped(api: FakeApi, project: Path) -> None:
    """39 of 40 pages were there; with another key all 40 are asked for again."""
    api.route("/items", failing_from(pages(api, "/items"), PAGES, say({"message": "down"}, status=400)))
    run(project)
    api.route("/items", pages(api, "/items"))
    change(project, "write: replace", "write: replace\n    key: id")
    before = len(api.asked)

    _, again = run(project)

    assert (again["items"].problem, again["items"].resumed) == (None, 0)
    assert asked_since(api, before, "/items") == list(range(1, PAGES + 1))
    assert len(seen(project / "data", "long/items")) == PAGES * SIZE
