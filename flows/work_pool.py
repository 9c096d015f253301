"""The process work pool that deployments of sources run in."""

from __future__ import annotations

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

from pipelines.errors import ConfigError


def make_pool(name: str) -> None:
    """Make the pool, if there is none of that *name*.

    Raises:
        ConfigError: The server does not answer.
    """
    try:
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
    except ObjectAlreadyExists:
        return
    except HTTPError as error:
        hint = "see whether PREFECT_API_URL is right and the server runs"
        raise ConfigError(f"Prefect's server does not answer ({type(error).__name__})", hint) from error
