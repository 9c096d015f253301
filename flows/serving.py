"""`threadmill serve`: one long-lived process that runs the deployments, without a work pool."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from prefect import serve
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.schedules import Schedule
from prefect.types.entrypoint import EntrypointType

from flows.automations import register_automations
from flows.deployments import ANCHOR, Deployment
from flows.sync import sync_source


def serve_until_stopped(deployed: Iterable[Deployment], *, limit: int, quiet: bool = False) -> None:
    """Register *deployed* and run what is due, at most *limit* runs at once, until a signal comes.

    Prefect lists them on standard output, unless it shall be *quiet*.
    """
    register_automations(notify=None)
    serve(*(_served(one) for one in deployed), limit=limit, print_starting_message=not quiet)


def _served(one: Deployment) -> RunnerDeployment:
    return RunnerDeployment.from_flow(
        sync_source,
        name=one.source,
        description=one.description,
        parameters=one.parameters,
        tags=one.tags,
        schedule=_schedule(one),
        concurrency_limit=ConcurrencyLimitConfig(**one.concurrency),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


def _schedule(one: Deployment) -> Schedule | None:
    if one.schedule is None:
        return None
    interval = one.schedule.interval
    return Schedule(
        cron=one.schedule.cron,
        interval=timedelta(seconds=interval) if interval else None,
        rrule=one.schedule.rrule,
        timezone=one.schedule.timezone,
        anchor_date=datetime.fromisoformat(ANCHOR),
    )
