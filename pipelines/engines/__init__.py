"""Clusters that exist already, as an engine: `engine: dask | ray` in the settings.

The clients of Dask and Ray are used directly. Their Prefect task runners make a
Prefect task run of every call, so API calls would grow with batches, and they
would bind `threadmill run`, which needs no Prefect, to it.

    cluster.py      what both have in common: an engine that survives dead workers
    remote.py       what runs on a worker of the cluster
    dask_client.py, ray_client.py    how each of them is asked
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from pipelines.engines.cluster import Client, Cluster
from pipelines.errors import ConfigError

Kind = Literal["dask", "ray"]
_KNOCK_S = 5.0
_PACKAGES = {"dask": "distributed", "ray": "ray"}
_EXAMPLES = {"dask": "tcp://10.0.0.5:8786", "ray": "10.0.0.5:6379"}


def connect(kind: Kind, address: str, *, workers: int | None, shared: Path, transforms: Path | None) -> Cluster:
    """The cluster at *address*, looked over: each worker has this code and sees the folder *shared*.

    *workers* limits how many calls are under way; None leaves that to the cluster.

    Raises:
        ConfigError: There is no such cluster, its client is not installed, or a worker does not fit.
    """
    _knock(kind, address)
    cluster = Cluster(_client(kind, address), workers=workers, shared=shared)
    try:
        cluster.look_over(transforms)
    except BaseException:
        cluster.close()
        raise
    return cluster


def _client(kind: Kind, address: str) -> Client:
    try:
        if kind == "dask":
            from pipelines.engines.dask_client import DaskClient

            return DaskClient(address)
        from pipelines.engines.ray_client import RayClient

        return RayClient(address)
    except ImportError as error:
        raise ConfigError(
            f"the engine {kind} needs a package: {error}", f"`pip install {_PACKAGES[kind]}`, here and on each worker"
        ) from error


def _knock(kind: Kind, address: str) -> None:
    """Whether anybody answers there at all: the clients themselves wait for up to two minutes."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"engine_address: {address!r} is no address of a {kind} cluster",
            f"write it as {_EXAMPLES[kind]}, in config/settings.toml or THREADMILL_ENGINE_ADDRESS",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()
    except OSError as error:
        raise ConfigError(
            f"engine_address: no {kind} cluster answers at {address}: {error.strerror or error}",
            "start it, correct the address, or set `engine` to processes",
        ) from error
