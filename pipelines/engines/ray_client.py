"""A Ray cluster that is running: calls go to its nodes as tasks of one CPU each."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pipelines.errors import ConfigError, WorkerDied

# Ray prints what its nodes say on standard output, where `--json` belongs; it asks when it is imported
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Result = TypeVar("Result")
_RAY: Any = ray  # not all of it has types
_TRIES_AGAIN = 3
_LOOK_S = 60


class RayClient:
    """Asks the cluster at *address*; this machine must be one of its nodes."""

    def __init__(self, address: str) -> None:
        self.name, self._ours = f"ray cluster at {address}", not ray.is_initialized()
        if self._ours:
            try:
                with _signals_kept():
                    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError, ValueError, SystemExit) as error:
                hint = "is this machine a node of it? Else start one here with `ray start --address`"
                raise ConfigError(f"no ray cluster at {address}: {error}", hint) from error
        self._compute: Any = ray.remote(num_cpus=1, max_retries=_TRIES_AGAIN)(_called)

    def slots(self) -> int:
        """The CPUs of all nodes."""
        return int(_RAY.cluster_resources().get("CPU", 0))

    def everywhere(self, function: Callable[..., Result], *args: Any) -> list[Result]:
        """Once on each node that has CPUs."""
        nodes = [node["NodeID"] for node in _RAY.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        there = [NodeAffinitySchedulingStrategy(node_id=node, soft=False) for node in nodes]
        calls = [self._compute.options(num_cpus=0, scheduling_strategy=one).remote(function, *args) for one in there]
        try:
            found: list[Result] = ray.get(calls, timeout=_LOOK_S)
        except (exceptions.RayError, ImportError) as error:
            told = str(error).strip().splitlines()
            hint = "install threadmill there as here, and restart the nodes"
            raise ConfigError(
                f"a node of the {self.name} cannot compute: {told[-1] if told else error!r}", hint
            ) from error
        return found

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """A reference to what will come of it."""
        return self._compute.remote(function, *args)

    def result(self, call: Any, timeout_s: float) -> Any:
        """What came of *call*."""
        try:
            return ray.get(call, timeout=timeout_s)
        except exceptions.GetTimeoutError:
            raise TimeoutError from None
        except exceptions.RayError as error:
            hint = "workers may have run out of memory: lower THREADMILL_BATCH_SIZE"
            raise WorkerDied(f"{self.name}: {type(error).__name__}: {_last_line(error)}", hint) from error

    def cancel(self, call: Any) -> None:
        """End *call*, and its worker if it has begun."""
        if ray.is_initialized():
            ray.cancel(call, force=True)

    def close(self) -> None:
        """Disconnect, unless the caller was connected before."""
        if self._ours:
            with _signals_kept():
                ray.shutdown()


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no more is known"])[-1]


def _called(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray takes SIGTERM for itself; a run that is asked to stop has its own way to end."""
    mine = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if mine else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
