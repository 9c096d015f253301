"""The flows: `sync` brings all sources up to date in one flow run, `sync_source` one, for its deployment.

`make run` is `python -m flows`; `python -m flows.sync` is the same, two seconds slower.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State  # noqa: TC002  # Prefect resolves a flow's annotations
from pydantic import PositiveFloat  # noqa: TC002  # Prefect resolves a flow's annotations

from flows.bringing import Assignment, OnProblem, bring

RETRIES = 2
RETRY_DELAY_S = 60


@flow(name="sync", flow_run_name="sync", persist_result=False)
def sync(
    sources: list[str] | None = None, *, profile: str | None = None, marts: bool = True, on_problem: OnProblem = "fail"
) -> State[Any]:
    """Bring *sources* (all by default) up to date side by side, then the marts.

    One failed resource stops no other: what is whole is committed. With problems
    the flow run ends Failed; with `on_problem="warn"` Completed, named Incomplete.
    """
    only = tuple(sources) if sources else None
    return bring(Assignment(only, profile=profile, marts=marts), on_problem=on_problem, key="sync")


@flow(
    name="sync-source",
    flow_run_name="sync {source}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_S,
    persist_result=False,
)
def sync_source(  # noqa: PLR0913  # what a person may choose in Prefect's form
    source: str,
    *,
    start: str | None = None,
    end: str | None = None,
    full_refresh: bool = False,
    profile: str | None = None,
    marts: bool = True,
    on_problem: OnProblem = "fail",
    timeout_minutes: PositiveFloat | None = None,
) -> State[Any]:
    """Bring one source up to date, then the marts that are made from it.

    A retry resumes: pages that were fetched are not fetched again.

    Args:
        source: The name of a file in config/, without .yaml.
        start: Read a span of time again, from here (a day, an instant, a number); the watermark stays.
        end: Where that span ends.
        full_refresh: Read everything again, from `incremental: {start: ...}` on. No row is stored twice.
        profile: Which [profiles] table of settings.toml applies.
        marts: Make the marts afterwards.
        on_problem: With `warn`, a run with problems ends Completed, named Incomplete.
        timeout_minutes: Stop after so long; what was fetched is kept for the next run.
    """
    assignment = Assignment(
        (source,),
        profile=profile,
        marts=marts,
        start=start,
        end=end,
        full_refresh=full_refresh,
        timeout_s=timeout_minutes * 60 if timeout_minutes else None,
    )
    return bring(assignment, on_problem=on_problem, key=f"sync-{source}")


if __name__ == "__main__":
    # Prefect read its settings when it was imported above; the command must choose its API before that
    os.execv(sys.executable, [sys.executable, "-m", "flows", *sys.argv[1:]])  # noqa: S606  # our own interpreter
