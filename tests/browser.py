"""Headless Chromium for tests, driven through the DevTools protocol over a pipe: no port, no further package.

Exceptions of a page's scripts, and requests that leave it, are collected. As root Chromium runs without its sandbox:
the pages are made by the tests.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OPTIONS = ("--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars")
LOCAL = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:")
PIPES, FIRST_FREE = (3, 4), 10  # the descriptors that Chromium reads and writes, and one above them
SECONDS = 60.0


class Page:
    """One page. ``problems``: exceptions and console errors; ``requests``: URLs that it asked for."""

    def __init__(self, command: int, answers: int) -> None:
        self._command, self._answers, self._pending = command, answers, b""
        self._number, self._session = 0, ""
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method and return its result; events that arrive before are noted."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._command, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self._note(answer)

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise; an exception fails the test."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = SECONDS) -> None:
        end = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < end, f"waited {seconds} s for {expression}; problems: {self.problems}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def give_file(self, selector: str, path: Path) -> None:
        """Choose a file in a file input, as a user does."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def size(self, width: int, height: int) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _, _ = select.select([self._answers], [], [], SECONDS)
            assert ready, f"Chromium did not answer within {SECONDS} s"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "Chromium ended"
            self._pending += piece
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, values = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        if method == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.problems.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
        if method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])


@contextmanager
def chromium(folder: Path, options: Sequence[str] = ()) -> Iterator[Page]:
    """A browser with one page, its profile in ``folder``; ``options`` are further ones of the command line."""
    to_read, command = os.pipe()
    answers, to_write = os.pipe()
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    words = ["chromium", *OPTIONS, *sandbox, "--remote-debugging-pipe", f"--user-data-dir={folder / 'profile'}"]
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, FIRST_FREE) for end in (to_read, to_write)]
    with subprocess.Popen(
        [*words, *options],
        pass_fds=PIPES,
        preexec_fn=lambda: [os.dup2(end, pipe) for end, pipe in zip(ends, PIPES, strict=True)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        for end in (to_read, to_write, *ends):
            os.close(end)
        try:
            page = Page(command, answers)
            yield page
            assert not page.problems, page.problems
            assert all(url.startswith(LOCAL) for url in page.requests), page.requests
        finally:
            os.close(command)
            os.close(answers)
            os.killpg(process.pid, 9)
