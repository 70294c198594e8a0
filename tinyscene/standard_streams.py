"""The three standard streams of the command, usable whatever the caller did to them.

A closed descriptor would be given to the next file that is opened, and messages of native libraries would be written
into it. Closed ones are therefore opened on the null device: standard input and output with the wrong direction, so
that using them is an error of that stream, as GNU programs do; standard error writable, because a missing reader of
notes must not end the work. Characters that the encoding of the terminal lacks are written as escapes.
"""

from __future__ import annotations

import io
import os
import sys

_DIRECTIONS = (os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)  # of the null device, for descriptors 0, 1 and 2


def prepare() -> None:
    """Open closed standard streams, and let those for output escape what their encoding lacks."""
    for descriptor, direction in enumerate(_DIRECTIONS):
        try:
            os.fstat(descriptor)
        except OSError:
            _replace(descriptor, direction)
    # Python sets a stream to None whose descriptor is closed when it starts.
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def discard_pending() -> None:
    """Make the interpreter's last flush succeed; it would print a traceback, and exit with another code."""
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            _replace(descriptor, os.O_WRONLY)


def _replace(descriptor: int, direction: int) -> None:
    nothing = os.open(os.devnull, direction)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)
