"""Whether this machine is fit for a run: versions, processors, memory, disk, clock, file system."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from msgspec import Struct

from pipelines.charts.library import VERSION, library
from pipelines.config.settings import Settings
from pipelines.errors import PipelineError
from pipelines.load.disk import DISK, probe
from pipelines.load.lake import Lake
from pipelines.machine import WORKER_BYTES, available_memory, processors
from pipelines.run import worker_count
from pipelines.version import CODE_VERSION

State = Literal["ok", "warning", "problem"]
_PACKAGES = ("pyarrow", "pandas", "polars", "duckdb", "requests", "msgspec")
_LOW_DISK_BYTES = 1_000_000_000
_LITTLE_DISK_BYTES = 50_000_000
_FEW_FILES = 512


class Finding(Struct, frozen=True):
    """One thing that was looked at; *hint* says what to do where it is not ok."""

    what: str
    state: State
    found: str
    hint: str = ""


def examine(settings: Settings, now: datetime) -> list[Finding]:
    """Everything that a run depends on besides its sources; asks no API, leaves nothing behind."""
    return [finding for look in (_versions, _processors, _memory) for finding in look(settings)] + [
        *_files(),
        *_data(settings.data),
        *_clock(settings.data, now),
    ]


def _versions(settings: Settings) -> Iterator[Finding]:
    python = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield Finding(
        "threadmill",
        "ok" if fits else "problem",
        f"{CODE_VERSION}, Python {python}",
        "" if fits else "use Python 3.11 to 3.13",
    )
    packages = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, found in packages.items() if not found]
    told = ", ".join(f"{name} {found}" for name, found in packages.items() if found)
    yield Finding("packages", "problem" if missing else "ok", told, f"missing: {', '.join(missing)}" if missing else "")
    prefect = _version("prefect")
    hint = "" if prefect else "`threadmill run` works without it; flows and schedules need it"
    yield Finding("Prefect", "ok" if prefect else "warning", prefect or "not installed", hint)
    yield _charts()


def _charts() -> Finding:
    if library() is not None:
        return Finding("charts", "ok", f"Vega-Lite {VERSION}")
    hint = "pages have tables only: `pip install vl-convert-python`"
    return Finding("charts", "warning", f"Vega-Lite {VERSION} is not there", hint)


def _processors(settings: Settings) -> Iterator[Finding]:
    usable, all_of_them = processors(), os.cpu_count() or 1
    workers = worker_count(settings)
    crowded = workers > 2 * usable
    yield Finding(
        "processors",
        "warning" if crowded else "ok",
        f"{usable} of {all_of_them} usable, {workers} workers",
        "more workers than processors only take memory: set `workers`" if crowded else "",
    )


def _memory(settings: Settings) -> Iterator[Finding]:
    free = available_memory()
    if free is None:
        yield Finding("memory", "warning", "cannot be told", "this is no Linux /proc")
        return
    needed = worker_count(settings) * WORKER_BYTES + settings.memory
    short = free < needed
    yield Finding(
        "memory",
        "warning" if short else "ok",
        f"{free / 1e9:.1f} GB free, a run wants up to about {needed / 1e9:.1f} GB",
        "lower `workers` or `memory`" if short else "",
    )


def _files() -> Iterator[Finding]:
    few, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = few < _FEW_FILES
    yield Finding("open files", "warning" if low else "ok", f"up to {few:,}", "raise it: ulimit -n 4096" if low else "")


def _data(data: Path) -> Iterator[Finding]:
    folder = next(parent for parent in (data, *data.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free
    state: State = "problem" if free < _LITTLE_DISK_BYTES else "warning" if free < _LOW_DISK_BYTES else "ok"
    yield Finding("disk", state, f"{free / 1e9:.1f} GB free for {data}", "" if state == "ok" else "make room")
    try:
        with TemporaryDirectory(dir=folder, prefix=".doctor-") as place:
            able = probe(Path(place), DISK)
    except (OSError, PipelineError) as error:
        yield Finding(
            "file system", "problem", f"{folder} cannot be written to: {error}", "set `data` to another folder"
        )
        return
    names = {"hard links": able.hard_links, "atomic exchange": able.exchange, "syncfs": able.syncfs}
    missing = [name for name, has in names.items() if not has]
    yield Finding(
        "file system",
        "warning" if missing else "ok",
        ", ".join(name for name, has in names.items() if has) or "plain renames only",
        f"no {', no '.join(missing)}: commits stay safe, but take longer" if missing else "",
    )


def _clock(data: Path, now: datetime) -> Iterator[Finding]:
    """Without network only the past can be asked: a commit from the future means that the clock went back."""
    newest = None
    with suppress(OSError, PipelineError):
        heads = [Lake(data, path.name).head() for path in (data / "lake").iterdir() if path.is_dir()]
        newest = max((head.created_at for head in heads if head), default=None)
    wrong = newest is not None and newest.astimezone(UTC) > now + timedelta(minutes=1)
    yield Finding(
        "clock",
        "problem" if wrong else "ok",
        f"{now:%Y-%m-%d %H:%M:%S} UTC" + (f", newest commit {newest:%Y-%m-%d %H:%M:%S}" if newest else ""),
        "the newest commit is from the future: set the clock" if wrong else "",
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
