"""Prefect's API in a process of its own, for as long as one command runs.

Prefect would start one by itself, in the middle of the first flow run, after
importing its server into our process as well (4 s), and end it before the last
task runs are recorded. Here it starts before Prefect is even imported, on a port
that nobody else can take, and its log goes to a file. Nothing here imports Prefect.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

_APPLICATION = "prefect.server.api.server:create_app"
_EPHEMERAL = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
_ENDING_S = 5.0


@contextmanager
def embedded_api(environ: MutableMapping[str, str], home: Path) -> Iterator[bool]:
    """Set `PREFECT_API_URL` to an API that lives until the block ends; say whether one was started.

    None is started where *environ* or a profile of its PREFECT_HOME names a server.
    Without a PREFECT_HOME, *home* is it: a user's own profile and database are not
    touched. To be called before Prefect is imported, which reads its settings then.
    The first request waits until the API is ready: 5 s, and 8 s more where its
    database must be made.
    """
    environ.setdefault("PREFECT_HOME", str(home.resolve()))
    if names_server(environ):
        yield False
        return
    folder = Path(environ["PREFECT_HOME"])
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    process, url = _start(environ, folder / "embedded-api.log")
    environ["PREFECT_API_URL"] = url
    try:
        yield True
    finally:
        del environ["PREFECT_API_URL"]
        _end(process)


def names_server(environ: MutableMapping[str, str]) -> bool:
    """Whether a Prefect server was chosen: in *environ*, or in a profile of its PREFECT_HOME."""
    if environ.get("PREFECT_API_URL"):
        return True
    profiles = Path(environ["PREFECT_HOME"]) / "profiles.toml"
    if not profiles.is_file():
        return False
    told = tomllib.loads(profiles.read_text(encoding="utf-8"))
    active = environ.get("PREFECT_PROFILE") or told.get("active", "")
    return bool(told.get("profiles", {}).get(active, {}).get("PREFECT_API_URL"))


def _start(environ: MutableMapping[str, str], log: Path) -> tuple[subprocess.Popen[bytes], str]:
    # the socket listens before the process exists: no port is guessed, and the first request waits in its queue
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log.open("wb") as output:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        process = subprocess.Popen(  # noqa: S603  # our own interpreter and words
            [sys.executable, "-m", "flows.embedded", str(descriptor)],
            env={**os.environ, **environ, **_EPHEMERAL},
            pass_fds=[descriptor],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C at the terminal is ours to handle: the API must hear how the run ended
        )
    return process, f"http://127.0.0.1:{port}/api"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    if process.stdin:
        process.stdin.close()
    try:
        process.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(descriptor: int) -> None:
    """The life of the API's process: it answers on the socket until the one who started it is gone."""
    import uvicorn

    threading.Thread(target=_leash, daemon=True).start()
    uvicorn.run(_APPLICATION, factory=True, fd=descriptor, log_level="error", lifespan="on")


def _leash() -> None:
    sys.stdin.buffer.read()  # a pipe that nobody writes to: it ends when the process at its other end does
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
