"""What a run leaves in Prefect: its result as a table, and its report as text with a picture.

Both hold what the report holds: names, counts and our own error texts. The picture
stands in the text itself, so that it is seen wherever Prefect's pages are.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from pipelines.charts.still import png
from pipelines.errors import EXIT_INTERRUPTED, PipelineError
from pipelines.report.charts import timeline
from pipelines.report.critical_path import critical_path, verdict
from pipelines.report.result import Problem, RunReport
from pipelines.report.runs import Document, read_run
from pipelines.report.timeline import spans_of

_WORTH_TELLING_S = 0.1
_MOST_STEPS = 20
_SAFE = str.maketrans({"<": "&lt;", "\r": " ", "\n": " ", **{sign: f"\\{sign}" for sign in "\\`[]!|"}})


def publish(report: RunReport, *, key: str) -> None:
    """Keep *report* as the artifacts `<key>-result` and `<key>-summary` of this flow run: two calls."""
    create_table_artifact(key=f"{key}-result", table=result_table(report), description=summary(report))
    create_markdown_artifact(key=f"{key}-summary", markdown=summary_text(report), description=summary(report))


def result_table(report: RunReport) -> list[dict[str, str | int | float]]:
    """One row for each resource and mart, in the order of the report."""
    return [
        {
            "resource": resource.name,
            "verdict": resource.verdict,
            "requests": resource.requests,
            "read": resource.rows_read,
            "new": resource.new,
            "updated": resource.updated,
            "s": round(resource.seconds, 1),
            "evidence": resource.evidence,
        }
        for resource in report.resources
    ]


def summary(report: RunReport) -> str:
    """The run in one sentence, the resources that need a person named."""
    resources = list(report.resources)
    failed = [name for name, _ in report.problems]
    incomplete = [resource.name for resource in resources if resource.verdict == "incomplete"]
    told = [f"{report.rows:,} rows written" if report.changed else "nothing new", f"{report.seconds:.1f} s"]
    told += [f"failed: {', '.join(failed)}"] if failed else []
    told += [f"incomplete: {', '.join(incomplete)}"] if incomplete else []
    return "; ".join(told)


def told(report: RunReport) -> str:
    """The summary, and a line for each problem."""
    problems = [f"{name}: {problem.kind}: {_message(name, problem)}" for name, problem in report.problems]
    return "\n".join([summary(report), *problems])


def summary_text(report: RunReport) -> str:
    """The report as Markdown: problems, warnings, verdicts, where the time went, where the Parquet lies."""
    lines = [f"## Run {report.run_id}", "", summary(report), ""]
    for name, problem in report.problems:
        lines += [f"- **{name}**: {problem.kind}: {_plain(_message(name, problem))}"]
        lines += [f"    - hint: {_plain(problem.hint)}"] if problem.hint else []
    lines += [f"- warning: {_plain(warning)}" for warning in report.all_warnings]
    lines += ["", *_verdicts(report), "", *_where_the_time_went(report)]
    commits = [(source.source, source.commit) for source in report.sources if source.commit is not None]
    lines += ["", "| source | commit | Parquet |", "| --- | --- | --- |"]
    lines += [f"| {source} | {commit} | `{report.place_of(source)}` |" for source, commit in commits]
    lines += ["", f"The page to look closer: `{report.data}/runs/{report.run_id}.html` on the machine of the run."]
    return "\n".join([*lines, ""])


def _verdicts(report: RunReport) -> list[str]:
    """A row for each resource and mart: what became of it, and how that is known."""
    rows = (
        f"| {one.name} | {one.verdict} | {one.new:,} | {one.updated:,} | {_plain(one.evidence)} |"
        for one in report.resources
    )
    return ["| dataset | verdict | new | updated | evidence |", "| --- | --- | ---: | ---: | --- |", *rows]


def _where_the_time_went(report: RunReport) -> list[str]:
    """The steps that nothing else could have shortened, and the timeline, from the report beside the data."""
    try:
        run = read_run(Path(report.data), report.run_id)
    except PipelineError:
        return []  # a warning of the report says why it is not there
    steps = [step for step in critical_path(run) if step.seconds >= _WORTH_TELLING_S]
    rows = (f"| {step.what} {step.name} | {step.seconds:.1f} | {_plain(step.why)} |" for step in steps[:_MOST_STEPS])
    told = [f"{_plain(verdict(run))}.", "", "| step | seconds | why |", "| --- | --- | --- |", *rows]
    return [*told, "", *_picture(run)]


def _picture(run: Document) -> list[str]:
    """The timeline of *run* as Markdown that loads nothing; nothing where none was kept, or it cannot be drawn.

    Nor of a run that was told to end: drawing takes a second, and Prefect waits for few.
    """
    spans = spans_of(run["timeline"]) if run.get("timeline") and run["exit_code"] != EXIT_INTERRUPTED else []
    drawn = png(timeline(run, spans, legend=True), "timeline") if spans else b""
    return [f"![timeline](data:image/png;base64,{b64encode(drawn).decode()})"] if drawn else []


def _message(name: str, problem: Problem) -> str:
    """Its message, which often begins with the name that stands before it already."""
    return problem.message.removeprefix(f"{name}: ")


def _plain(text: str) -> str:
    """*text*, in which an API's own words may stand, as text of Markdown: no markup, no line ends."""
    return text.translate(_SAFE)
