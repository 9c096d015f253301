"""Worker processes: each does one call at a time, and none outlives its parent.

Workers come from a fork server that has the heavy imports done (fork 24 ms,
spawn 0.6 s) and no threads, so forking is safe. A worker that dies is known by
the call it held: that call is tried once more on a fresh worker.
"""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, Self, TypeVar

from msgspec import Struct

from pipelines.errors import Interrupted, WorkerDied
from pipelines.turns import Turns
from pipelines.worker_process import name_of, serve

Item = TypeVar("Item")
Result = TypeVar("Result")
PRELOAD = ("pipelines.rare_garbage", "pipelines.lean_arrow", "pipelines.worker", "pyarrow.parquet")
"""What every worker needs; pandas and Polars come with the first transform or merge that wants them."""
_STOPPED_HINT = "run again: it resumes from the pages that were already fetched"
_UNSTARTED_HINT = (
    "look at the log for what it said last, and raise the limit on processes (TasksMax, pids, ulimit -u) if that is low"
)


class Engine(Protocol):
    """Where functions over references are computed: here, or on a cluster."""

    workers: int

    def call(self, function: Callable[..., Result], *args: Any) -> Result:
        """Compute *function* of *args* in some worker and wait for it."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Compute *function* of each of *items* side by side; results in their order."""


class Elsewhere(Struct, frozen=True):
    """A function by its name, so that only the process that calls it must import what it needs."""

    module: str
    name: str

    def __call__(self, *args: Any, **named: Any) -> Any:
        """What the function gives."""
        return getattr(importlib.import_module(self.module), self.name)(*args, **named)

    @property
    def __name__(self) -> str:
        return self.name


class Pool:
    """`workers` processes on this machine; safe to call from many threads.

    Starting is left to a thread, so that workers import while the first pages
    are on their way. `preload` names modules that the fork server imports once.
    """

    def __init__(self, workers: int, *, preload: Sequence[str] = ()) -> None:
        self.workers = workers
        self._preload = list(preload)
        self._idle: Turns[_Worker | None] = Turns()
        self._all: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False
        self._hoped_for = workers
        """Workers that live, or are still to be started."""
        self._unstarted: Exception | None = None
        self._starter = threading.Thread(target=self._start, name="pool-start", daemon=True)

    def __enter__(self) -> Self:
        self._starter.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def call(self, function: Callable[..., Result], *args: Any) -> Result:
        """The result of `function(*args)`, computed in an idle worker.

        Both must pickle. An error of *function* is raised here.

        Raises:
            WorkerDied: The worker ended during the call, twice; or none is left, and no other could be started.
            Interrupted: The pool was closed meanwhile.
        """
        call = bytes(ForkingPickler.dumps((function, args)))
        for attempt in (1, 2):
            worker = self._take()
            try:
                done, value = worker.answer(call)
            except (EOFError, OSError) as error:
                self._replace(worker)
                if attempt == 2:
                    raise WorkerDied(
                        f"a worker process ended twice in {name_of(function)} ({worker.ending})",
                        "it may have run out of memory: lower THREADMILL_BATCH_SIZE or THREADMILL_WORKERS",
                    ) from error
                continue
            self._idle.put(worker)
            if done:
                return value  # type: ignore[no-any-return]  # the worker returns what the function does
            raise value
        raise AssertionError("unreachable")

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results of `function(item)` for *items*, in order, computed side by side.

        The first error, in the order of *items*, is raised when all are done.
        """
        with ThreadPoolExecutor(self.workers, thread_name_prefix="pool-map") as threads:
            return list(threads.map(lambda item: self.call(function, item), items))

    def pids(self) -> list[int]:
        """The processes that work now."""
        with self._lock:
            return [worker.pid for worker in self._all]

    def close(self) -> None:
        """End all workers, busy ones too; calls still waiting raise Interrupted. A second time it does nothing."""
        with self._lock:
            self._closed = True
            workers, self._all = self._all, []
        self._idle.put(None)
        for worker in workers:
            worker.kill()  # all of them, before one is waited for
        for worker in workers:
            worker.end()
        if self._starter.ident is not None:
            self._starter.join()

    def _start(self) -> None:
        for _ in range(self.workers):
            if not self._closed:
                self._add()

    def _add(self) -> None:
        try:
            worker = _Worker(self._preload)
        except (OSError, EOFError) as error:
            self._go_without(error)
            return
        with self._lock:
            if not self._closed:
                self._all.append(worker)
                self._idle.put(worker)
                return
        worker.end()

    def _go_without(self, error: Exception) -> None:
        """Go on with the workers that there are; once none is left, nobody shall wait for one."""
        with self._lock:
            self._hoped_for -= 1
            if self._hoped_for:
                return
            self._unstarted = error
        self._idle.put(None)

    def _take(self) -> _Worker:
        worker = self._idle.get()
        if worker is not None and not self._closed:
            return worker
        self._idle.put(None)  # the next one who waits must wake up too
        if self._unstarted is not None and not self._closed:
            message = f"no worker process could be started: {_told(self._unstarted)}"
            raise WorkerDied(message, _UNSTARTED_HINT) from self._unstarted
        raise Interrupted("the worker processes were stopped", _STOPPED_HINT)

    def _replace(self, worker: _Worker) -> None:
        with self._lock:
            closed = self._closed  # who closes the pool ends its workers, and two cannot wait for one
            if not closed:
                self._all.remove(worker)
        if closed:
            self._idle.put(None)
            raise Interrupted("the worker processes were stopped", _STOPPED_HINT)
        worker.end()
        self._add()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, preload: list[str]) -> None:
        context = _context(preload)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs,), name="threadmill-worker", daemon=True)
        with _clean_start():
            self._process.start()
        theirs.close()
        self.pid = self._process.pid or 0

    def answer(self, call: bytes) -> tuple[bool, Any]:
        self._pipe.send_bytes(call)
        done, value = self._pipe.recv()
        return bool(done), value

    @property
    def ending(self) -> str:
        self._process.join(1)
        code = self._process.exitcode
        return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self.kill()
        self._process.join()
        self._pipe.close()


def _told(error: Exception) -> str:
    gone = isinstance(error, EOFError | ConnectionError)
    return "the fork server, which starts them, ended" if gone else f"{type(error).__name__}: {error}"


def warm_up(modules: Sequence[str]) -> None:
    """Let the fork server start and import *modules* now, beside what the caller does next.

    Worth it as a program's first act: both cores import, and workers fork when
    the first pages are there. Only the first call of a process has an effect.
    Where it cannot start, the pool says so.
    """
    _context(modules)
    with _clean_start(), suppress(OSError):
        forkserver.ensure_running()


def _context(preload: Sequence[str]) -> ForkServerContext:
    """How workers start: from the fork server, which imports *preload* when it starts, with libraries of one thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipelines.one_thread", *preload])
    return context


_STARTING = threading.Lock()


@contextmanager
def _clean_start() -> Iterator[None]:
    """No main module, for what a new process inherits.

    multiprocessing has every new process import the program's main module, and
    under a Prefect deployment that is Prefect's engine: a thousand modules in
    each worker.
    """
    with _STARTING:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
