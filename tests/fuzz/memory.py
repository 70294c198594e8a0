"""The memory that a call needs each time, apart from what is allocated once: imports, arenas, the stacks of threads.

Measured in a forked process, whose peak begins at its size, so that earlier peaks and other threads do not count.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

LONGEST_S = 60  # of wall clock for both calls


@dataclass(frozen=True)
class AddressSpace:
    """Peak and current size of this process in bytes, and its number of threads."""

    peak: int
    size: int
    threads: int

    @staticmethod
    def now(status: int) -> AddressSpace:
        """Read from ``/proc/self/status``, opened as the descriptor ``status``."""
        words = os.pread(status, 4096, 0).split()
        peak, size, threads = (int(words[words.index(name) + 1]) for name in (b"VmPeak:", b"VmSize:", b"Threads:"))
        return AddressSpace(1024 * peak, 1024 * size, threads)


def growth_bytes(call: Callable[[], object]) -> int | None:
    """By how much the second call in a process of its own enlarges it; None if the process does not end in order."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        _end_after(LONGEST_S)
        _quietly(call)
        again = os.fork()
        if again == 0:
            _end_after(LONGEST_S)
            _measure(call, write_end)
        os.waitpid(again, 0)
        os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end, "rb") as answer:
        text = answer.read()
    return int(text) if text else None


def _measure(call: Callable[[], object], answer: int) -> NoReturn:
    status = os.open("/proc/self/status", os.O_RDONLY)  # a descriptor of the parent has the parent's
    before = AddressSpace.now(status)
    _quietly(call)
    os.write(answer, str(AddressSpace.now(status).peak - before.size).encode())
    os._exit(0)


def _end_after(seconds: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # libFuzzer has a handler
    signal.alarm(seconds)


def _quietly(call: Callable[[], object]) -> None:
    with suppress(BaseException):  # how it ends is known from the call that led here
        call()
