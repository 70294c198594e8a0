"""Signals that end the command: Ctrl-C, SIGTERM and SIGHUP end it with one line and exit code 128 + number.

The first one raises :class:`Stopped` in the main thread, so that blocks end: child processes, temporary folders,
progress bars. Signals in the following second are ignored, since a terminal, a shell and torchrun may each send one; a
later one ends the process at once, as does the end of ``PATIENCE_SECONDS``, or a library that drops the exception or
replaces it by its own. Children and temporary folders are removed in every case. Signals that were ignored when the
command started, as under nohup, remain so.

Only the command line calls :func:`install`; the library changes no signal handler. Imports what the interpreter has
loaded already, so that as little as possible runs before.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, without importing typing
if TYPE_CHECKING:
    from typing import NoReturn

MESSAGES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "terminated"}
PATIENCE_SECONDS = 5  # for blocks to end
REPEAT_SECONDS = 1.0  # a signal after that is a new request


class Stopped(BaseException):
    """A signal asked the command to end. No Exception, and no KeyboardInterrupt, which libraries handle themselves."""


_received: signal.Signals | None = None
_received_s = 0.0
_finished = _ending = False


def install() -> None:
    """Handle the signals from now on; to be called in the main thread."""
    for number in MESSAGES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    signal.signal(signal.SIGALRM, lambda *_: end())
    reported, unraisable = sys.excepthook, sys.unraisablehook

    def excepthook(*problem: object) -> None:
        end_if_stopped()
        reported(*problem)  # type: ignore[arg-type]

    def unraisablehook(problem: object) -> None:
        end_if_stopped()
        unraisable(problem)  # type: ignore[arg-type]

    sys.excepthook, sys.unraisablehook = excepthook, unraisablehook


def finish() -> None:
    """The command is done: end the process if a signal was received; one that follows ends it directly."""
    global _finished
    _finished = True
    end_if_stopped()


def end_if_stopped() -> None:
    """End the process if a signal was received."""
    if _received is not None:
        end()


def end() -> NoReturn:
    """End the process: remove temporary folders, print what was computed so far and one line."""
    global _ending
    assert _received is not None
    code = 128 + _received
    if _ending:
        os._exit(code)
    _ending = True
    signal.alarm(PATIENCE_SECONDS)
    line = f"{MESSAGES[_received]}\n".encode()
    for last_act in (_remove_temporaries, lambda: sys.stdout.flush(), lambda: os.write(2, line)):
        try:
            last_act()
        except Exception:  # such as a closed output; the exit code is what remains
            continue
    os._exit(code)


def _remove_temporaries() -> None:
    temporaries = sys.modules.get("tinyscene.runtime.temporaries")
    if temporaries is not None:
        temporaries.remove_all()


def _stop(number: int, _frame: FrameType | None) -> None:
    global _received, _received_s
    if _received is not None:
        if time.monotonic() - _received_s > REPEAT_SECONDS:
            end()
        return
    _received, _received_s = signal.Signals(number), time.monotonic()
    if _finished:
        end()
    signal.alarm(PATIENCE_SECONDS)
    raise Stopped(number)
