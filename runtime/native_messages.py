"""Drops what C libraries print on standard error while a block runs: libmpg123 prints a line per damaged MP3 frame.

The C library's variable ``stderr`` is replaced, as the manual of glibc allows, and not descriptor 2, so that Python's
threads and child processes keep their standard error. Does nothing with other C libraries, where that variable may be a
constant: there the lines appear.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@contextmanager
def native_messages_dropped() -> Iterator[None]:
    """Drop what C code of this process writes to ``stderr``, in any thread, until the last such block ends."""
    _Silence.enter()
    try:
        yield
    finally:
        _Silence.leave()


class _Silence:
    """The blocks that are open now, and the value of ``stderr`` before the first of them."""

    lock = threading.Lock()
    blocks = 0
    former: int | None = None

    @classmethod
    def enter(cls) -> None:
        with cls.lock:
            streams = _streams()
            if cls.blocks == 0 and streams is not None:
                cls.former, streams[0].value = streams[0].value, streams[1]
            cls.blocks += 1

    @classmethod
    def leave(cls) -> None:
        with cls.lock:
            streams = _streams()
            cls.blocks -= 1
            if cls.blocks == 0 and streams is not None:
                streams[0].value = cls.former


@cache
def _streams() -> tuple[ctypes.c_void_p, int] | None:
    """The variable ``stderr`` of glibc, and a stream to the null device; None if there is no such variable."""
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    null: int | None = library.fopen(os.fsencode(os.devnull), b"we")
    return None if null is None else (ctypes.c_void_p.in_dll(library, "stderr"), null)
