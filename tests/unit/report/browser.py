"""A real Chromium, driven by its own protocol over pipes: no driver program, no port, nothing but the browser."""

import base64
import json
import os
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Self

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Seconds: a first start on a busy machine takes the most of them.
PATIENCE = 60.0
# What the protocol answers to a question that a page was asked while another one took its place.
_GONE = (
    "Inspected target navigated or closed",
    "Execution context was destroyed",
    "Cannot find default execution context",
)
_KEYS = {"ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35, "Enter": 13, "Tab": 9, "/": 191}


class PageGoneError(Exception):
    """Another page took the place of the one that was asked."""


class Browser:
    """One tab. Use it as a context."""

    def __init__(self, profile: Path) -> None:
        assert BROWSER is not None
        command_read, self._commands = os.pipe()
        self._answers, answer_write = os.pipe()
        options = (
            *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
            *("--disable-dev-shm-usage", "--remote-debugging-pipe", f"--user-data-dir={profile}"),
            *("--window-size=1280,900", "--hide-scrollbars", "--force-color-profile=srgb", "about:blank"),
        )
        # The browser reads its commands from 3 and answers on 4, whatever the numbers are here.
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec 3<&{command_read} 4>&{answer_write}; exec "$@"', "bash", BROWSER, *options],
            pass_fds=(command_read, answer_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answer_write)
        self._number = 0
        self._session = ""
        self._heard: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.requests: list[str] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Self:
        pages = [found for found in self._ask("Target.getTargets")["targetInfos"] if found["type"] == "page"]
        attached = self._ask("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self._ask(f"{domain}.enable")
        # Ticks of the thread, not of the wall: other work on the machine does not count.
        self._ask("Performance.enable", timeDomain="threadTicks")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
        os.close(self._commands)

    def open(self, page: Path, *, dark: bool = False) -> None:
        """Show a page of ours, and wait until its script has taken over."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", features=features)
        self.requests.clear()
        self._ask("Page.navigate", url=page.as_uri())
        self.until("document.documentElement?.dataset.ready !== undefined")

    def run(self, expression: str) -> Any:
        """What an expression in JavaScript comes to; ``PageGoneError`` where the page went meanwhile."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true, on whatever page is shown by then."""
        deadline = time.monotonic() + PATIENCE
        while not self._is_true(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.02)

    def _is_true(self, expression: str) -> bool:
        try:
            return bool(self.run(expression))
        except PageGoneError:
            return False

    def press(self, key: str) -> None:
        """A key, as a person presses it."""
        text = {"Enter": "\r", "/": "/"}.get(key, "")
        code = {"/": "Slash"}.get(key, key)
        what = {"key": key, "code": code, "windowsVirtualKeyCode": _KEYS[key]} | ({"text": text} if text else {})
        self._ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **what)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **what)

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self._ask("Input.insertText", text=text)

    def resize(self, width: int, height: int) -> None:
        """Another window."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._ask("Emulation.setDeviceMetricsOverride", **metrics)

    def picture(self, path: Path) -> None:
        """What is to be seen now, as PNG."""
        path.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"]))

    def printed(self) -> bytes:
        """The page on paper, as PDF."""
        return base64.b64decode(self._ask("Page.printToPDF", printBackground=True)["data"])

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of everything that a screen reader is told about."""
        nodes = self._ask("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]
        ]

    def worked(self) -> float:
        """Processor seconds of the page's own thread since it was opened, drawing included."""
        metrics = self._ask("Performance.getMetrics")["metrics"]
        return float(next(found["value"] for found in metrics if found["name"] == "TaskDuration"))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        text = json.dumps(asked).encode() + b"\0"
        while text:
            text = text[os.write(self._commands, text) :]
        deadline = time.monotonic() + PATIENCE
        while True:
            heard = self._heard.get(timeout=max(0.01, deadline - time.monotonic()))
            if heard.get("method") == "Network.requestWillBeSent":
                self.requests.append(heard["params"]["request"]["url"])
            if heard.get("id") == self._number:
                if heard.get("error", {}).get("message") in _GONE:
                    raise PageGoneError(method)
                assert "error" not in heard, (method, heard["error"])
                found: dict[str, Any] = heard["result"]
                return found

    def _listen(self) -> None:
        with os.fdopen(self._answers, "rb") as answers:
            rest = b""
            while block := os.read(answers.fileno(), 1 << 20):
                *whole, rest = (rest + block).split(b"\0")
                for text in whole:
                    self._heard.put(json.loads(text))
