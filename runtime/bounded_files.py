"""Read a file that came from elsewhere: a regular file of bounded size, as bytes.

Nothing is read before type and size are known, so that a pipe does not block and a file of many gigabytes takes no
memory. Refuses missing and unreadable files, folders, pipes, devices, and files that are larger than the limit.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .errors import RuntimeFailure

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_bounded(path: Path, limit_bytes: int, next_step: str = "", *, follow_links: bool = True) -> bytes:
    """The content of a regular file of at most ``limit_bytes``.

    Args:
        next_step: what the user can do about a refusal.
        follow_links: whether the last part of ``path`` may be a symbolic link.

    Raises:
        RuntimeFailure: see the module's refusals.
    """
    flags = _FLAGS if follow_links else _FLAGS | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)  # a pipe opens at once, because of O_NONBLOCK
    except FileNotFoundError:
        raise RuntimeFailure(str(path), "no such file", next_step=next_step or "check the path") from None
    except (OSError, ValueError) as problem:  # ValueError: the path holds a NUL
        got = getattr(problem, "strerror", None) or str(problem)
        raise RuntimeFailure(str(path), "cannot be read", got=got, next_step=next_step) from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RuntimeFailure(str(path), "not a regular file", next_step=next_step)
        if status.st_size > limit_bytes:
            expected, got = f"at most {limit_bytes:,} bytes", f"{status.st_size:,}"
            raise RuntimeFailure(str(path), "too large", expected=expected, got=got, next_step=next_step)
        try:
            data = file.read(limit_bytes + 1)
        except OSError as problem:
            raise RuntimeFailure(str(path), "cannot be read", got=problem.strerror, next_step=next_step) from None
    if len(data) > limit_bytes:  # it grew in the meantime
        raise RuntimeFailure(str(path), "too large", expected=f"at most {limit_bytes:,} bytes", next_step=next_step)
    return data
