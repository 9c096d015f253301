"""Snapshots for engines that want a table format: `threadmill export`."""

from __future__ import annotations

from typing import Any

import click

from pipelines.commands.lakes import print_json, settings_of, shown_errors
from pipelines.commands.names import RESOURCE
from pipelines.commands.options import on_data


@click.command(epilog="\b\nExample:\n  threadmill export usgs.events exports/events --format delta")
@click.argument("dataset", type=RESOURCE)
@click.argument("target")
@click.option("--format", "form", type=click.Choice(["delta", "iceberg"]), required=True, help="What TARGET becomes.")
@click.option("--commit", "number", type=click.IntRange(1), help="Which commit (default: the newest).")
@on_data
def export(dataset: str, target: str, form: str, number: int | None, as_json: bool, **given: Any) -> None:
    """Write a commit of DATASET to TARGET as a Delta or Iceberg table.

    TARGET is the folder (or s3:// address) of a Delta table, or the folder of
    Iceberg tables and their catalog. The rows take the place of those of the
    last export, in one step; with the same commit nothing is written.
    """
    with shown_errors():
        settings = settings_of(given)
        from pipelines.reading import lakes_of, snapshot_in

        rows = snapshot_in(lakes_of(settings), dataset, at=number)
        if form == "delta":
            from pipelines.export.delta import to_delta

            done = to_delta(rows, target, settings.access)
        else:
            from pipelines.export.iceberg import to_iceberg

            done = to_iceberg(rows, target)
    if as_json:
        print_json(done)
    elif done.changed:
        click.echo(f"{target}: {done.rows:,} rows of commit {done.commit} of {done.dataset}")
    else:
        click.echo(f"{target}: nothing to do, it holds commit {done.commit} of {done.dataset}")


COMMANDS = (export,)
