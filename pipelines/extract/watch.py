"""Ends exchanges that take too long, or all of them when the run stops.

A socket's own timeout counts from byte to byte: a server that drips one byte a
second would hold a thread for ever, and a stopping run would wait for it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

_LOOK_EVERY_S = 0.1
_here = threading.local()


class Exchange(Struct, eq=False):
    """One request and its answer, under way in one thread."""

    deadline: float
    sock: socket.socket | None = None
    ended: Literal["", "late", "stopped"] = ""

    def end(self, why: Literal["late", "stopped"]) -> None:
        """Let go of the socket: whoever reads from it gets an error at once."""
        self.ended = why
        if self.sock is not None:
            with contextlib.suppress(OSError):
                # the plain method: SSLSocket's would pull the rug from under the reading thread
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class Watch:
    """Knows the sockets of all exchanges of a client; one thread looks at their deadlines."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._exchanges: set[Exchange] = set()
        self._thread: threading.Thread | None = None
        self._idle = False
        self._closed = False

    @contextlib.contextmanager
    def until(self, deadline: float) -> Iterator[Exchange]:
        """Watch over what the calling thread sends and receives until *deadline*."""
        exchange = Exchange(deadline)
        with self._changed:
            self._exchanges.add(exchange)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
                self._thread.start()
            elif self._idle:
                # not for each page of a chain: threads that are woken take the lock of Python from those that fetch
                self._idle = False
                self._changed.notify()
        _here.exchange = exchange
        try:
            yield exchange
        finally:
            _here.exchange = None
            with self._changed:
                self._exchanges.discard(exchange)

    def stop(self) -> None:
        """End every exchange under way."""
        with self._changed:
            for exchange in self._exchanges:
                exchange.end("stopped")

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for exchange in self._exchanges:
                    if now > exchange.deadline and not exchange.ended:
                        exchange.end("late")
                self._idle = not self._exchanges
                self._changed.wait(None if self._idle else _LOOK_EVERY_S)


def in_use(sock: socket.socket | None) -> None:
    """Tell the exchange of the calling thread which socket it uses."""
    exchange: Exchange | None = getattr(_here, "exchange", None)
    if exchange is not None:
        exchange.sock = sock
        if exchange.ended:  # while it connected
            exchange.end(exchange.ended)
