"""What a run leaves in Prefect: its result as a table, and what needs a person as text.

Both hold what the report holds: names, counts and our own error texts.
"""

from __future__ import annotations

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from pipelines.report.result import RunReport


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
            "rows read": resource.rows_read,
            "rows written": resource.rows_written,
            "new": resource.new,
            "updated": resource.updated,
            "seconds": round(resource.seconds, 1),
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


def summary_text(report: RunReport) -> str:
    """Problems with their hints, and where the Parquet lies, as Markdown."""
    lines = [f"## Run {report.run_id}", "", summary(report), ""]
    for name, problem in report.problems:
        lines += [f"- **{name}**: {problem.kind}: {_plain(problem.message)}"]
        lines += [f"    - hint: {_plain(problem.hint)}"] if problem.hint else []
    lines += [f"- warning: {_plain(warning)}" for warning in report.warnings]
    commits = [(source.source, source.commit) for source in report.sources if source.commit is not None]
    lines += ["", "| source | commit | Parquet |", "| --- | --- | --- |"]
    lines += [f"| {source} | {commit} | `{report.data}/parquet/{source}/` |" for source, commit in commits]
    return "\n".join([*lines, ""])


def _plain(text: str) -> str:
    return text.replace("\n", " ").replace("|", "\\|").replace("<", "&lt;")
