"""Measures whole processes: wall time, CPU and memory of all that a command starts.

Each command runs under a small process of its own, `python -m benchmarks.measure`,
which adopts what the command leaves behind: CPU seconds are those that the kernel
has counted for every descendant, a fork server's workers included.

Memory is the proportional share (PSS), summed over the tree. Reading it holds up
the processes that are read, so it is done in rounds apart from those that are timed.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

SAMPLE_S = 0.02
SHARE = 3
"""A sample is followed by a pause of at least so many times its own length."""
_ROOT = Path(__file__).parent.parent
_PARENT_DEATH_SIGNAL, _SUBREAPER = 1, 36
_LEFTOVERS_S = 10


@dataclass(frozen=True)
class Figures:
    """What one run of a command took; `peak_mb` is 0 where memory was not sampled."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    samples: int
    exit_code: int


class RunFailed(Exception):
    """A measured command ended badly; the message holds the end of what it wrote."""


def measure(
    command: Sequence[str], *, env: Mapping[str, str], folder: Path, timeout_s: float, memory: bool = False
) -> Figures:
    """Run *command* in *folder* from start to exit; what it prints goes to `FOLDER.log` beside.

    Raises:
        RunFailed: It exited with an error or was still running after *timeout_s*, and was then ended.
    """
    log = folder.parent / f"{folder.name}.log"
    runner = [sys.executable, "-m", "benchmarks.measure", str(folder), str(log), str(timeout_s), str(int(memory))]
    process = subprocess.Popen([*runner, *command], env=dict(env), cwd=_ROOT, stdout=subprocess.PIPE)
    try:
        printed, _ = process.communicate(timeout=timeout_s + 2 * _LEFTOVERS_S)
    finally:
        process.terminate()
    figures = Figures(**json.loads(printed))
    if figures.exit_code != 0:
        ending = log.read_text(errors="replace")[-2_000:]
        raise RunFailed(f"{' '.join(command)}: exit code {figures.exit_code}\n{ending}")
    return figures


def run(command: Sequence[str], *, folder: Path, log: Path, timeout_s: float, memory: bool) -> Figures:
    """What `measure` does, in the process that adopts orphans; call it once in a process."""
    tree = Tree(os.getpid())

    def give_up(*_: object) -> None:
        _end_leftovers(tree, at_once=True)
        sys.exit(1)

    signal.signal(signal.SIGTERM, give_up)
    prctl = ctypes.CDLL(None).prctl
    prctl(_SUBREAPER, 1, 0, 0, 0)
    prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        with _exit_of(process) as exited:
            peak_kb, samples = _sample(tree, exited, timeout_s) if memory else (0, 0)
            if not memory:
                exited.poll(timeout_s * 1000)
        wall_s = time.perf_counter() - started
    exit_code = process.poll()
    _end_leftovers(tree, at_once=exit_code is None)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = exit_code if exit_code is not None else -signal.SIGKILL
    return Figures(wall_s, used.ru_utime + used.ru_stime, peak_kb * 1024 / 1e6, samples, code)


@contextmanager
def _exit_of(process: subprocess.Popen[bytes]) -> Iterator[select.poll]:
    """Something that can be waited on until *process* ends."""
    handle = os.pidfd_open(process.pid)
    exited = select.poll()
    exited.register(handle, select.POLLIN)
    try:
        yield exited
    finally:
        os.close(handle)


def _sample(tree: Tree, exited: select.poll, timeout_s: float) -> tuple[int, int]:
    """The highest sum of PSS in kB until the command ends, and of how many samples."""
    peak, samples, deadline = 0, 0, time.perf_counter() + timeout_s
    pause_s = 0.0
    while not exited.poll(pause_s * 1000) and time.perf_counter() < deadline:
        before = time.perf_counter()
        peak, samples = max(peak, tree.pss_kb()), samples + 1
        pause_s = max(SAMPLE_S, SHARE * (time.perf_counter() - before))
    return peak, samples


def _end_leftovers(tree: Tree, *, at_once: bool) -> None:
    """Wait for what the command has left running; end it after 10 s, or now."""
    deadline = time.monotonic() + (0 if at_once else _LEFTOVERS_S)
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        if time.monotonic() > deadline:
            for left in tree.pids():
                _kill(left)
        time.sleep(0.01)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Tree:
    """The descendants of a process, itself not among them."""

    def __init__(self, root: int) -> None:
        self.root = root

    def pids(self) -> list[int]:
        """Those that run now, parents before their children."""
        found: list[int] = []
        waiting = [self.root]
        while waiting:
            children = list(_children(waiting.pop()))
            found += children
            waiting += children
        return found

    def pss_kb(self) -> int:
        """Memory of all of them; a page that several share counts once."""
        return sum(map(pss_kb, self.pids()))


def _children(pid: int) -> Iterator[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        with suppress(OSError):  # it has just ended
            yield from map(int, (thread / "children").read_text().split())


def pss_kb(pid: int) -> int:
    """The proportional share of one process; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Pss:")), 0)
    except OSError:
        return 0


def main() -> None:
    """Measure FOLDER LOG TIMEOUT_S MEMORY COMMAND...; print the figures as JSON."""
    folder, log, timeout_s, memory, *command = sys.argv[1:]
    figures = run(command, folder=Path(folder), log=Path(log), timeout_s=float(timeout_s), memory=memory == "1")
    print(json.dumps(asdict(figures)))


if __name__ == "__main__":
    main()
