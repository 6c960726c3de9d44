"""Headless Chromium over the DevTools protocol: opens a file, and tells what went on in it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websocket import WebSocket, create_connection

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_GUARD = 60.0
_INKED = """
(async (png) => {
  const image = new Image();
  image.src = "data:image/png;base64," + png;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height)
    .getContext("2d", { willReadFrequently: true });
  canvas.drawImage(image, 0, 0);
  return Object.fromEntries([...document.querySelectorAll(".chart")].map((chart) => {
    const box = chart.getBoundingClientRect();
    const { data } = canvas.getImageData(box.x + scrollX, box.y + scrollY, box.width, box.height);
    let inked = 0;
    for (let at = 0; at < data.length; at += 4) {
      inked += [0, 1, 2].some((part) => Math.abs(data[at + part] - data[part]) > 12);
    }
    return [chart.id.replace("chart-", ""), (4 * inked) / data.length];
  }));
})
"""


def find_chromium() -> str | None:
    """The browser of this machine, if it has one."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """One tab. `requests` are all URLs it asked for, `complaints` what it wrote to the console or threw."""

    socket: WebSocket
    session: str = ""
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    number: int = 0
    loaded: bool = False

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while (answer := self._next()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def show(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        """Open a file in a window of this size and scheme, and wait until its charts are drawn."""
        self.requests, self.complaints, self.loaded = [], [], False
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not self.loaded:
            self._next()
        self.ask("window.charts.then(() => document.fonts.ready).then(() => true)")

    def ask(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, what it comes to."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """What is to be seen, as PNG; *whole*: also what lies below the window."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def inked(self) -> dict[str, float]:
        """Of each chart's box, the share of pixels that differ from its ground."""
        png = base64.b64encode(self.picture(whole=True)).decode()
        shares: dict[str, float] = self.ask(f"{_INKED}({png!r})")
        return shares

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv())
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.consoleAPICalled":
                self.complaints.append(str([each.get("value") for each in params["args"]]))
            case "Runtime.exceptionThrown":
                self.complaints.append(str(params["exceptionDetails"]))
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Page.loadEventFired":
                self.loaded = True
        return message


@contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Page]:
    """Start the browser with a fresh profile, and give a tab of it."""
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            with closing(
                create_connection(_address(process), timeout=_GUARD, suppress_origin=True)
            ) as socket:
                yield _tab(Page(socket))
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if "DevTools listening on" in line:
            return line.split()[-1]
    raise AssertionError("Chromium ended before it listened")


def _tab(page: Page) -> Page:
    target = page.call("Target.createTarget", url="about:blank")["targetId"]
    page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Network", "Runtime", "Log"):
        page.call(f"{domain}.enable")
    return page
