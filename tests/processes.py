"""Processes that a test left behind, found by a variable of their environment in Linux's /proc."""

from __future__ import annotations

import time
from pathlib import Path


def processes_with(variable: str) -> list[str]:
    """Process ids and command lines of the running processes that have ``NAME=VALUE`` in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdecimal() and variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"{folder.name}: {words}")
        except OSError:  # it has ended, or is another user's
            continue
    return found


def left_over(variable: str, seconds: float = 5.0) -> list[str]:
    """What :func:`processes_with` still returns after this time; one that watches over others ends a little later."""
    until = time.monotonic() + seconds
    while (found := processes_with(variable)) and time.monotonic() < until:
        time.sleep(0.02)
    return found
