"""One server of the bundled APIs for the tests of their shapes: no waits, no faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import requests

from pipelines.demo import serve


@pytest.fixture(scope="session")
def ask() -> Iterator[Callable[..., requests.Response]]:
    """`ask(url, **headers)`: ask a live URL; the bundled API of its origin answers."""
    with serve(latency="0ms") as origins, requests.Session() as session:

        def answer(url: str, **headers: str) -> requests.Response:
            parts = urlsplit(url)
            origin = f"{parts.scheme}://{parts.netloc}"
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return session.get(origins[origin] + url.removeprefix(origin), headers=named, timeout=30)

        yield answer
