"""What a run did: one frozen value, as JSON for machines and a table for people.

A report holds names, counts and our own error texts; never a secret or a value
from the data. What a request asked stands in the line that repeats it, nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from pipelines.errors import EXIT_FAILED, EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK, PipelineError
from pipelines.patterns import literal
from pipelines.tables import print_table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from pipelines.transform.checks import Expectation

Verdict = Literal["complete", "unproved", "incomplete", "failed", "skipped"]
_COLORS = {"complete": "green", "unproved": "cyan", "incomplete": "yellow", "failed": "red", "skipped": "dim"}


class Problem(Struct, frozen=True):
    """An error as reports keep it."""

    kind: str
    message: str
    hint: str
    exit_code: int
    curl: str = ""
    """Repeats the request that failed."""

    @classmethod
    def of(cls, error: PipelineError) -> Problem:
        """The lasting part of *error*."""
        return cls(error.kind, error.message, error.hint, error.exit_code, error.curl)

    def hiding(self, hide: Callable[[str], str]) -> Problem:
        """The same with *hide* over every text."""
        return replace(self, message=hide(self.message), hint=hide(self.hint), curl=hide(self.curl))


class Expected(Struct, frozen=True):
    """A check that the configuration asks for; `complaints` are the sentences that say it is broken."""

    check: str
    severity: str
    complaints: tuple[str, ...]

    @classmethod
    def of(cls, one: Expectation) -> Expected:
        """The check *one* as reports keep it."""
        return cls(one.told, one.severity, one.complaints)


class Reason(Struct, frozen=True):
    """Why so many records were set aside: by which column, and what was wrong with it."""

    column: str
    reason: str
    records: int


class ResourceReport(Struct, frozen=True):
    """One resource or mart in one run.

    `rows_read` counts records in answers; `rows_written` counts rows that the
    commit added or changed: `new` + `updated`. `reasons` tell why records were
    set aside, the commonest first. `seconds` is the time from its
    first request to its last answer or batch.
    """

    source: str
    resource: str
    verdict: Verdict = "skipped"
    evidence: str = ""
    requests: int = 0
    resumed: int = 0
    retries: int = 0
    rows_read: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    files_written: int = 0
    bytes_fetched: int = 0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    problem: Problem | None = None
    expected: tuple[Expected, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def name(self) -> str:
        """`source.resource`."""
        return f"{self.source}.{self.resource}"

    @property
    def rows_written(self) -> int:
        """Rows that the commit added or changed."""
        return self.new + self.updated

    def failed(self, error: PipelineError) -> ResourceReport:
        """The same resource, failed by *error*; nothing of it was written."""
        nothing = {"new": 0, "updated": 0, "unchanged": 0, "rejected": 0, "files_written": 0}
        return replace(self, verdict="failed", problem=Problem.of(error), reasons=(), **nothing)


class SourceReport(Struct, frozen=True):
    """One source (or the marts) in one run; `commit` is None where nothing could be committed."""

    source: str
    commit: int | None
    changed: bool
    resources: tuple[ResourceReport, ...]
    problem: Problem | None = None
    foreign: tuple[str, ...] = ()
    """Files that somebody else had put into the view; they were moved aside."""
    warnings: tuple[str, ...] = ()

    @property
    def told(self) -> tuple[str, ...]:
        """Its warnings, and a sentence for each foreign file."""
        return (*self.warnings, *(f"{self.source}: {path} was not ours and is moved aside" for path in self.foreign))

    def hiding(self, hide: Callable[[str], str]) -> SourceReport:
        """The same with *hide* over every text that may quote an API's answer: an error may repeat a token."""

        def quiet(problem: Problem | None) -> Problem | None:
            return problem and problem.hiding(hide)

        def told(warnings: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(map(hide, warnings))

        resources = [
            replace(one, evidence=hide(one.evidence), warnings=told(one.warnings), problem=quiet(one.problem))
            for one in self.resources
        ]
        return replace(self, resources=tuple(resources), problem=quiet(self.problem), warnings=told(self.warnings))


class RunReport(Struct, frozen=True):
    """A whole run, in the order of the sources."""

    run_id: str
    started_at: str
    seconds: float
    data: str
    sources: tuple[SourceReport, ...]
    warnings: tuple[str, ...] = ()
    machine: dict[str, Any] = field(default_factory=dict)
    timeline: dict[str, Any] = field(default_factory=dict)
    """What `pipelines.report.timeline` kept; only the saved report has it."""
    stopped: bool = False
    """Whether it was told to end before all was done."""
    lake: str = ""
    """The bucket that keeps what is committed, if it is not the data folder."""

    def place_of(self, source: str) -> str:
        """Where the Parquet files of *source* are."""
        return f"{self.lake.rstrip('/')}/{source}/store/" if self.lake else f"{self.data}/parquet/{source}/"

    @property
    def resources(self) -> Iterator[ResourceReport]:
        """All resources of all sources."""
        return (resource for source in self.sources for resource in source.resources)

    @property
    def problems(self) -> list[tuple[str, Problem]]:
        """What failed, each under its name, sources first."""
        found = [(source.source, source.problem) for source in self.sources if source.problem]
        return found + [(resource.name, resource.problem) for resource in self.resources if resource.problem]

    @property
    def all_warnings(self) -> list[str]:
        """What deserves a look though nothing failed: of the run, of its sources, of their resources."""
        of_sources = [warning for source in self.sources for warning in source.told]
        of_resources = [warning for resource in self.resources for warning in resource.warnings]
        aside = [
            f"{one.name}: {one.rejected:,} records are set aside in {one.name}__rejects, with the reason of each"
            for one in self.resources
            if one.rejected
        ]
        return [*self.warnings, *of_sources, *of_resources, *aside]

    @property
    def rows(self) -> int:
        """Rows that this run added or changed."""
        return sum(resource.rows_written for resource in self.resources)

    @property
    def changed(self) -> bool:
        """Whether any file of any dataset was written."""
        return any(source.changed for source in self.sources)

    @property
    def exit_code(self) -> int:
        """0 complete; 130 when it was stopped; the first problem's own code; 3 when a resource is incomplete."""
        if self.stopped:
            return EXIT_INTERRUPTED
        if self.problems:
            return self.problems[0][1].exit_code or EXIT_FAILED
        incomplete = any(resource.verdict == "incomplete" for resource in self.resources)
        return EXIT_INCOMPLETE if incomplete else EXIT_OK

    def to_json(self) -> bytes:
        """The report as indented JSON, without the timeline."""
        return orjson.dumps(self.document(), default=asdict, option=orjson.OPT_INDENT_2)

    def document(self) -> dict[str, Any]:
        """The report without the timeline, as JSON has it."""
        document = {**asdict(replace(self, timeline={})), "exit_code": self.exit_code}
        del document["timeline"]
        return document

    def save(self, folder: Path) -> Path:
        """Write `<folder>/<run id>.json` whole or not at all, and return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.run_id}.json"
        aside = path.with_suffix(".tmp")
        try:
            # thousands of spans would be tens of thousands of lines
            timeline = orjson.Fragment(orjson.dumps(self.timeline, default=asdict))
            document = {**self.document(), "timeline": timeline}
            aside.write_bytes(orjson.dumps(document, default=asdict, option=orjson.OPT_INDENT_2))
            aside.replace(path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        return path


def show(report: RunReport, console: Console) -> None:
    """Print the table of resources, the problems and where the Parquet lies; 80 columns, but for lines to be copied."""
    titles = ("resource", "requests", "read", "written", "new", "updated", "s", "verdict")
    print_table(console, titles, map(_row, report.resources), figures=range(1, 7), whole=(7,))
    _show_problems(report, console)
    _show_result(report, console)


def _row(one: ResourceReport) -> tuple[str | Text, ...]:
    from rich.text import Text

    counts = (one.requests, one.rows_read, one.rows_written, one.new, one.updated)
    told: list[str | Text] = [f"{count:,}" if count else Text("-", style="dim") for count in counts]
    return one.name, *told, f"{one.seconds:.1f}", Text(one.verdict, style=_COLORS[one.verdict])


def _show_problems(report: RunReport, console: Console) -> None:
    for name, problem in report.problems:
        message = _plain(problem.message.removeprefix(f"{name}: "))
        console.print(f"\n[red]{name}: {problem.kind}[/] {message}", highlight=False)
        if problem.hint:
            console.print(f"  hint: {_plain(problem.hint)}", style="dim", highlight=False)
        if problem.curl:  # one line however long, so that it can be copied
            console.print(f"  repeat: {_plain(problem.curl)}", style="dim", highlight=False, soft_wrap=True)
    for warning in report.all_warnings:
        console.print(f"[yellow]warning:[/] {_plain(warning)}", highlight=False)


def _show_result(report: RunReport, console: Console) -> None:
    nothing = "nothing was written" if report.problems else "nothing new: no file was rewritten"
    rows = f"{report.rows:,} rows written" if report.changed else nothing
    console.print(f"\n{rows} in {report.seconds:.1f} s (run {report.run_id})", highlight=False)
    console.print(f"Report:  {_plain(report.data)}/runs/{report.run_id}.html", highlight=False, soft_wrap=True)
    dataset = next((r.name.replace(".", "/") for r in report.resources if r.rows_read or r.new), None)
    if dataset is None:
        return
    console.print(f"Parquet: {_plain(report.place_of('<source>'))}<dataset>/", highlight=False, soft_wrap=True)
    lines = _bucket_readers(report.lake, dataset) if report.lake else _readers(f"{report.data}/parquet/{dataset}")
    for line in lines:  # each one line however long, so that it can be copied
        console.print(f"  {_plain(line)}", highlight=False, style="dim", soft_wrap=True)


def _bucket_readers(lake: str, dataset: str) -> Iterator[str]:
    """A bucket has no folder to glob: the newest commit names its files."""
    name = dataset.replace("/", ".", 1)
    yield f'pandas  pipelines.read("{name}", data="{lake}")'
    yield f'DuckDB  pipelines.sql("FROM {name} LIMIT 10", data="{lake}")'


def _readers(folder: str) -> Iterator[str]:
    glob = f"{literal(Path(folder))}/**/*.parquet"
    yield f"pandas  pd.read_parquet({json.dumps(folder, ensure_ascii=False)})"
    yield "DuckDB  FROM '" + glob.replace("'", "''") + "'"
    yield f"Polars  pl.read_parquet({json.dumps(glob, ensure_ascii=False)})"


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
