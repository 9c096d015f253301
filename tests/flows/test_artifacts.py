"""The report of a run as an artifact: what Prefect's pages show of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from flows.artifacts import summary_text
from pipelines.report.result import Problem, ResourceReport, RunReport, SourceReport
from pipelines.report.timeline import Timeline
from tests.runs import answer

if TYPE_CHECKING:
    from pathlib import Path


def test_the_text_holds_verdicts_and_the_timeline_as_a_picture_and_of_a_stopped_run_no_picture(tmp_path: Path) -> None:
    """Drawing takes a second, and Prefect gives a run that is cancelled few of them."""
    timeline = Timeline(began=0.0)
    timeline.listen("shop", answer(1.0, 0.5))
    resource = ResourceReport("shop", "events", verdict="complete", new=1234, evidence="7 of 7 | pages")
    source = SourceReport("shop", 1, True, (resource,))
    machine = {"workers": 2, "cpus": 2, "threads": {"shop": 1}}
    report = RunReport(
        "r1", "2024-01-01T00:00:00Z", 2.0, str(tmp_path), (source,), machine=machine, timeline=timeline.to_json()
    )
    stopped = Problem("Interrupted", "the run was stopped", "run again", 130)
    interrupted = replace(report, run_id="r2", sources=(replace(source, problem=stopped),))
    for one in (report, interrupted):
        one.save(tmp_path / "runs")

    told, told_of_stopped = summary_text(report), summary_text(interrupted)

    assert "| shop.events | complete | 1,234 | 0 | 7 of 7 \\| pages |" in told
    assert "![timeline](data:image/png;base64,iVBOR" in told
    assert "Interrupted" in told_of_stopped
    assert "data:image" not in told_of_stopped


def test_what_an_api_says_is_no_markup(tmp_path: Path) -> None:
    """Neither a picture nor a link nor code, nor an end of the code or the escape that stands around it."""
    said = "HTTP 400: ![x](https://evil.example/x.png) [log in](https://evil.example) \\`<b>\r\n# no"
    problem = Problem("HttpError", said, said, 1)
    resource = ResourceReport("shop", "orders", verdict="failed", evidence=said, problem=problem)
    source = SourceReport("shop", 1, True, (resource,))
    report = RunReport("r1", "2024-01-01T00:00:00Z", 2.0, str(tmp_path), (source,), (said,))

    told = summary_text(report)

    safe = r"HTTP 400: \!\[x\](https://evil.example/x.png) \[log in\](https://evil.example) \\\`&lt;b>  # no"
    assert told.count(safe) == 4


def test_the_text_tells_all_warnings_and_what_was_set_aside(tmp_path: Path) -> None:
    """As the table, the log and the page of the run do."""
    resource = ResourceReport("shop", "orders", verdict="complete", warnings=("shop.orders: size is null",), rejected=7)
    source = SourceReport("shop", 1, True, (resource,), foreign=("notes.txt",), warnings=("shop: not shown",))
    report = RunReport("r1", "2024-01-01T00:00:00Z", 2.0, str(tmp_path), (source,), ("the catalog is old",))

    told = summary_text(report)

    warnings = ("the catalog is old", "shop: not shown", "shop: notes.txt was not ours", "shop.orders: size is null")
    assert [line for line in warnings if f"- warning: {line}" not in told] == []
    assert "- warning: shop.orders: 7 records are set aside in shop.orders__rejects" in told
