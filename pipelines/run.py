"""The spine: what the parent process does, from YAML to one commit for each source.

Threads wait for the network, processes compute, one commit makes it true:

    sources side by side (a thread each)
      extract   threads > page spool > backlog        pipelines/extract/
      mill      workers: pages > Parquet parts        pipelines/worker.py
      commit    parts + watermarks, all or nothing    pipelines/load/lake.py
    marts, from what is committed now                 pipelines/mart_run.py
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pipelines.config.project import Project
from pipelines.config.settings import Settings
from pipelines.config.source import Source
from pipelines.errors import StoreError
from pipelines.extract.events import Event
from pipelines.fetching import crew_size
from pipelines.later import Soon
from pipelines.load.disk import DISK
from pipelines.machine import automatic_workers, available_memory, processors
from pipelines.mart_run import run_marts
from pipelines.marts.model import MARTS, Marts
from pipelines.pool import PRELOAD, Pool
from pipelines.report.result import Problem, ResourceReport, RunReport, SourceReport
from pipelines.report.timeline import Timeline
from pipelines.run_log import RunLog, Watcher
from pipelines.settling import foreseen
from pipelines.source_run import Listener, Shared, run_source
from pipelines.telemetry import telemetry
from pipelines.views import DATABASE

if TYPE_CHECKING:
    from pipelines.engines.cluster import Cluster

_LOOK_EVERY_S = 0.1
_LAST_MOMENT_S = 2.0
_FOR_THE_END = (
    "pipelines.load.encode",
    "pipelines.catalog",
    "pipelines.report.html_report",
    "rich.console",
    "rich.table",
)
_FOR_NEW_VIEWS = "duckdb"


def run(
    project: Project,
    *,
    listen: Listener = lambda source, event: None,
    stop: threading.Event | None = None,
    now: datetime | None = None,
    work: Callable[[Source, Shared], SourceReport] = run_source,
) -> RunReport:
    """Bring every source of *project* up to date (or let *work* do something else with it), then the marts.

    The report is saved beside the data. What goes wrong in one source is in its report and stops no other. Setting
    *stop* ends the run within seconds; what was fetched is kept for the next.

    Raises:
        StoreError: The data folder cannot be written to.
    """
    started, now = time.monotonic(), now or datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    project = replace(project, settings=shared_settings(project.settings))
    settings, stop = project.settings, stop or threading.Event()
    timeline = Timeline(started)
    watchers: list[Watcher] = [RunLog(run_id), *telemetry(run_id, os.environ)]

    modules = _for_the_end(settings)
    near_the_end = _once_all_is_fetched(project, modules.begin)

    def tell(source: str, event: Event) -> None:
        timeline.listen(source, event)
        near_the_end(source, event)
        for watcher in watchers:
            watcher.listen(source, event)
        listen(source, event)

    _prepare(settings)
    for watcher in watchers:
        watcher.began([source.name for source in project.sources], worker_count(settings))
    with engine_of(settings) as pool, answering(settings) as origin_map, _ending(pool, stop):
        shared = Shared(run_id, now, settings, pool, tell, stop, origin_map=origin_map)
        with ThreadPoolExecutor(max(len(project.sources), 1), thread_name_prefix="source") as threads:
            reports = list(threads.map(lambda source: _worked(work, source, shared), project.sources))
        marts = None if stop.is_set() else _made(project.marts, shared)
        warnings = () if stop.is_set() else _cataloged(project, pool)
    stopped = stop.is_set()
    left = (_left_undone(project.marts, marts),) if stopped else ()
    report = RunReport(
        run_id=run_id,
        started_at=now.isoformat(timespec="seconds"),
        seconds=time.monotonic() - started,
        data=str(settings.data),
        sources=(*reports, *([marts] if marts else [])),
        warnings=(*project.warnings, *warnings, *left),
        machine={
            "workers": pool.workers,
            "cpus": processors(),
            "threads": timeline.threads(),
            "threads_allowed": {source.name: crew_size(source, settings).most for source in project.sources},
        },
        timeline=timeline.to_json(),
        stopped=stopped,
        lake=settings.lake or "",
    )
    report = _saved(report, settings)
    for watcher in watchers:
        watcher.ended(report)
    modules.wait()
    return report


def _for_the_end(settings: Settings) -> Soon:
    """What the end of a run needs, to be imported while workers compute."""
    has_views = (settings.data / DATABASE).is_file()
    return Soon(_FOR_THE_END if has_views else (*_FOR_THE_END, _FOR_NEW_VIEWS))


def _once_all_is_fetched(project: Project, do: Callable[[], None]) -> Listener:
    """Hears when all pages are there, at the latest when something is merged, and then calls *do*."""
    awaited = {(source.name, name) for source in project.sources for name in source.resources}

    def hear(source: str, event: Event) -> None:
        if event.kind in ("finished", "merged"):
            awaited.discard((source, event.resource))
            if not awaited or event.kind == "merged":
                do()

    return hear


def _worked(work: Callable[[Source, Shared], SourceReport], source: Source, shared: Shared) -> SourceReport:
    """What *work* reports of *source*; a defect in it costs no other source its report."""
    try:
        return work(source, shared)
    except Exception as error:  # noqa: BLE001  # whatever it is, the report says that it was
        problem = Problem.of(foreseen(error, source.name, source.secrets.hide))
        resources = tuple(ResourceReport(source.name, name) for name in source.resources)
        return SourceReport(source.name, None, False, resources, problem).hiding(source.secrets.hide)


def _made(marts: Marts, shared: Shared) -> SourceReport | None:
    """What came of the marts; a defect in them costs no source its report."""
    try:
        return run_marts(marts, shared)
    except Exception as error:  # noqa: BLE001  # as above
        reports = tuple(ResourceReport(MARTS, name) for name in marts.marts)
        return SourceReport(MARTS, None, False, reports, Problem.of(foreseen(error, MARTS)))


def _left_undone(marts: Marts, made: SourceReport | None) -> str:
    """What a run that was told to stop says of what it did not come to."""
    before = "its marts were made" if marts.marts and made is None else "all was done"
    return f"the run was stopped before {before}; the next run goes on"


def _cataloged(project: Project, pool: Pool | Cluster) -> tuple[str, ...]:
    """Bring the catalog up to date; where that fails the data is committed all the same."""
    from pipelines.catalog import write_catalog

    try:
        write_catalog(project, pool.call)
    except Exception as error:  # noqa: BLE001  # the data is committed; its description may follow
        return (f"the catalog is not up to date: {foreseen(error, 'the catalog').message}",)
    return ()


def _saved(report: RunReport, settings: Settings) -> RunReport:
    """*report*, once it is kept beside the data, as JSON and as a page; where it cannot be, it says so itself."""
    from pipelines.report.html_report import write
    from pipelines.report.runs import forget_old, read_run

    try:
        path = report.save(settings.data / "runs")
        write(read_run(settings.data, path.stem), settings.data, settings.remote)
        forget_old(settings.data)
    except (OSError, StoreError) as error:
        why = error.strerror if isinstance(error, OSError) else error.message
        warning = f"this report could not be kept in {settings.data / 'runs'}: {why}"
        return replace(report, warnings=(*report.warnings, warning))
    return report


def engine_of(settings: Settings) -> Pool | Cluster:
    """What computes: worker processes of this machine, or the cluster that the settings name.

    Raises:
        ConfigError: The cluster is not there, or its workers do not fit this run.
    """
    if settings.engine == "processes":
        return Pool(worker_count(settings), preload=PRELOAD)
    from pipelines.engines import connect

    most = None if settings.workers == "auto" else settings.workers
    return connect(
        settings.engine,
        settings.engine_address,
        workers=most,
        shared=settings.data,
        transforms=settings.transforms,
    )


def shared_settings(settings: Settings) -> Settings:
    """*settings* with paths that mean the same on every machine, where workers are elsewhere."""
    if settings.engine == "processes":
        return settings
    transforms = settings.transforms and settings.transforms.absolute()
    return settings.model_copy(update={"data": settings.data.absolute(), "transforms": transforms})


def worker_count(settings: Settings) -> int:
    """`workers` as a number: auto is one for each processor that this process may use, if memory suffices."""
    return automatic_workers(processors(), available_memory()) if settings.workers == "auto" else settings.workers


def _prepare(settings: Settings) -> None:
    try:
        DISK.folder(settings.data)
    except OSError as error:
        raise StoreError(
            f"cannot create the data folder {settings.data}: {error.strerror}",
            "set THREADMILL_DATA to a folder that you may write to",
        ) from error


@contextmanager
def _ending(pool: Pool | Cluster, stop: threading.Event) -> Iterator[None]:
    """Once *stop* is set, workers may finish what they have begun, but only for a moment."""
    over = threading.Event()

    def end() -> None:
        while not over.wait(_LOOK_EVERY_S):
            if stop.is_set():
                if not over.wait(_LAST_MOMENT_S):
                    pool.close()
                return

    watch = threading.Thread(target=end, name="ending")
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


@contextmanager
def answering(settings: Settings) -> Iterator[Mapping[str, str]]:
    """Where each live origin really is: the bundled APIs in their profile, the internet otherwise."""
    if not settings.bundled_apis:
        yield {}
        return
    from pipelines.demo import serve

    latency = f"{settings.bundled_latency:.3f}s"
    with serve(latency=latency, chaos=settings.bundled_chaos, seed=settings.bundled_seed) as origin_map:
        yield origin_map
