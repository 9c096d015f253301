"""A run as one HTML file: what came, what was proved, where the time went.

No network, and no script but the two that draw its charts: the file says so itself
in its policy, and browsers hold it to that. Whatever comes from a configuration or
an API is escaped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from pipelines.charts.page import chart, colours, policy, scripts
from pipelines.errors import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_OK
from pipelines.load.log import Dataset
from pipelines.load.stores import Remote
from pipelines.marts.model import MARTS
from pipelines.report import charts
from pipelines.report.critical_path import critical_path, verdict
from pipelines.report.explain import stages, works
from pipelines.report.findings import checks, problems, samples
from pipelines.report.markup import section, size, table
from pipelines.report.runs import Document, resources_of, rows_written
from pipelines.report.samples import set_aside
from pipelines.report.timeline import spans_of
from pipelines.schemas import SchemaChange, committed

_NAMES = 168
"""Room for the names of datasets beside a chart, in pixels."""
_STATES = {EXIT_OK: "complete", EXIT_INCOMPLETE: "incomplete", EXIT_INTERRUPTED: "interrupted"}
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta name="color-scheme" content="light dark">'
    '<meta http-equiv="Content-Security-Policy" content="{policy}">'
)


def write(run: Document, data: Path, remote: Remote | None = None) -> Path:
    """Write `runs/<id>.html` of *data* whole or not at all, and return its path."""
    path = data / "runs" / f"{run['run_id']}.html"
    aside = path.with_suffix(".html.tmp")
    try:
        aside.write_text(page(run, data, remote), encoding="utf-8")
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    return path


def page(run: Document, data: Path, remote: Remote | None = None) -> str:
    """The whole document; schemas come from the commits that the run made, in *data* or a bucket, if they are kept."""
    style = colours() + files("pipelines.report").joinpath("report.css").read_text(encoding="utf-8")
    sections = (
        _summary(run),
        problems(run),
        _resources(run),
        checks(run),
        samples(set_aside(run, data, remote)),
        _timeline(run),
        _time(run),
        _path(run),
        _schemas(run, data, remote),
    )
    title = f"Run {escape(run['run_id'])}"
    head = f"{_HEAD.format(policy=policy())}<title>{title}</title><style>{style}</style></head>"
    return f"{head}<body><main>{''.join(sections)}</main>{scripts()}</body></html>"


def _summary(run: Document) -> str:
    resources = resources_of(run)
    state = _STATES.get(run["exit_code"], "failed")
    figures = (
        (f"{run['seconds']:.1f} s", "from start to end"),
        (f"{sum(one['requests'] for one in resources):,}", "requests"),
        (size(sum(one["bytes_fetched"] for one in resources)), "fetched"),
        (f"{sum(one['rows_read'] for one in resources if one['source'] != MARTS):,}", "records read"),
        (f"{rows_written(run):,}", "rows written"),
        (f"{sum(one['retries'] for one in resources):,}", "retries"),
    )
    tiles = "".join(f"<div><b>{value}</b><span>{what}</span></div>" for value, what in figures)
    machine = run["machine"]
    threads = sum(machine.get("threads", {}).values())
    where = f"{machine['workers']} workers, {threads} threads, {machine['cpus']} processors"
    return (
        f'<header><h1>Run {escape(run["run_id"])} <em class="{state}">{state}</em></h1>'
        f"<p>{escape(run['started_at'])} · {where}</p></header>"
        f'<div class="tiles">{tiles}</div><p class="lead">{escape(verdict(run))}.</p>'
    )


def _resources(run: Document) -> str:
    numbers = ("requests", "resumed", "retries", "rows_read", "new", "updated", "unchanged", "rejected")
    titles = (
        "dataset",
        "verdict",
        "requests",
        "resumed",
        "retries",
        "read",
        "new",
        "updated",
        "unchanged",
        "aside",
        "s",
    )
    fetched = [_row(one, numbers) for one in resources_of(run) if one["source"] != MARTS]
    made = [_row(one, numbers[3:7]) for one in resources_of(run) if one["source"] == MARTS]
    marts = section("Marts", table((*titles[:2], *titles[5:9], "s"), made)) if made else ""
    return section("What came, and how that is known", table(titles, fetched)) + marts


def _row(one: Document, numbers: Sequence[str]) -> list[str]:
    cells = [f"{one[name]:,}" if one[name] else "" for name in numbers] + [f"{one['seconds']:.1f}"]
    name = f"<b>{escape(one['name'])}</b><small>{escape(one['evidence'])}</small>"
    return [name, f'<em class="{escape(one["verdict"])}">{escape(one["verdict"])}</em>', *cells]


def _timeline(run: Document) -> str:
    kept = run.get("timeline")
    if not kept or not kept["spans"]:
        return ""
    spans, until = spans_of(kept), run["seconds"]
    drawn = charts.timeline(run, spans)
    folded = f" Many spans: those of one kind within {kept['cell_s']:.2f} s are drawn as one." if kept["cell_s"] else ""
    lead = f"<p><small>Mark a stretch in the topmost picture to see it larger in the lanes.{folded}</small></p>"
    label = "what every thread and process did, and when"
    return section("Timeline", _legend({span.kind for span in spans}) + lead + chart(drawn, label)) + section(
        "Throughput", chart(charts.throughput(spans, until), "bytes and rows a second over time")
    )


def _time(run: Document) -> str:
    found = [one for one in works(run) if one.wall_s > 0]
    if not found:
        return ""
    rows = [
        [
            f"<b>{escape(one.name)}</b>",
            f'<em class="plain">{one.verdict}</em>',
            f"{one.wall_s:.2f}",
            f"{one.pauses:,}" if one.pauses else "",
            f"{one.pause_s + one.turn_s:.2f}" if one.pause_s + one.turn_s >= 0.005 else "",
        ]
        for one in found
    ]
    titles = ("dataset", "it was", "wall s", "pauses", "held back s")
    stage_rows = [
        [stage.name, f"{stage.wall_s:.2f}", str(stage.lanes), f"{stage.use:.0%}",
         f"{stage.cpu_s / stage.busy_s:.0%}" if stage.cpu_s else "", f'<em class="plain">{stage.verdict}</em>']
        for stage in stages(run)
    ]  # fmt: skip
    stage_titles = ("stage", "wall s", "lanes", "in use", "of it computing", "it was")
    drawn = chart(charts.time_spent(found), "what each dataset's time went into", left=_NAMES)
    kinds = {kind for one in found for kind, seconds in charts.parts(one) if seconds >= 0.0005}
    tables = table(titles, rows) + "<br>" + table(stage_titles, stage_rows)
    return section("Waiting or computing", _legend(kinds) + drawn + tables)


def _path(run: Document) -> str:
    steps = [step for step in critical_path(run) if step.seconds >= 0.005]
    if not steps:
        return ""
    rows = [
        [
            f"{step.seconds:.2f}",
            f"<b>{escape(step.what)}</b> {escape(step.name)}<small>{escape(step.why)}</small>"
            + (f'<small class="advice">{escape(step.advice)}</small>' if step.advice else ""),
        ]
        for step in steps
    ]
    drawn = chart(charts.stairs(steps, run["seconds"]), "the steps of the critical path", left=_NAMES)
    return section("Critical path: what nothing else could have shortened", drawn + table(("s", "step"), rows))


def _schemas(run: Document, data: Path, remote: Remote | None) -> str:
    parts = [
        _dataset(f"{source['source']}.{name}", dataset, changes)
        for source in run["sources"]
        for name, dataset, changes in committed(data, source["source"], source["commit"], remote)
    ]
    return section("Datasets", "".join(parts)) if parts else ""


def _dataset(name: str, dataset: Dataset, changes: Sequence[SchemaChange]) -> str:
    columns: Iterable[Any] = dataset.columns or ()
    rows = [
        [f"<code>{escape(str(one['name']))}</code>", f"<code>{escape(str(one['type']))}</code>", escape(_meaning(one))]
        for one in columns
    ]
    new = "".join(f'<p class="incomplete">{escape(change)}</p>' for change in changes)
    told_size = size(sum(file.size_bytes for file in dataset.files))
    key = f", key {', '.join(dataset.key)}" if dataset.key else ""
    folders = f", folders by {', '.join(dataset.partition_by)}" if dataset.partition_by else ""
    told = escape(f"{dataset.rows:,} rows in {len(dataset.files):,} files, {told_size}{key}{folders}")
    return (
        f"<details{' open' if changes else ''}><summary><b>{escape(name)}</b> <small>{told}</small></summary>"
        f"{new}{table(('column', 'type', 'meaning'), rows)}</details>"
    )


def _meaning(column: dict[str, Any]) -> str:
    about = column.get("metadata") or column
    unit = f" ({about['unit']})" if about.get("unit") else ""
    return f"{about.get('description') or ''}{unit}".strip()


def _legend(kinds: Collection[str]) -> str:
    told = (f"<span><i class={kind}></i>{does}</span>" for kind, does in charts.KINDS.items() if kind in kinds)
    return f'<p class="legend">{"".join(told)}</p>'
