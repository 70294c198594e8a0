"""Signals that end the command: Ctrl-C, SIGTERM and SIGHUP end it with one line and exit code 128 + number.

The first one raises :class:`Stopped` in the main thread, so that blocks end: child processes, temporary folders,
progress bars. Signals in the following second are ignored, since a terminal, a shell and torchrun may each send one. A
later one, or the end of ``PATIENCE_SECONDS``, makes a second thread end the process at once, also while the main thread
waits inside a native library, where no Python handler runs. The process ends in the same way if a library drops the
exception or replaces it by its own, and at once while a module is imported: PyTorch calls Python from C++ there, which
an exception aborts. Children and temporary folders are removed in every case. Signals that were ignored when the
command started, as under nohup, remain so.

Only the command line calls :func:`install`; the library changes no signal handler. Imports little, so that little runs
before the handlers are installed.
"""

from __future__ import annotations

import _thread
import fcntl
import os
import select
import signal
import sys
import time
from types import FrameType

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import NoReturn

MESSAGES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}
PATIENCE_SECONDS = 5.0  # for blocks to end
REPEAT_SECONDS = 1.0  # a signal after that is a new request
_IMPORT_FRAMES = "<frozen importlib._bootstrap>"  # file of the functions that run a module


class Stopped(BaseException):
    """A signal asked the command to end. No Exception, and no KeyboardInterrupt, which libraries handle themselves."""


_received: signal.Signals | None = None
_finished = _ending = False


def install() -> None:
    """Handle the signals from now on; to be called in the main thread."""
    for number in MESSAGES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    reading, writing = _pipe()
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)  # where the number of every handled signal is written
    _thread.start_new_thread(_watch, (reading,))
    os.register_at_fork(after_in_child=_uninstall)
    reported, unraisable = sys.excepthook, sys.unraisablehook

    def excepthook(*problem: object) -> None:
        end_if_stopped()
        reported(*problem)  # type: ignore[arg-type]

    def unraisablehook(problem: object) -> None:
        end_if_stopped()
        unraisable(problem)  # type: ignore[arg-type]

    sys.excepthook, sys.unraisablehook = excepthook, unraisablehook


def _pipe() -> tuple[int, int]:
    """A pipe with descriptors above those of the standard streams, which the caller may have closed."""
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 3) for end in ends)
    for end in ends:
        os.close(end)
    return reading, writing


def finish() -> None:
    """The command is done: end the process if a signal was received; one that follows ends it directly."""
    global _finished
    _finished = True
    end_if_stopped()


def end_if_stopped() -> None:
    """End the process if a signal was received."""
    if _received is not None:
        end(_received)


def end(number: signal.Signals, *, flush: bool = True) -> NoReturn:
    """End the process: remove temporary folders, print what was computed so far (if ``flush``) and one line."""
    global _ending
    if _ending:  # another thread is at it
        time.sleep(PATIENCE_SECONDS)
        os._exit(128 + number)
    _ending = True
    line = f"{MESSAGES[number]}\n".encode()
    for last_act in (_remove_temporaries, sys.stdout.flush if flush else str, lambda: os.write(2, line)):
        try:
            last_act()
        except Exception:  # such as a closed output; the exit code is what remains
            continue
    os._exit(128 + number)


def _remove_temporaries() -> None:
    temporaries = sys.modules.get("tinyscene.runtime.temporaries")
    if temporaries is not None:
        temporaries.remove_all()


def _stop(number: int, frame: FrameType | None) -> None:
    global _received
    if _received is None:
        _received = signal.Signals(number)
        if _finished or _is_importing(frame):
            end(_received)
        raise Stopped(number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != _IMPORT_FRAMES:
        frame = frame.f_back
    return frame is not None


def _watch(pipe: int) -> None:
    """A thread: end the process when the main thread does not, or when a signal is repeated."""
    signal.pthread_sigmask(signal.SIG_BLOCK, MESSAGES)
    number = _next_signal(pipe, None)
    assert number is not None
    first_s = time.monotonic()
    while (left_s := first_s + PATIENCE_SECONDS - time.monotonic()) > 0:
        if _next_signal(pipe, left_s) is not None and time.monotonic() - first_s > REPEAT_SECONDS:
            break
    end(number, flush=False)  # the main thread may hold the lock of standard output


def _next_signal(pipe: int, seconds: float | None) -> signal.Signals | None:
    """The next of our signals, or None after ``seconds``."""
    while select.select([pipe], [], [], seconds)[0]:
        for number in os.read(pipe, 1):
            if number in MESSAGES:
                return signal.Signals(number)
    return None


def _uninstall() -> None:
    """In a fork of the process, which shares the pipe."""
    signal.set_wakeup_fd(-1)
    for number in MESSAGES:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_DFL)
