"""The program that serves the bundled APIs: one port of 127.0.0.1 for each live origin."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys

import uvicorn

from pipelines.demo.app import APIS, ByPort, bundled

_HOST = "127.0.0.1"
_KEEP_ALIVE_S = 75


def run(*, latency_s: float, chaos: float, seed: int, until_eof: bool) -> None:
    """Print the map of origins as one line of JSON, then serve until a signal (or the end of standard input)."""
    listeners = {origin: _listener() for origin in APIS}
    ports = {origin: int(listener.getsockname()[1]) for origin, listener in listeners.items()}
    app = ByPort({ports[origin]: bundled(origin, latency_s=latency_s, chaos=chaos, seed=seed) for origin in APIS})
    # the kernel queues connections from here on, so that the line is true before the loop runs
    print(json.dumps({origin: f"http://{_HOST}:{port}" for origin, port in ports.items()}), flush=True)  # noqa: T201 - its output
    asyncio.run(_serve(app, list(listeners.values()), until_eof=until_eof))


def _listener() -> socket.socket:
    listener = socket.create_server((_HOST, 0))
    # inherited by its connections; without it an answer waits 40 ms for the acknowledgement of its headers
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _serve(app: ByPort, listeners: list[socket.socket], *, until_eof: bool) -> None:
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    if until_eof:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _watch, server)
    await server.serve(sockets=listeners)


def _watch(server: uvicorn.Server) -> None:
    """End the server once standard input, held open by the caller, has ended."""
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        server.should_exit = server.force_exit = True
