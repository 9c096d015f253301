"""Worker processes: results, errors, deaths and endings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines import errors
from pipelines.errors import DecodeError, Interrupted, PipelineError, TransformError, WorkerDied
from pipelines.pool import Pool
from tests.processes import ended
from tests.shop import ROOT, environment


def _die_once(marker: str) -> str:
    """Kill the worker at the first call, answer at the second."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def _loaded(*names: str) -> list[str]:
    return [name for name in names if name in sys.modules]


def _refuse() -> None:
    raise DecodeError("page 3 is no JSON", "look at it")


def test_calls_return_what_the_function_returns_from_another_process() -> None:
    with Pool(2) as pool:
        pid = pool.call(os.getpid)

        assert pid in pool.pids()
        assert pid != os.getpid()


def test_k07_a_killed_worker_is_replaced_and_its_call_tried_once_more(tmp_path: Path) -> None:
    with Pool(1) as pool:
        before = pool.pids() or [pool.call(os.getpid)]

        answer = pool.call(_die_once, str(tmp_path / "marker"))

        assert answer == "done"
        assert pool.pids() != before


def test_k07_a_call_that_kills_two_workers_fails_and_says_how() -> None:
    with Pool(2) as pool:
        with pytest.raises(WorkerDied) as raised:
            pool.call(_kill_always)

        assert "SIGKILL" in raised.value.message
        assert pool.call(os.getpid) in pool.pids()


def _kill_always() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_FRAGILE = """
import pathlib

if pathlib.Path(__file__).with_name("broken").exists():
    raise ValueError("numpy.dtype size changed")
"""
_STARTS_NONE = """
import os
from pipelines.errors import WorkerDied
from pipelines.pool import Pool

with Pool(2, preload=("fragile",)) as pool:
    try:
        pool.map(os.getenv, ["HOME", "HOME"])
    except WorkerDied as error:
        print(error.message)
"""
_LOSES_ONE_AND_THEN_THE_OTHER = """
import os, pathlib, signal, time
from pipelines.errors import WorkerDied
from pipelines.pool import Pool

with Pool(2, preload=("fragile",)) as pool:
    while len(pool.pids()) < 2:
        time.sleep(0.01)
    one, other = pool.pids()
    fork_server = pool.call(os.getppid)
    pathlib.Path("broken").touch()
    os.kill(fork_server, signal.SIGKILL)
    os.kill(one, signal.SIGKILL)
    print({pool.call(os.getpid) for _ in range(4)} == {other}, pool.pids() == [other])
    os.kill(other, signal.SIGKILL)
    try:
        pool.call(os.getpid)
    except WorkerDied as error:
        print(error.message)
"""
_NONE_STARTED = "no worker process could be started: the fork server, which starts them, ended\n"


def test_where_no_worker_can_be_started_calls_fail_and_do_not_wait(tmp_path: Path) -> None:
    """What workers import raises something else than ImportError, which ends the fork server."""
    (tmp_path / "broken").touch()

    ended = _ended(tmp_path, _STARTS_NONE)

    assert ended.stdout == _NONE_STARTED
    assert "ValueError: numpy.dtype size changed" in ended.stderr


def test_where_a_worker_cannot_be_replaced_the_others_go_on(tmp_path: Path) -> None:
    """Of two workers one dies, and the fork server with it; then the other."""
    ended = _ended(tmp_path, _LOSES_ONE_AND_THEN_THE_OTHER)

    assert ended.stdout == f"True True\n{_NONE_STARTED}"


