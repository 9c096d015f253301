"""The chain of steps that made a run as long as it was, and what would make it shorter.

Sources run side by side, so only the one that commits last counts; in it, only
the resource that each step waited for.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from pipelines.marts.model import MARTS
from pipelines.report.explain import CONTENDED, CPU, IDLE, IO, LIMITED, THROTTLED, Verdict, Work, works
from pipelines.report.runs import Document

_WORTH_S = 0.05
_ALL_BUSY = 0.6


class Step(Struct, frozen=True):
    """A stretch of the run that nothing else could have shortened; *advice* is empty where there is none."""

    what: str
    name: str
    start: float
    end: float
    why: str = ""
    advice: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


def critical_path(run: Document) -> list[Step]:
    """The steps from the start of *run* to its end, without gaps; their seconds add up to the run's."""
    steps: list[Step] = []
    at = 0.0
    for step in _ends(run):
        if step.end > at + 1e-4:
            steps.append(Step(step.what, step.name, at, step.end, step.why, step.advice))
            at = step.end
    if run["seconds"] > at:
        steps.append(Step("end", "", at, run["seconds"], "workers and threads end, the report is written"))
    return steps


def _ends(run: Document) -> Iterator[Step]:
    """Each step with its end; where it begins is where the one before has ended."""
    totals, found = run.get("timeline", {}).get("totals", {}), works(run)
    ends = {source["source"]: _end(source["source"], run, found) for source in run["sources"]}
    last = max((name for name in ends if name != MARTS), key=lambda name: ends[name], default="")
    if ends.get(last):
        yield from _source(run, [one for one in found if one.name.startswith(f"{last}.")])
        yield _step("commit", last, ends[last], "syncs all files to disk, then one commit")
    for mart in (one for one in found if one.is_mart and one.milled_at):
        yield _step("make", mart.name, mart.milled_at, _share("workers run its SQL", mart.mill_cpu_s, mart.mill_s))
        yield _step("merge", mart.name, mart.merged_at, "files are rewritten and checked")
    if MARTS in totals and "committed" in totals[MARTS]:
        yield _step("commit", MARTS, totals[MARTS]["committed"]["last"], "syncs all files to disk, then one commit")


def _end(source: str, run: Document, found: list[Work]) -> float:
    """When *source* had its commit; where it failed, when it last did anything."""
    committed = run.get("timeline", {}).get("totals", {}).get(source, {}).get("committed")
    if committed:
        return float(committed["last"])
    of_it = [one for one in found if one.name.startswith(f"{source}.")]
    return max((max(one.fetched_at, one.milled_at, one.merged_at) for one in of_it), default=0.0)


def _source(run: Document, found: list[Work]) -> Iterator[Step]:
    fetched = [one for one in found if one.fetched_at]
    if fetched:
        first = min(fetched, key=lambda one: one.fetched_at - one.fetch_wall_s)
        yield _step("start", "", first.fetched_at - first.fetch_wall_s, "locks, connections, worker processes")
        slowest = max(fetched, key=lambda one: one.fetched_at)
        yield _fetch(run, slowest)
    milled = [one for one in found if one.milled_at]
    if milled:
        yield _mill(run, max(milled, key=lambda one: one.milled_at), max(one.fetched_at for one in found))
    for one in sorted((one for one in found if one.merged_at), key=lambda one: one.merged_at):
        advice = "rewrite fewer files: `partition_by` what changes together" if one.merge_s > 1 else ""
        yield Step("merge", one.name, 0.0, one.merged_at, "files are rewritten and checked", advice)


def _fetch(run: Document, work: Work) -> Step:
    source = work.name.partition(".")[0]
    threads = run["machine"].get("threads", {}).get(source, 1)
    is_full = threads >= run["machine"].get("threads_allowed", {}).get(source, threads)
    busy = work.fetch_s / (work.fetch_wall_s * threads) if work.fetch_wall_s else 0.0
    waiting = {IO: work.network_s, LIMITED: work.turn_s, THROTTLED: work.pause_s, CPU: work.blocked_s}
    most = max(waiting, key=lambda name: waiting[name])
    if work.verdict == THROTTLED:
        most = THROTTLED
    each = work.network_s / max(work.requests, 1)
    asked = f"{work.requests:,} {'request' if work.requests == 1 else 'requests'} of {each:.2f} s"
    why = f"{asked}, {threads} {'thread' if threads == 1 else 'threads'} {min(busy, 1.0):.0%} busy"
    all_busy = threads if is_full and busy > _ALL_BUSY and work.requests > threads else 0
    return Step("fetch", work.name, 0.0, work.fetched_at, why, _faster(most, source, work, all_busy))


