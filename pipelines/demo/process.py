"""The bundled APIs as a process of their own that ends with its caller.

A process rather than a thread: what is measured against the bundled APIs must
not share an interpreter with them.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.demo.latency import DEFAULT_LATENCY
from pipelines.errors import HttpError

_ROOT = Path(__file__).resolve().parents[2]
_START_DEADLINE_S = 20
_END_DEADLINE_S = 5


@contextmanager
def serve(*, latency: str = DEFAULT_LATENCY, chaos: float = 0.0, seed: int = 0) -> Iterator[dict[str, str]]:
    """Serve the bundled APIs while the block runs; yields live origin -> local origin.

    *latency* is the median wait before an answer (`80ms`, `0ms` for none), *chaos*
    the share of requests that go wrong, *seed* decides which and how.

    Raises:
        HttpError: The program did not start; its own words are on standard error.
    """
    options = [f"--latency={latency}", f"--chaos={chaos}", f"--seed={seed}", "--until-eof"]
    # a session of its own: Ctrl-C reaches the caller alone, whose end is the pipe's end
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "pipelines.demo", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        start_new_session=True,
    ) as program:
        try:
            yield _origins(program)
        finally:
            _end(program)


def _origins(program: subprocess.Popen[bytes]) -> dict[str, str]:
    """The line that the program prints once it listens."""
    assert program.stdout is not None  # noqa: S101 - it was opened as a pipe
    ready, _, _ = select.select([program.stdout], [], [], _START_DEADLINE_S)
    line = program.stdout.readline() if ready else b""
    if not line:
        raise HttpError(f"the bundled APIs did not start within {_START_DEADLINE_S} s", "try: python -m pipelines.demo")
    origins: dict[str, str] = json.loads(line)
    return origins


def _end(program: subprocess.Popen[bytes]) -> None:
    program.terminate()
    try:
        program.wait(_END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        program.kill()
