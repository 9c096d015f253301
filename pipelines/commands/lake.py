"""What can be done with committed data: `threadmill log | diff | rollback | drop | verify | repair | compact | vacuum`.

These commands need the data folder only: no API is asked, no source file read.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.lakes import (
    cataloged,
    lakes_of,
    locked,
    print_json,
    quantity,
    run_id,
    settings_of,
    shown_errors,
    working,
)
from pipelines.commands.names import RESOURCE, SOURCE
from pipelines.commands.options import on_data
from pipelines.errors import EXIT_FAILED, ConfigError

if TYPE_CHECKING:
    from pipelines.load.lake import Lake, Work


@click.command(epilog="\b\nExample:\n  threadmill log usgs")
@click.argument("source", type=SOURCE)
@on_data
def log(source: str, as_json: bool, **given: Any) -> None:
    """List the commits of SOURCE that are kept, the newest first."""
    with shown_errors():
        (lake,) = lakes_of(settings_of(given), (source,))
        commits = [lake.log.read(number) for number in reversed(lake.log.numbers())]
    rows: list[dict[str, Any]] = [
        {
            "commit": one.n,
            "created_at": one.created_at.isoformat(timespec="seconds"),
            "run": one.run,
            "note": one.note,
            "config_hash": one.config_hash,
            "code_version": one.code_version,
            "datasets": {
                name: {"rows": dataset.rows, "files": len(dataset.files), "counts": dict(dataset.counts)}
                for name, dataset in one.datasets.items()
            },
        }
        for one in commits
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        held = ", ".join(f"{name} {dataset['rows']:,}" for name, dataset in row["datasets"].items())
        click.echo(f"{row['commit']:>6}  {row['created_at']}  {row['note'] or row['run']}\n        {held or 'nothing'}")


@click.command(epilog="\b\nExample:\n  threadmill diff usgs 41 42")
@click.argument("source", type=SOURCE)
@click.argument("one", type=click.IntRange(1))
@click.argument("other", type=click.IntRange(1))
@on_data
def diff(source: str, one: int, other: int, as_json: bool, **given: Any) -> None:
    """Say what became of each dataset of SOURCE between commits ONE and OTHER."""
    with shown_errors():
        (lake,) = lakes_of(settings_of(given), (source,))
        found = lake.diff(one, other)
    if as_json:
        print_json(found)
        return
    for each in found:
        click.echo(
            f"{each.dataset}: {each.rows_before:,} > {each.rows_after:,} rows; {each.added:,} added, "
            f"{each.changed:,} changed, {each.removed:,} removed; files +{each.files_added} -{each.files_removed}"
        )
        for line in each.columns:
            click.echo(f"  column {line}")
        if each.state_before != each.state_after:
            click.echo("  watermarks differ")
    if not found:
        click.echo(f"commits {one} and {other} of {source} hold the same")


@click.command(epilog="\b\nExample:\n  threadmill rollback usgs 41")
@click.argument("source", type=SOURCE)
@click.argument("number", metavar="COMMIT", type=click.IntRange(1))
@on_data
def rollback(source: str, number: int, as_json: bool, **given: Any) -> None:
    """Bring SOURCE back to COMMIT: its rows, columns and watermarks, in a new commit.

    The next run reads again what came after. `log` lists the commits.
    """
    from pipelines.version import CODE_VERSION

    with shown_errors():
        settings = settings_of(given)
        (lake,) = lakes_of(settings, (source,))
        with lake.lock(run_id("rollback")):
            done = lake.rollback(number, run_id("rollback"), code_version=CODE_VERSION)
            if not done.pending:
                # not before: the head may name a file that is lost, which is why it is left
                lake.recover()
    head = done.head.n if done.head else None
    if as_json:
        print_json({"source": source, "commit": head, "changed": done.changed, "pending": done.pending})
    elif done.changed:
        click.echo(f"{source}: commit {head} holds what commit {number} held")
    else:
        click.echo(f"{source}: nothing to do, commit {head} holds what commit {number} held")
    if done.unshown:
        click.echo(f"warning: {source}: {done.unshown}\n  hint: the next run shows it", err=True)
    cataloged(settings)


@click.command(epilog="\b\nExample:\n  threadmill drop usgs.events")
@click.argument("name", metavar="SOURCE.DATASET", type=RESOURCE)
@on_data
def drop(name: str, as_json: bool, **given: Any) -> None:
    """Take SOURCE.DATASET out: its rows, watermark, what was set aside of it.

    A commit of its own, which `rollback` undoes until `vacuum` forgets the older
    ones. What the configuration still has is read from the first record by the
    next run, and so made anew; below an `incremental` parent only once that is
    reset as well (`state reset`).
    """
    from pipelines.milled import rejects_of
    from pipelines.version import CODE_VERSION

    source, _, dataset = name.partition(".")
    with shown_errors():
        if not dataset:
            raise ConfigError(f"{name!r} is no dataset", "say which: SOURCE.DATASET, as `threadmill status` lists them")
        settings = settings_of(given)
        (lake,) = lakes_of(settings, (source,))
        with locked(lake, "drop"):
            head = lake.head()
            aside = [one for one in [rejects_of(dataset)] if head and one in head.datasets]
            rows = head.datasets[dataset].rows if head and dataset in head.datasets else 0
            done = lake.drop([dataset, *aside], run_id("drop"), code_version=CODE_VERSION)
    number = done.head.n if done.head else None
    if as_json:
        print_json({"dataset": name, "rows": rows, "commit": number, "pending": done.pending})
    else:
        told = "1 row is" if rows == 1 else f"{rows:,} rows are"
        click.echo(f"{name}: {told} no longer there from commit {number} on")
        click.echo(f"  `threadmill rollback {source} {(number or 1) - 1}` takes that back")
    if done.unshown:
        click.echo(f"warning: {source}: {done.unshown}\n  hint: the next run shows it", err=True)
    cataloged(settings)


@click.command(epilog="\b\nExample:\n  threadmill verify usgs marts")
@click.argument("sources", nargs=-1, type=SOURCE)
@click.option("--commit", "number", type=click.IntRange(1), help="Which commit (default: the newest).")
@on_data
def verify(sources: tuple[str, ...], number: int | None, as_json: bool, **given: Any) -> None:
    """Read every file of SOURCES (all by default) and compare it with its commit.

    Bytes, digests, rows, columns, bounds and folders of each file, keys that are
    there twice, versions that overlap, and whether analysts see what is
    committed. Exit code 1 if not.
    """
    with shown_errors():
        settings = settings_of(given)
        lakes = lakes_of(settings, sources)
        with working(settings, lakes) as work:
            found = {lake.folder.name: lake.verify(work, number=number) for lake in lakes}
    if as_json:
        print_json(found)
    for name, verified in found.items() if not as_json else ():
        size = f"{verified.files:,} files, {verified.rows:,} rows, {verified.size_bytes / 1e6:,.1f} MB"
        click.echo(f"{name}: commit {verified.commit or '-'}, {size}: {len(verified.defects) or 'no'} defects")
        for defect in verified.defects:
            # the path of most begins with their dataset
            where = defect.path if defect.path.startswith(defect.dataset) else f"{defect.dataset} {defect.path}".strip()
            click.echo(f"  {where}: {defect.what}\n    hint: {defect.hint}")
    if any(verified.defects for verified in found.values()):
        sys.exit(EXIT_FAILED)


@click.command(epilog="\b\nExample:\n  threadmill repair usgs")
@click.argument("sources", nargs=-1, type=SOURCE)
@on_data
def repair(sources: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Put right what was removed or replaced in the folders of SOURCES (all by default).

    A file of the view comes back from the store and the other way round; foreign
    files are moved aside, never removed. Exit code 1 if a file is lost.
    """
    found = {}
    with shown_errors():
        for lake in lakes_of(settings_of(given), sources):
            with lake.lock("repair"):
                found[lake.folder.name] = lake.repair()
    if as_json:
        print_json(found)
    for name, done in found.items() if not as_json else ():
        click.echo(f"{name}: {len(done.restored)} files restored, {len(done.shown)} datasets shown anew")
        for path in done.foreign:
            click.echo(f"  moved aside: {path}")
        for path in done.lost:
            click.echo(f"  lost: {path}\n    hint: `threadmill rollback {name} COMMIT` to one without it, or a backup")
    if any(done.lost for done in found.values()):
        sys.exit(EXIT_FAILED)


