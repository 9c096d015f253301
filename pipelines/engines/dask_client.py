"""A Dask scheduler that is running: calls go to its workers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import distributed

from pipelines.errors import ConfigError, WorkerDied

Result = TypeVar("Result")
_CLIENT: Any = distributed.Client  # its methods have no types
_CONNECT_S = 20
_WORKERS_S = 30


class DaskClient:
    """Asks the scheduler at *address*; TLS comes from Dask's own configuration."""

    def __init__(self, address: str) -> None:
        self.name = f"dask cluster at {address}"
        try:
            self._client: Any = _CLIENT(address, set_as_default=False, timeout=_CONNECT_S, name="threadmill")
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(f"no dask scheduler at {address}: {error}", "correct `engine_address`") from error
        try:
            self._client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError as error:
            self._client.close()
            raise ConfigError(f"the {self.name} has no workers", "start `dask worker`s, then run again") from error

    def slots(self) -> int:
        """The threads of all workers."""
        return sum(worker["nthreads"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values())

    def everywhere(self, function: Callable[..., Result], *args: Any) -> list[Result]:
        """Once on each worker."""
        try:
            return list(self._client.run(function, *args).values())
        except ImportError as error:
            hint = "install threadmill there as here, and restart the workers"
            raise ConfigError(f"a worker of the {self.name} lacks a module: {error}", hint) from error

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """A future; a name of its own keeps the scheduler from taking two calls for one."""
        return self._client.submit(function, *args, key=f"threadmill-{uuid.uuid4().hex}", pure=False)

    def result(self, call: Any, timeout_s: float) -> Any:
        """What came of the future *call*.

        Raises:
            TimeoutError: Nothing has yet.
        """
        try:
            return call.result(timeout=timeout_s)
        except UnboundLocalError as error:
            if call.status == "error":
                raise
            # of `distributed.utils.sync`, where limit and result came at one moment: it is there to be asked for
            raise TimeoutError from error
        except distributed.KilledWorker as error:
            raise WorkerDied(
                f"{error.last_worker.address}: several workers ended in one call, one after the other",
                "they may have run out of memory: lower THREADMILL_BATCH_SIZE",
            ) from error
        except (CancelledError, distributed.client.FutureCancelledError) as error:
            raise WorkerDied(
                f"the {self.name} forgot a call: {error}", "is the scheduler running? Run again"
            ) from error
        except ImportError as error:
            raise ConfigError(f"a worker lacks a module: {error}", "install the same version there") from error

    def cancel(self, call: Any) -> None:
        """Let the scheduler forget *call*."""
        call.release()

    def close(self) -> None:
        """Disconnect; calls that nobody waits for are forgotten."""
        self._client.close(timeout=2)
