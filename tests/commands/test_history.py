"""What past runs did: the list, the explanation, the page."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.project import load_project
from pipelines.report.runs import forget_old, read_run
from pipelines.report.timeline import spans_of
from pipelines.run import run
from tests.commands.calls import answer, threadmill
from tests.fake_api import Answer, Asked, FakeApi, Route, fake_api, say
from tests.shop import Shop


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A project after two runs; the second finds more rows."""
    monkeypatch.chdir(tmp_path)
    shop = Shop(api, tmp_path)
    for day in (1, 2):
        shop.day = day
        assert shop.run().code == 0
    return shop


def test_runs_are_listed_the_newest_first_and_found_by_a_piece_of_their_id(shop: Shop) -> None:
    second, first = answer("runs")

    assert second["run"] > first["run"]
    assert (first["rows_written"], first["exit_code"], first["failed"]) == (26, 0, [])
    assert answer("explain", first["run"][-6:])["run"] == first["run"]
    assert answer("explain")["run"] == second["run"]
    assert threadmill("explain", "nobody").exit_code == 2
    assert len(threadmill("runs", "--most", "1").stdout.splitlines()) == 1


def test_explain_tells_waiting_from_computing_and_its_path_adds_up_to_the_run(shop: Shop) -> None:
    told = answer("explain")

    text = threadmill("explain").stdout
    works = {one["name"]: one for one in told["resources"]}
    assert works.keys() == {"shop.customers", "shop.orders", "shop.events", "bank.accounts"}
    assert all(one["network_s"] > 0 and one["fetch_cpu_s"] > 0 and one["mill_cpu_s"] > 0 for one in works.values())
    assert sum(step["seconds"] for step in told["critical_path"]) == pytest.approx(told["seconds"])
    assert [stage["name"] for stage in told["stages"]] == ["fetch", "mill", "merge", "commit", "marts"]
    assert max(map(len, text.splitlines())) <= 80
    assert "critical path" in text


HELD_UP = """\
base_url: {url}
limits: {limits}
resources:
  rows: {{path: /{name}, records: data, write: replace, paginate: next_url{more}}}
"""
BUSY = """\
import time

def compute(frame):
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    return frame
"""