@click.command(epilog="\b\nExample:\n  threadmill compact usgs")
@click.argument("sources", nargs=-1, type=SOURCE)
@click.option("--file-size", metavar="SIZE", default="32MB", show_default=True, help="How large files should be.")
@on_data
def compact(sources: tuple[str, ...], file_size: str, as_json: bool, **given: Any) -> None:
    """Merge small files of SOURCES (all by default); the rows stay the same.

    Each source gets a commit of its own. Old files go when vacuum forgets them.
    """
    from pipelines.values import parse_size

    with shown_errors():
        settings, size = settings_of(given), quantity("--file-size", parse_size, file_size)
        lakes = lakes_of(settings, sources)
        with working(settings, lakes) as work:
            found = {lake.folder.name: _compacted(lake, work, size) for lake in lakes}
    if as_json:
        print_json(found)
    for name, one in found.items() if not as_json else ():
        click.echo(f"{name}: {one['files_before']:,} > {one['files_after']:,} files in commit {one['commit'] or '-'}")
    cataloged(settings)


@click.command(epilog="\b\nExample:\n  threadmill vacuum usgs --keep 3 --grace 1d")
@click.argument("sources", nargs=-1, type=SOURCE)
@click.option("--keep", type=click.IntRange(1), help="How many commits stay (default: the setting kept_commits).")
@click.option("--grace", metavar="TIME", help="Those replaced less long ago stay as well (default: the setting grace).")
@on_data
def vacuum(sources: tuple[str, ...], keep: int | None, grace: str | None, as_json: bool, **given: Any) -> None:
    """Forget old commits of SOURCES (all by default) and remove files that only they need."""
    from pipelines.values import parse_duration

    found = {}
    with shown_errors():
        settings = settings_of(given)
        seconds = settings.grace if grace is None else quantity("--grace", parse_duration, grace)
        for lake in lakes_of(settings, sources):
            before = lake.home.size_bytes()
            with locked(lake, "vacuum"):
                gone = lake.vacuum(
                    keep=keep or settings.kept_commits, grace=timedelta(seconds=seconds), now=datetime.now(UTC)
                )
            found[lake.folder.name] = {"commits": gone, "bytes": before - lake.home.size_bytes()}
    if as_json:
        print_json(found)
    for name, one in found.items() if not as_json else ():
        click.echo(f"{name}: {one['commits']} commits forgotten, {one['bytes'] / 1e6:,.1f} MB freed")


def _compacted(lake: Lake, work: Work, size: int) -> dict[str, Any]:
    from pipelines.version import CODE_VERSION

    with locked(lake, "compact"):
        before = lake.head()
        done = lake.compact(run_id("compact"), work, file_bytes=size, code_version=CODE_VERSION)
    files = [sum(len(one.files) for one in head.datasets.values()) if head else 0 for head in (before, done.head)]
    number = done.head.n if done.head else None
    return {"commit": number, "changed": done.changed, "files_before": files[0], "files_after": files[1]}


COMMANDS = (log, diff, rollback, drop, verify, repair, compact, vacuum)
