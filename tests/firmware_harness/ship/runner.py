"""The host's end of the serial line: sends commands like the MLPerf Tiny runner and reads responses up to m-ready."""

from __future__ import annotations

import os
import re
import select
import time
import tty
from types import TracebackType

BYTES_IN_A_COMMAND = 31  # bytes per command of the public runner


class Runner:
    """A connection to a serial device; the first command is `name`, to skip output of the boot."""

    def __init__(self, path: str) -> None:
        self._line = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._line)
        os.write(self._line, b"name%")
        self.greeting = self._until(r"m-name-[^\n]*\nm-ready\r\n")

    def command(self, text: str) -> list[str]:
        """Send a command and return the lines of its response, without the last."""
        os.write(self._line, f"{text}%".encode())
        lines = self._until(r"(^|\n)m-ready\r\n")
        assert lines.pop() == "m-ready"
        return lines

    def load(self, data: bytes) -> list[str]:
        self.command(f"db load {len(data)}")
        for at in range(0, len(data), BYTES_IN_A_COMMAND):
            response = self.command(f"db {data[at : at + BYTES_IN_A_COMMAND].hex()}")
        return response

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._line)

    def _until(self, pattern: str) -> list[str]:
        """Lines up to the pattern; every line must end with CR LF."""
        received, deadline = "", time.monotonic() + 60
        while not re.search(f"{pattern}$", received):
            assert time.monotonic() < deadline, f"no response but {received!r}"
            if select.select([self._line], [], [], 1)[0]:
                received += os.read(self._line, 4096).decode("ascii")
        assert received.count("\r\n") == received.count("\n")
        return received.removesuffix("\r\n").split("\r\n")