def test_explain_names_what_held_a_real_run_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that is slow, one that asks for a pause, limits of our own, and a transform that computes."""
    monkeypatch.chdir(tmp_path)
    limits = {"slow": "{}", "pauses": "{}", "limited": "{rate: 2/s, in_flight: 1}", "computes": "{}"}
    (tmp_path / "config").mkdir()
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "busy.py").write_text(BUSY)
    refused: list[str] = []
    with ExitStack() as stack:
        for name, limit in limits.items():
            # one each: requests to one host share its limits, whatever the source
            api = stack.enter_context(fake_api())
            more = ", transform: 'busy:compute'" if name == "computes" else ""
            text = HELD_UP.format(url=api.url, limits=limit, name=name, more=more)
            (tmp_path / "config" / f"{name}.yaml").write_text(text)
            api.pages(f"/{name}", records=80, page_size=10, style="next_url")
            pages = api.routed(f"/{name}")

            def answered(asked: Asked, name: str = name, whole: Route = pages) -> Answer:
                if name == "pauses" and not refused:
                    refused.append(asked.path)
                    return Answer(429, headers={"Retry-After": "3"})
                return Answer(200, whole(asked).body, delay_s=0.4 if name == "slow" else 0.0)

            api.route(f"/{name}", answered)

        done = run(
            load_project({"THREADMILL_TRANSFORMS": str(tmp_path / "functions")}, root=tmp_path, data=tmp_path / "data")
        )

    told = answer("explain")
    assert done.problems == []
    verdicts = {one["name"]: one["verdict"] for one in told["resources"]}
    # a worker computes all the time, but where others are busy too it waits for a processor
    assert verdicts.pop("computes.rows") in {"CPU-bound", "contended"}
    assert verdicts == {"slow.rows": "I/O-bound", "pauses.rows": "throttled", "limited.rows": "limited"}
    stages = {stage["name"]: stage["verdict"] for stage in told["stages"]}
    assert stages["fetch"] in {"I/O-bound", "throttled", "limited"}
    assert stages["marts"] == "idle"


def explained(folder: Path, api: FakeApi, limits: str) -> dict[str, Any]:
    """What `explain` tells of a run of one thread, which asks for `/rows`."""
    (folder / "config").mkdir()
    text = HELD_UP.format(url=api.url, limits=limits, name="rows", more="")
    (folder / "config" / "held.yaml").write_text(text)
    assert run(load_project({}, root=folder, data=folder / "data")).problems == []
    return dict(answer("explain"))


def test_a_pause_after_a_429_counts_once_and_in_its_time(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Told to wait a second, a thread waits a second, and waits for nothing else; the log says so beforehand."""
    monkeypatch.chdir(tmp_path)
    api.answer("/rows", Answer(429, headers={"Retry-After": "1"}), say({"data": [{"id": 1}]}))

    with caplog.at_level(logging.WARNING, "pipelines.run"):
        (work,) = explained(tmp_path, api, "{in_flight: 1}")["resources"]

    assert 0 < work["throttled_s"] <= work["turn_s"] + work["pause_s"] < 1.5
    assert (work["verdict"], work["pauses"], work["requests"]) == ("throttled", 1, 2)
    lanes = [span for span in spans_of(read_run(tmp_path / "data")["timeline"]) if span.lane.startswith("fetch-")]
    assert [span.kind for span in lanes if span.end - span.start > 0.5] == ["paused"]
    assert all(one.end <= other.start + 0.01 for one, other in pairwise(lanes))
    told = [getattr(one, "fields", {}) for one in caplog.records if one.getMessage() == "request throttled"]
    assert [(one["wait_s"], one["times"]) for one in told] == [(1.0, 1)]


def test_a_pause_for_a_quota_that_is_used_up_is_not_laid_to_our_limits(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first page says that no request is left, and that there will be in a second."""
    monkeypatch.chdir(tmp_path)
    first = {"data": [{"id": 1}], "next": f"{api.url}/rows?page=2"}
    quota = {"X-Left": "0", "X-Reset": "1"}
    api.answer("/rows", say(first, headers=quota), say({"data": [{"id": 2}]}))

    told = explained(tmp_path, api, "{in_flight: 1, remaining_header: X-Left, reset_header: X-Reset}")

    (work,) = told["resources"]
    assert (work["verdict"], work["requests"]) == ("throttled", 2)
    assert 0.5 < work["pause_s"] < 1.5
    assert work["turn_s"] < 0.1
    (advice,) = [step["advice"] for step in told["critical_path"] if step["what"] == "fetch"]
    assert "the API held it back" in advice


def test_the_page_of_a_run_is_there_already_and_can_be_written_anew(shop: Shop) -> None:
    run = answer("runs")[0]["run"]
    path = shop.folder / "data" / "runs" / f"{run}.html"
    before = path.read_text()
    path.unlink()

    told = answer("report")

    assert (told["run"], Path(told["path"]).resolve()) == (run, path)
    assert path.read_text() == before


def test_old_pages_go_before_old_reports_and_the_newest_stay(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(1_005):
        (folder / f"20240101T{number:06}-abcdef.json").touch()
        (folder / f"20240101T{number:06}-abcdef.html").touch()

    forget_old(tmp_path)

    pages, reports = (sorted(path.stem for path in folder.glob(f"*.{suffix}")) for suffix in ("html", "json"))
    assert (len(pages), len(reports)) == (100, 1_000)
    assert pages[0] == "20240101T000905-abcdef"
    assert reports[-1] == "20240101T001004-abcdef"


def test_without_a_run_each_says_what_to_do_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    for command in ("explain", "report"):
        told = threadmill(command)

        assert told.exit_code == 2
        assert "run `threadmill run` first" in told.stderr
    assert threadmill("runs").stdout == "no run yet\n"