def _faster(most: str, source: str, work: Work, all_busy: int) -> str:
    """What would fetch *work* sooner; *all_busy* threads, as many as may be, were never without a request, or 0."""
    if most == THROTTLED:
        return (
            f"the API held it back for {work.pause_s + work.turn_s:.1f} thread-seconds: ask for larger pages,"
            f" or for a higher quota, and put the true one into `limits` of {source}"
        )
    if most == LIMITED:
        return (
            f"`limits` of {source} held requests back for {work.turn_s:.1f} thread-seconds:"
            " raise them if the API allows more, or ask for larger pages"
        )
    if most == CPU:
        return f"pages waited {work.blocked_s:.1f} s for workers: more `workers` would take them sooner"
    if all_busy:
        saved = work.fetch_wall_s / 2
        return (
            f"{f'all {all_busy} threads wait' if all_busy > 1 else 'its thread waits'} for answers:"
            f" `limits: {{in_flight: {2 * all_busy}}}` of {source}"
            f" saves up to {saved:.1f} s where the API allows it"
        )
    if work.requests > 1:
        return (
            f"pages follow one another, {work.network_s / work.requests:.2f} s each: larger pages,"
            " a paginator whose total is known, or windows let threads ask side by side"
        )
    return "one request: only a faster answer or a smaller window helps"


def _mill(run: Document, work: Work, fetched_at: float) -> Step:
    workers = int(run["machine"]["workers"])
    tail = work.milled_at - fetched_at
    why = _share(
        f"{work.batches} {'batch' if work.batches == 1 else 'batches'} for {workers} workers",
        work.mill_cpu_s,
        work.mill_s,
    )
    advice = ""
    if tail > _WORTH_S:
        cpus = run["machine"].get("cpus") or workers
        advice = f"the last page was there {tail:.1f} s before: "
        if work.mill_cpu_s < work.mill_s / 2:
            advice += "workers waited for disk, for a processor or to be started, a smaller `batch_size` begins sooner"
        elif workers < cpus:
            advice += f"`workers` may grow from {workers} to {cpus}"
        else:
            advice += "declare `columns` (nothing is guessed), or a machine with more processors"
    return Step("mill", work.name, 0.0, work.milled_at, why, advice)


def _share(what: str, cpu_s: float, wall_s: float) -> str:
    return f"{what}, {cpu_s / wall_s:.0%} of it computing" if wall_s else what


def _step(what: str, name: str, end: float, why: str) -> Step:
    return Step(what, name, 0.0, end, why)


def verdict(run: Document) -> str:
    """One sentence: what the run waited for most, with its share of the time."""
    steps = critical_path(run)
    if not steps or not run["seconds"]:
        return "nothing was done"
    longest = max(steps, key=lambda step: step.seconds)
    named = f"{longest.what} {longest.name}".strip()
    told = {
        IO: "it waited for answers",
        THROTTLED: "the API held it back",
        LIMITED: "its configured limits held it back",
        CPU: "it computed",
        CONTENDED: "workers waited for disk or for a processor",
    }
    why = told.get(_held_up(run, longest), longest.why)
    return f"{longest.seconds / run['seconds']:.0%} of {run['seconds']:.1f} s went into {named}: {why}"


def _held_up(run: Document, step: Step) -> Verdict:
    """The verdict on *step*; idle where it neither fetches nor computes."""
    work = next((one for one in works(run) if one.name == step.name), None)
    if work and step.what == "fetch":
        return work.verdict
    if work and step.what in ("mill", "make"):
        return CPU if work.mill_cpu_s > work.mill_s / 2 else CONTENDED
    return IDLE
