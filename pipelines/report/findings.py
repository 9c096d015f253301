"""What a person should look at in a run: problems, warnings, checks, records that were set aside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from pipelines.report.markup import section, table
from pipelines.report.runs import Document, resources_of
from pipelines.report.samples import SetAside

_HELD = '<em class="complete">held</em>'


def problems(run: Document) -> str:
    """What failed and what deserves a look; empty where there is nothing."""
    found = [(source["source"], source["problem"]) for source in run["sources"] if source["problem"]]
    found += [(one["name"], one["problem"]) for one in resources_of(run) if one["problem"]]
    lines = [
        f'<li class="failed"><b>{escape(name)}: {escape(problem["kind"])}</b> {escape(problem["message"])}'
        f"<br><small>{escape(problem['hint'])}</small>{_repeat(problem)}</li>"
        for name, problem in found
    ]
    of_sources = [text for source in run["sources"] for text in source.get("warnings", ())]
    warnings = [*run["warnings"], *of_sources, *(text for one in resources_of(run) for text in one["warnings"])]
    lines += [f'<li class="incomplete">{escape(text)}</li>' for text in warnings]
    lines += [
        f'<li class="incomplete">{escape(one["name"])}: {one["rejected"]:,} records are set aside in '
        f"{escape(one['name'])}__rejects, with the reason of each</li>"
        for one in resources_of(run)
        if one["rejected"]
    ]
    lines += [
        f'<li class="incomplete">{escape(source["source"])}: {escape(path)} was not ours and is moved aside</li>'
        for source in run["sources"]
        for path in source.get("foreign", ())
    ]
    return section("Problems and warnings", f"<ul>{''.join(lines)}</ul>") if lines else ""


def checks(run: Document) -> str:
    """Each check of `expect` with what came of it; those that held are folded up."""
    rows = [
        [_outcome(one, check), f"<b>{escape(one['name'])}</b>", f"<code>{escape(check['check'])}</code>"]
        for one in resources_of(run)
        for check in one.get("expected", ())
    ]
    titles, held = ("outcome", "dataset", "check"), [row for row in rows if row[0] == _HELD]
    broken = [row for row in rows if row[0] != _HELD]
    folded = f"<details><summary>{len(held)} of {len(rows)} held</summary>{table(titles, held)}</details>"
    inside = (table(titles, broken) if broken else "") + (folded if held else "")
    return section("Expectations", inside) if rows else ""


def samples(aside: Sequence[SetAside]) -> str:
    """Why records were set aside, with one of each as it is kept: masked where the data is."""
    rows = [
        [
            f"<b>{escape(one.resource)}</b>",
            f"{one.records:,}",
            f"<code>{escape(one.column)}</code> {escape(one.reason)}",
            f'<code class="record">{escape(one.sample)}</code>' if one.sample else "",
        ]
        for one in aside
    ]
    titles = ("dataset", "records", "column and reason", "such a record")
    return section("Records set aside", table(titles, rows)) if rows else ""


def _repeat(problem: dict[str, Any]) -> str:
    return f'<code class="record">{escape(problem["curl"])}</code>' if problem.get("curl") else ""


def _outcome(one: dict[str, Any], check: dict[str, Any]) -> str:
    """What became of *check* of the resource *one*: the sentences about it tell."""
    outcome, texts = {
        "fail": ("failed", [one["problem"]["message"]] if one["problem"] else []),
        "warn": ("warned", one["warnings"]),
        "quarantine": ("set aside", [reason["reason"] for reason in one.get("reasons", ())]),
    }[check["severity"]]
    if any(_says(text, complaint) for complaint in check["complaints"] for text in texts):
        return f'<em class="{"failed" if outcome == "failed" else "incomplete"}">{outcome}</em>'
    if one["problem"] or one["verdict"] == "skipped" or not check["complaints"]:
        return "<em>not looked at</em>"
    if outcome == "set aside" and one["rejected"] and "reasons" not in one:
        return "<em>not known</em>"  # the report is of an older version
    return _HELD


def _says(text: str, complaint: str) -> bool:
    """Whether *complaint* is a whole sentence of *text*, but for how many rows, and for what a value is."""
    return re.search(rf"(?:^|[:;,\d] ){re.escape(complaint)}(?:[; ]|$)", text) is not None
