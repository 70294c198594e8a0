"""Run a function in a child process and let chosen system calls of it fail; see inject.c for how.

The child is forked, so that packages the caller has imported need not be imported again: a command that takes seconds
to start runs in a fraction of one. Linux only; needs a C compiler once.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NoReturn

SOURCE = Path(__file__).with_name("inject.c")
CHANGES = (
    "open",
    "write",
    "fsync",
    "truncate",
    "chmod",
    "mkdir",
    "unlink",
    "rename",
    "link",
)  # calls that change files
READ = "read"  # opening a file or a folder for reading
LOST_CHILD = 70  # exit code of a child that could not install the filter
TIMEOUT_SECONDS = 300.0


class NotAvailableError(Exception):
    """This kernel, or the sandbox around it, has no filter with a supervisor."""


@dataclass(frozen=True)
class Plan:
    """Which calls count, and which of them fails.

    Attributes:
        beginning: only calls about paths that begin with this text count.
        calls: names of the calls that count.
        first: number of the failing call, from 1; 0 for none.
        error: its errno.
        persistent: all counted calls after it fail too, as on a disk that stays full.
    """

    beginning: str
    calls: Sequence[str] = CHANGES
    first: int = 0
    error: int = errno.ENOSPC
    persistent: bool = False


@dataclass(frozen=True)
class Call:
    """One counted call."""

    name: str
    failed: bool
    path: str


@dataclass(frozen=True)
class Outcome:
    """How the child ended: ``code`` is negative for a signal; ``calls`` are all counted ones in order."""

    code: int
    out: str
    err: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Place:
    """Working folder and environment of the child."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class _PlanRecord(ctypes.Structure):
    _fields_ = (
        ("beginning", ctypes.c_char_p),
        ("calls", ctypes.c_char_p),
        ("first", ctypes.c_long),
        ("error", ctypes.c_int),
        ("persistent", ctypes.c_int),
    )


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """inject.c, compiled once per process."""
    folder = Path(tempfile.mkdtemp(prefix="tinyscene-inject-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = folder / "inject.so"
    flags = ["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-O1", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", str(built), str(SOURCE)], check=True)
    loaded = ctypes.CDLL(str(built), use_errno=True)
    loaded.serve.argtypes = (ctypes.c_int, _PlanRecord, ctypes.c_int)
    loaded.serve.restype = ctypes.c_long
    return loaded


def run(action: Callable[[], int], plan: Plan, place: Place) -> Outcome:
    """Fork, run ``action`` with the plan's failures, and return how it ended; the action returns the exit code.

    Raises:
        NotAvailableError: the filter cannot be installed here.
    """
    loaded = library()
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            _child(action, place, loaded, theirs, (out.fileno(), err.fileno()))
        theirs.close()
        _supervise(loaded, plan, ours, child, log.fileno())
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        texts = [_content(file.fileno()) for file in (out, err, log)]
    if code == LOST_CHILD:
        raise NotAvailableError(texts[1])
    rows = (line.split("\t") for line in texts[2].splitlines())
    calls = tuple(Call(row[1], row[2] == "failed", row[3]) for row in rows if len(row) == 4)
    return Outcome(code, texts[0], texts[1], calls)


def _supervise(loaded: ctypes.CDLL, plan: Plan, ours: socket.socket, child: int, log: int) -> None:
    _, listeners, _, _ = socket.recv_fds(ours, 1, 1)
    ours.close()
    if not listeners:
        return
    record = _PlanRecord(
        os.fsencode(plan.beginning), f" {' '.join(plan.calls)} ".encode(), plan.first, plan.error, plan.persistent
    )
    watchdog = threading.Timer(TIMEOUT_SECONDS, os.killpg, (child, signal.SIGKILL))
    watchdog.start()
    try:
        if loaded.serve(listeners[0], record, log) < 0:
            raise OSError(ctypes.get_errno(), "serving system calls")
    finally:
        watchdog.cancel()
        os.close(listeners[0])


def _child(
    action: Callable[[], int], place: Place, loaded: ctypes.CDLL, theirs: socket.socket, outputs: tuple[int, int]
) -> NoReturn:
    code = LOST_CHILD
    try:
        atexit._clear()
        weakref.finalize._registry.clear()  # type: ignore[attr-defined]  # what the parent removes at its end
        os.setsid()
        os.chdir(place.folder)
        os.environ.update(place.environment)
        tempfile.tempdir = None  # of the parent
        for target, descriptor in enumerate(outputs, 1):
            os.dup2(descriptor, target)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)  # not a test's
        listener = loaded.trap()
        if listener < 0:
            os.write(2, os.strerror(ctypes.get_errno()).encode())
            socket.send_fds(theirs, [b"x"], [])
        else:
            socket.send_fds(theirs, [b"x"], [listener])
            os.close(listener)
            code = action()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        os._exit(code & 0xFF)


def _content(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode(errors="backslashreplace")
