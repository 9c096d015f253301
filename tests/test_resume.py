"""A run that ended early is continued: no page that was fetched is asked for again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.config.project import load_project
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
