"""How an engine leaves its cluster: not before every call has let go of the client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pipelines.engines.cluster import Cluster
from pipelines.errors import Interrupted

Result = TypeVar("Result")


class NeverAnswering:
    """A client whose calls take for ever; it knows who is asking it while it is being left."""

    name = "cluster that never answers"

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        self.asking_when_left = -1
        self._asking = 0

    def slots(self) -> int:
        """Two."""
        return 2

    def everywhere(self, function: Callable[..., Result], *args: Any) -> list[Result]:
        """On one worker, here."""
        return [function(*args)]

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        """A call that nothing comes of."""
        return object()

    def result(self, call: Any, timeout_s: float) -> Any:
        """Nothing, once it may go."""
        self._asking += 1
        self.asked.set()
        self.released.wait()
        self._asking -= 1
        raise TimeoutError

    def cancel(self, call: Any) -> None:
        """Nothing to end."""

    def close(self) -> None:
        """Note who is asking."""
        self.asking_when_left = self._asking


def test_a_cluster_is_left_only_when_no_call_asks_it_any_more(tmp_path: Path) -> None:
    """A Ray client that is left while another thread asks it ends the process, with exit code 0."""
    client = NeverAnswering()
    engine = Cluster(client, workers=1, shared=tmp_path)

    with ThreadPoolExecutor(2) as threads:
        call = threads.submit(engine.call, len, "abc")
        client.asked.wait()
        closed = threads.submit(engine.close)
        too_early = wait([closed], timeout=0.2).done
        client.released.set()
        closed.result()
        with pytest.raises(Interrupted):
            call.result()

    assert not too_early
    assert client.asking_when_left == 0
