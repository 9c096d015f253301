"""A real browser without a window, driven over a pipe: what a page complains of, loads and looks like."""

from __future__ import annotations

import base64
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PROGRAM = next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab; `complaints` are lines of its console, each after its level, `asked` every address that was loaded."""

    def __init__(self, commands: int, answers: int) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._commands, self._answers = os.fdopen(commands, "wb"), os.fdopen(answers, "rb")
        self._numbers = itertools.count(1)
        self._session = ""
        self._waiting = b""
        self._loaded = False
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def show(self, page: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Open the file *page* and wait until it is there."""
        self._resize(width, 900)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self._call("Page.navigate", url=page.resolve().as_uri())
        while not self._loaded:
            self._hear()

    def open(self, url: str, *, until: str, within_s: float = 60) -> str:
        """Go to *url* and wait until its text has *until*; the text."""
        self._resize(1400, 1000)
        self._call("Page.navigate", url=url)
        deadline = time.monotonic() + within_s
        while until not in (text := str(self.value("document.body ? document.body.innerText : ''") or "")):
            assert time.monotonic() < deadline, f"{until!r} is not in {url}:\n{text}\n{self.complaints}"
            time.sleep(0.1)
        return text

    def value(self, script: str) -> Any:
        """What *script* evaluates to in the page."""
        return self._call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def drawn(self) -> int:
        """How many charts the page has, once all of them are drawn."""
        script = "(async () => { await last; return document.querySelectorAll('figure.drawn svg').length })()"
        return int(
            self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)["result"]["value"]
        )

    def point(self, x: float, y: float) -> None:
        """Move the mouse there."""
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at *start*, move it to *end*, let go."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def picture(self) -> bytes:
        """The whole page as PNG."""
        told = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(told["data"])

    def close(self) -> None:
        """End the pipe, and with it the browser."""
        self._commands.close()
        self._answers.close()

    def _resize(self, width: int, height: int) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", **screen)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        session = {"sessionId": self._session} if self._session else {}
        self._commands.write(orjson.dumps({"id": number, "method": method, "params": params, **session}) + b"\0")
        self._commands.flush()
        while (told := self._hear()).get("id") != number:
            pass
        assert "error" not in told, told
        return dict(told["result"])

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._waiting:
            read = self._answers.read1(1 << 20)
            assert read, "the browser has ended"
            self._waiting += read
        raw, _, self._waiting = self._waiting.partition(b"\0")
        told: dict[str, Any] = orjson.loads(raw)
        params = told.get("params", {})
        match told.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case "Log.entryAdded" if (entry := params["entry"])["level"] in ("error", "warning"):
                self.complaints.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}")
            case "Runtime.consoleAPICalled":
                self.complaints.append(f"{params['type']}: {params['args']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(f"error: {params['exceptionDetails']}")
        return told


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser that keeps its things in *profile*; the test is skipped where there is none."""
    if PROGRAM is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)}")
    ours, theirs = os.pipe(), os.pipe()
    # it reads its commands from descriptor 3 and answers on 4
    launch = (
        f"import os; os.dup2({ours[0]}, 13); os.dup2({theirs[1]}, 14); os.dup2(13, 3); os.dup2(14, 4); "
        "os.set_inheritable(3, True); os.set_inheritable(4, True); import sys; os.execv(sys.argv[1], sys.argv[1:])"
    )
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={profile}")  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", launch, PROGRAM, *options], pass_fds=(ours[0], theirs[1]), stderr=subprocess.DEVNULL
    )
    os.close(ours[0])
    os.close(theirs[1])
    try:
        with closing(Browser(ours[1], theirs[0])) as tab:
            yield tab
    finally:
        process.kill()
        process.wait()
