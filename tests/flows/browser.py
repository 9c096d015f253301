"""A headless Chromium on one page: what it shows, what it complains of, a picture."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from websockets.sync.client import connect

if TYPE_CHECKING:
    from websockets.sync.connection import Connection

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")


class Page:
    """The one page of a browser, spoken to in Chrome's DevTools protocol."""

    def __init__(self, socket: Connection) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self._ask(f"{domain}.enable")
        size = {"width": 1400, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self._ask("Emulation.setDeviceMetricsOverride", **size)

    def open(self, url: str, *, until: str, within_s: float = 60) -> str:
        """Go to *url* and wait until its text has *until*; the text."""
        self._ask("Page.navigate", url=url)
        deadline = time.monotonic() + within_s
        while until not in (text := self._text()):
            assert time.monotonic() < deadline, f"{until!r} is not in {url}:\n{text}\n{self.complaints}"
            time.sleep(0.1)
        return text

    def value(self, script: str) -> Any:
        """What *script* evaluates to in the page."""
        return self._ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def picture(self, path: Path) -> None:
        """Save what is seen as PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _text(self) -> str:
        return str(self.value("document.body ? document.body.innerText : ''") or "")

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (told := json.loads(self._socket.recv(timeout=60))).get("id") != number:
            self._note(told)
        return dict(told["result"])

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif event["method"] == "Runtime.consoleAPICalled" and params["type"] == "error":
            self.complaints.append(str([one.get("value") or one.get("description") for one in params["args"]]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A page of a fresh Chromium that keeps its things in *folder*."""
    command = [str(CHROMIUM), *_OPTIONS, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr
        told = next(found for line in process.stderr if (found := re.search(r"ws://(127\.0\.0\.1:\d+)/", line)))
        with urlopen(f"http://{told[1]}/json/list", timeout=30) as answer:
            pages = [one for one in json.load(answer) if one["type"] == "page"]
        with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Page(socket)
    finally:
        process.kill()
        process.communicate()
