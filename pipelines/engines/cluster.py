"""An engine whose workers are elsewhere: on a cluster that others started.

A call whose worker dies is made again on another one, by the cluster. That gives
no row twice: files are written under names of their own, only those that a call
returns are committed, and the next run sweeps up the rest.
"""

from __future__ import annotations

import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from msgspec.structs import replace

from pipelines.engines.remote import LOADED, TRANSFORMS, Answer, Look, compute, fingerprint, look, versions
from pipelines.errors import ConfigError, Interrupted, PipelineError, WorkerDied
from pipelines.load.disk import DISK, store_errors
from pipelines.milled import Milled

Item = TypeVar("Item")
Result = TypeVar("Result")
_LOOK_EVERY_S = 0.2
_COUNT_EVERY_S = 5.0
_MOST_CALLS = 256
_LEAVING_S = 10.0


class Client(Protocol):
    """What a cluster is asked for, and how."""

    name: str

    def slots(self) -> int:
        """How many calls its workers can do at a time; 0 when none is left."""

    def everywhere(self, function: Callable[..., Result], *args: Any) -> list[Result]:
        """Compute *function* of *args* once on each worker, or on each machine."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """Begin a call; what it gives is for `result` and `cancel`."""

    def result(self, call: Any, timeout_s: float) -> Any:
        """What came of *call*; TimeoutError while it is under way, WorkerDied if it cannot be done."""

    def cancel(self, call: Any) -> None:
        """Nobody waits for *call* any more."""

    def close(self) -> None:
        """Leave the cluster; it goes on for others."""


class Cluster:
    """The workers of a cluster as an engine; safe to call from many threads.

    *shared* is the data folder, which all of them see. A cluster that has no
    worker left is waited for, but no longer than *patience_s*.
    """

    def __init__(self, client: Client, *, workers: int | None, shared: Path, patience_s: float = 60.0) -> None:
        self.workers = min(workers or _MOST_CALLS, max(client.slots(), 1), _MOST_CALLS)
        self._client, self._shared, self._patience_s = client, shared, patience_s
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._fewer = threading.Condition(self._lock)
        self._under_way = 0
        self._lanes: dict[tuple[str, int, int], int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def call(self, function: Callable[..., Result], *args: Any) -> Result:
        """The result of `function(*args)`, computed by some worker.

        Raises:
            WorkerDied: Several workers ended during the call, or none is left.
            Interrupted: The engine was closed meanwhile.
        """
        packed = pickle.dumps((function, args))
        with store_errors("flushing the page spool"):
            DISK.sync_all(self._shared)  # a worker on another machine reads what is named in the call
        call = self._begun(packed)
        try:
            answer = self._answer(call)
        finally:
            with self._lock:
                self._under_way -= 1
                self._fewer.notify_all()
        if not answer.done:
            raise answer.value
        return self._here(answer)  # type: ignore[no-any-return]  # the worker returns what the function does

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results of `function(item)` for *items*, in order, computed side by side."""
        with ThreadPoolExecutor(self.workers, thread_name_prefix="cluster-map") as threads:
            return list(threads.map(lambda item: self.call(function, item), items))

    def close(self) -> None:
        """Leave the cluster; calls still waiting raise Interrupted. A second time it does nothing."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            # a Ray client that is left while another thread asks it ends the process, with exit code 0
            self._fewer.wait_for(lambda: not self._under_way, _LEAVING_S)
        self._client.close()

    def look_over(self, transforms: Path | None) -> None:
        """Let each worker show that it has this code and sees the data folder.

        Raises:
            ConfigError: One has or does not; the message says which, and what.
        """
        token = f".engine-{uuid.uuid4().hex}"
        said = uuid.uuid4().hex
        with store_errors("preparing the data folder"):
            (self._shared / token).write_text(said, encoding="utf-8")
            DISK.sync_all(self._shared)
        try:
            found = self._client.everywhere(look, self._shared, token, transforms)
            if not found:
                raise ConfigError(f"the {self._client.name} has no workers", "start some, then run again")
            for one in found:
                self._refuse_other(one, said, transforms)
        finally:
            for path in self._shared.glob(f"{token}*"):
                path.unlink(missing_ok=True)

    def _refuse_other(self, one: Look, said: str, transforms: Path | None) -> None:
        where = f"the worker {one.host}, process {one.pid},"
        ours = versions()
        other = [
            f"{name} {one.versions[name]} instead of {ours[name]}" for name in ours if one.versions[name] != ours[name]
        ]
        if one.code != LOADED:
            other.append("other code of threadmill")
        if other:
            hint = "install the same versions there and restart the workers of the cluster"
            raise ConfigError(f"{where} has {', '.join(other)}", hint)
        if one.said != said or not Path(one.mark).is_file():
            why = "it wrote, but nothing arrived here" if one.said == said else one.said
            raise ConfigError(
                f"{where} does not share the data folder {self._shared}: {why}",
                "set THREADMILL_DATA to a folder that every machine mounts at the same path and may write to",
            )
        if one.transforms != fingerprint(transforms or TRANSFORMS):
            hint = "put the same files there, or set THREADMILL_TRANSFORMS to a folder that all share"
            raise ConfigError(f"{where} has other transforms than {transforms or TRANSFORMS}", hint)

    def _begun(self, packed: bytes) -> Any:
        with self._lock:  # a client that was closed in between would be asked for what it cannot do
            if self._closed.is_set():
                raise _interrupted()
            call = self._client.submit(compute, LOADED, self._shared, packed)
            self._under_way += 1
            return call

    def _answer(self, call: Any) -> Answer:
        counted, without_since = time.monotonic(), None
        while not self._closed.is_set():
            try:
                answer: Answer = self._client.result(call, _LOOK_EVERY_S)
                return answer
            except TimeoutError:
                pass
            except PipelineError:
                if self._closed.is_set():
                    break
                raise
            if (now := time.monotonic()) - counted < min(_COUNT_EVERY_S, self._patience_s):
                continue
            counted = now
            without_since = None if self._client.slots() else without_since or now
            if without_since and now - without_since >= self._patience_s:
                self._client.cancel(call)
                hint = "start workers, then run again: it resumes from the pages that were already fetched"
                raise WorkerDied(f"the {self._client.name} has had no workers for {self._patience_s:g} s", hint)
        self._client.cancel(call)
        raise _interrupted()

    def _here(self, answer: Answer) -> Any:
        """What a listener may be told: clocks of other machines mean nothing here, and process ids may meet."""
        if not isinstance(answer.value, Milled):
            return answer.value
        with self._lock:
            lane = self._lanes.setdefault(answer.where, len(self._lanes) + 1)
        return replace(answer.value, began=time.monotonic() - answer.value.wall_s, pid=lane)


def _interrupted() -> Interrupted:
    return Interrupted("the engine was stopped", "run again: it resumes from the pages that were already fetched")
