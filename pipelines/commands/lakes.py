"""What the commands for committed data have in common: which lakes, who works, how errors are told."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.options import is_json_wanted, log_as, wants_json
from pipelines.errors import ConfigError, PipelineError

if TYPE_CHECKING:
    from pipelines.config.redact import Redactor
    from pipelines.config.settings import Settings
    from pipelines.load.lake import Lake, Work

log = logging.getLogger(__name__)

_POOL_BYTES = 256 * 10**6
"""Below this much data starting worker processes would take longer than the work."""


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings, with what the command line gave."""
    from pipelines.config.settings import environment, read_settings

    settings = read_settings(environment(Path(), os.environ), **given)
    log_as(settings)
    return settings


def lakes_of(settings: Settings, names: tuple[str, ...]) -> list[Lake]:
    """The lakes of *names*, of all sources with data where none is named; a line says so where there are none yet."""
    from pipelines.config.problems import nearest
    from pipelines.load.lake import Lake
    from pipelines.load.stores import sources_of

    known = sources_of(settings.data, settings.remote)
    where = settings.lake or settings.data
    if not known and not names:
        click.echo(f"{where} has no data yet: run `threadmill run` first", err=True)
    for name in names:
        if name not in known:
            hint = f"with data: {', '.join(known)}" if known else "run `threadmill run` first"
            raise ConfigError(f"{where} has no data of a source {name!r}{nearest(name, known)}", hint)
    return [Lake(settings.data, name, settings.remote) for name in names or known]


@contextmanager
def locked(lake: Lake, what: str) -> Iterator[None]:
    """With the lock held and a dead run's leftovers cleared away."""
    with lake.lock(run_id(what)):
        lake.recover()
        yield


@contextmanager
def working(settings: Settings, lakes: Iterable[Lake]) -> Iterator[Work]:
    """What does the units of work: this process, or worker processes where there is much to do."""
    from pipelines.load.changes import here, work

    heads = [lake.head() for lake in lakes]
    size = sum(file.size_bytes for head in heads if head for one in head.datasets.values() for file in one.files)
    if size < _POOL_BYTES:
        yield here
        return
    from pipelines.pool import Pool
    from pipelines.run import worker_count

    with Pool(worker_count(settings), preload=("pipelines.worker", "pyarrow.parquet", "polars")) as pool:
        yield lambda units: pool.map(work, units)


def cataloged(settings: Settings) -> None:
    """Have the catalog tell of what was just committed; where that fails, the commit stands, and a line says so."""
    from pipelines.catalog import refresh_catalog

    try:
        refresh_catalog(settings)
    except PipelineError as error:
        click.echo(f"warning: the catalog is not up to date: {error.message}\n  hint: {error.hint}", err=True)


def run_id(what: str) -> str:
    """What the log calls this use of a command."""
    return f"{what}-{datetime.now(UTC):%Y%m%dT%H%M%S}"


def quantity(option: str, parse: Callable[[object], Any], text: str) -> Any:
    """What *text* of *option* stands for.

    Raises:
        ConfigError: It is no number with its unit.
    """
    from pydantic_core import PydanticCustomError

    try:
        return parse(text)
    except PydanticCustomError as error:
        raise ConfigError(f"{option}: {error.message()}", f"known options: `threadmill {_command()} --help`") from None


def _command() -> str:
    context = click.get_current_context(silent=True)
    return (context.info_name if context else None) or ""


def print_json(value: Any) -> None:
    """Print *value*, which may hold structs, for programs; without the secrets of the project, where one was read."""
    import orjson
    from msgspec.structs import asdict

    if (redactor := _redactor()) is not None:
        from pipelines.config.redact import redacted

        value = redacted(orjson.loads(orjson.dumps(value, default=asdict)), redactor)
    click.echo(orjson.dumps(value, default=asdict, option=orjson.OPT_INDENT_2))


def hidden(text: str) -> str:
    """*text* without the secrets of the project, where one was read: for what is cut before it is printed."""
    redactor = _redactor()
    return text if redactor is None else redactor.hide(text)


def _redactor() -> Redactor | None:
    """What hides secrets in standard output; None where no project was read."""
    redactor: Redactor | None = getattr(sys.stdout, "redactor", None)
    return redactor


@contextmanager
def shown_errors(done: Sequence[Any] | None = None) -> Iterator[None]:
    """Show an error as its message and hint, or as a line of the log where that is JSON; leave with its code.

    A program that asked for JSON finds it on standard output as well: behind what was *done*, where that is a list.
    """
    try:
        yield
    except PipelineError as error:
        told = {"kind": error.kind, "message": error.message, "hint": error.hint, "repeat": error.curl}
        fields = {**told, "exit_code": error.exit_code}
        if wants_json():
            failed = {"error": fields}
            print_json(failed if done is None else [*done, failed])
        if is_json_wanted():
            log.error("command failed", extra={"fields": fields})
        else:
            click.echo(f"{click.style(error.kind, fg='red')}: {error}", err=True)
        sys.exit(error.exit_code)