def _ended(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """What *script* said, with a module `fragile` that cannot be imported once there is a file `broken` in *folder*."""
    (folder / "fragile.py").write_text(_FRAGILE)
    env = environment(PYTHONPATH=os.pathsep.join([str(folder), str(ROOT)]))
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_an_error_of_the_function_is_raised_in_the_parent_as_it_was() -> None:
    with Pool(1) as pool, pytest.raises(DecodeError) as raised:
        pool.call(_refuse)

    assert (raised.value.message, raised.value.hint) == ("page 3 is no JSON", "look at it")


def test_an_unexpected_error_becomes_one_that_survives_the_journey() -> None:
    with Pool(1) as pool, pytest.raises(TransformError, match="ZeroDivisionError"):
        pool.call(divmod, 1, 0)


def test_a_call_that_cannot_travel_costs_no_worker() -> None:
    with Pool(1) as pool:
        with pytest.raises((AttributeError, TypeError)):
            pool.call(lambda: 1)
        with pytest.raises(TransformError, match="cannot_be_read_back"):
            pool.call(len, _Trap())

        assert pool.call(len, "worker") == 6


class _Trap:
    """Pickles, and fails where it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _spring, ("cannot_be_read_back",)


def _spring(message: str) -> None:
    raise ValueError(message)


def test_workers_import_neither_prefect_nor_the_callers_main_module() -> None:
    with Pool(1) as pool:
        assert pool.call(_loaded, "prefect", "requests", "pytest.__main__", "json") == ["json"]


_STARTS_WORKERS = """
import os, sys

changes = []
sys.addaudithook(lambda event, args: changes.append(args) if event in ("os.putenv", "os.unsetenv") else None)
from pipelines.pool import Pool, warm_up

warm_up(("pipelines.worker",))
with Pool(2) as pool:
    print(pool.call(os.getenv, "POLARS_MAX_THREADS"), pool.call(os.getenv, "ARROW_DEFAULT_MEMORY_POOL"), changes)
"""


def test_workers_are_told_to_start_no_threads_and_the_callers_environment_is_left_alone() -> None:
    """Changed beside another thread's start of a program, it had that start fail: EFAULT, "Bad address"."""
    seen = subprocess.run(
        [sys.executable, "-c", _STARTS_WORKERS], capture_output=True, text=True, check=True, timeout=60
    )

    assert seen.stdout == "1 system []\n"


def test_a_caller_that_calls_on_and_on_keeps_no_other_waiting() -> None:
    """Of one worker each of three has its turn again and again, whoever has just had it."""
    turns: list[str] = []

    begin = threading.Barrier(3)

    def call_on(name: str) -> None:
        begin.wait(10)
        for _ in range(30):
            pool.call(time.sleep, 0.005)
            turns.append(name)

    with Pool(1) as pool:
        pool.call(os.getpid)
        threads = [threading.Thread(target=call_on, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

    assert all(len(set(turns[at : at + 15])) == 3 for at in range(60))


def test_a_closed_pool_refuses_calls() -> None:
    with Pool(1) as pool:
        pool.call(os.getpid)

    with pytest.raises(Interrupted):
        pool.call(os.getpid)


def test_k08_a_killed_parent_takes_its_busy_workers_with_it() -> None:
    """Workers in the middle of a 60 s computation are gone within a second."""
    script = (
        "import threading, time, sys\n"
        "from pipelines.pool import Pool\n"
        "pool = Pool(2).__enter__()\n"
        "import os; pool.call(os.getpid)\n"
        "for _ in range(2): threading.Thread(target=pool.call, args=(time.sleep, 60), daemon=True).start()\n"
        "while len(pool.pids()) < 2: time.sleep(0.01)\n"
        "print(*pool.pids(), flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]

    parent.kill()
    parent.wait()
    parent.stdout.close()

    assert len(pids) == 2
    assert ended(pids, within_s=1)


def _error_kinds(kind: type[PipelineError] = PipelineError) -> list[type[PipelineError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _error_kinds(child))]


@pytest.mark.parametrize("kind", _error_kinds(), ids=lambda kind: kind.__name__)
def test_every_error_kind_survives_a_process_boundary(kind: type[PipelineError]) -> None:
    import pickle

    error = pickle.loads(pickle.dumps(kind("what", "next")))  # noqa: S301

    assert (type(error), str(error)) == (kind, "what\n  hint: next")
    assert errors.PipelineError in type(error).__mro__
