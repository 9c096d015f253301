"""Clusters of real processes on loopback, and a project that runs on them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.load.lake import Lake
from tests.processes import alive, children, eventually
from tests.shop import Shop, environment

_TRANSFORM = '''\
"""A transform that tells which process has the first batch, and keeps it there until that process is gone."""
import os, threading
from pathlib import Path

def held(frame):
    first = Path("{folder}/first")
    try:
        first.with_name("aside").write_text(str(os.getpid()))
        os.link(first.with_name("aside"), first)
    except FileExistsError:
        return frame
    threading.Event().wait()
'''


@dataclass
class DaskCluster:
    """A scheduler and its workers, each a process of its own."""

    folder: Path
    address: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def worker(self) -> None:
        """Start one more worker."""
        number = len(self.processes)
        place = ("--local-directory", str(self.folder / f"worker-{number}"))
        lean = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
        self.processes.append(_python(self.folder, "distributed.cli.dask_worker", self.address, *lean, *place))


@contextmanager
def dask_cluster(folder: Path, *, workers: int) -> Iterator[DaskCluster]:
    """A Dask scheduler on 127.0.0.1 with *workers* workers."""
    told = folder / "scheduler.json"
    arguments = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
    scheduler = _python(folder, "distributed.cli.dask_scheduler", *arguments)
    cluster = DaskCluster(folder, "", [scheduler])
    try:
        eventually(lambda: told.is_file() and told.read_text().endswith("}"))
        cluster.address = json.loads(told.read_text())["address"]
        for _ in range(workers):
            cluster.worker()
        yield cluster
    finally:
        for process in cluster.processes:
            process.kill()
            process.wait()


@contextmanager
def ray_cluster(folder: Path) -> Iterator[str]:
    """The address of a Ray head on 127.0.0.2, with a second node on 127.0.0.3.

    127.0.0.1 would not do: Ray takes it for another name of the machine.
    """
    log = folder / "log"
    with socket.create_server(("127.0.0.2", 0)) as free:
        address = f"127.0.0.2:{free.getsockname()[1]}"
    started: list[subprocess.Popen[bytes]] = []
    place = tempfile.mkdtemp(prefix="ray-")  # a short path: it goes into the names of sockets
    try:
        head = ("--head", "--port", address.rpartition(":")[2], "--include-dashboard", "false", "--temp-dir", place)
        for number, role in ((2, head), (3, ("--address", address))):
            started.append(_ray(folder, f"127.0.0.{number}", *role))
            eventually(lambda: log.read_bytes().count(b"Ray runtime started") == len(started), within_s=120)
        yield address
    finally:
        pids = [pid for process in started for pid in (*children(process.pid), process.pid)]
        for pid in alive(pids):
            os.kill(pid, signal.SIGKILL)
        for process in started:
            process.wait()
        shutil.rmtree(place, ignore_errors=True)


def _ray(folder: Path, host: str, *role: str) -> subprocess.Popen[bytes]:
    lean = ("--num-cpus", "1", "--object-store-memory", "100000000", "--disable-usage-stats")
    return _python(folder, "ray.scripts.scripts", "start", "--block", "--node-ip-address", host, *lean, *role)


def _python(folder: Path, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env=environment(DASK_DISTRIBUTED__WORKER__DAEMON="false"),
            stdout=log,
            stderr=log,
        )


def hold_first_batch(shop: Shop) -> Path:
    """Let the first batch of events stay in its worker until that is killed; the file that will say which."""
    (shop.folder / "transforms").mkdir()
    (shop.folder / "transforms" / "shop.py").write_text(_TRANSFORM.format(folder=shop.folder))
    shop.edit("settings.toml", "workers = 2\n", f'transforms = "{shop.folder}/transforms"\n')
    shop.edit("shop.yaml", "  events:\n", "  events:\n    transform: shop:held\n")
    return shop.folder / "first"


def kill_holder(told: Path, is_over: Callable[[], bool], *, outcome: Callable[[], object]) -> int:
    """SIGKILL for the process that has the first batch; the *outcome* of a run that is over before is shown."""
    eventually(lambda: told.exists() or is_over())
    assert told.exists(), outcome()
    pid = int(told.read_text())
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive([pid]))
    return pid


def committed(data: Path, source: str) -> tuple[dict[str, object], dict[str, int]]:
    """Watermarks and rows of each dataset as the newest commit has them."""
    head = Lake(data, source).head()
    assert head is not None
    datasets = head.datasets.items()
    return {name: one.state for name, one in datasets}, {name: one.rows for name, one in datasets}
