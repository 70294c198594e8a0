"""Read a file that came from elsewhere: a regular file of bounded size, as bytes.

Nothing is read before type and size are known, so that a pipe does not block and a file of many gigabytes takes no
memory. Refuses missing and unreadable files, folders, pipes, devices, and files that are larger than the limit.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RuntimeFailure
from .system_errors import system_error

LARGEST_FILE_BYTES = 2**28  # of one model file, and of one file of a bundle
READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

FOLDER = "a folder"
_KINDS = {
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_file(path: Path, expected: str | None = None) -> None:
    """Raise RuntimeFailure unless ``path`` is a regular file, or a link to one; the message says what it is.

    Libraries that open a path themselves get it only after this, because a pipe would block them.
    """
    with _refused(path, "check the path", expected):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise RuntimeFailure(
            str(path), "not a regular file", expected=expected, got=file_kind(mode), next_step="check the path"
        )


@contextmanager
def _refused(path: Path, next_step: str, expected: str | None = None) -> Iterator[None]:
    """Raise RuntimeFailure for a path that the system does not find, does not open, or does not take as one."""
    try:
        yield
    except FileNotFoundError:
        step = next_step or "check the path"
        raise RuntimeFailure(str(path), "no such file", expected=expected, next_step=step) from None
    except OSError as problem:
        raise system_error(str(path), problem) from problem
    except ValueError as problem:  # the path holds a NUL
        raise RuntimeFailure(str(path), "cannot be read", got=problem, next_step=next_step) from None


def file_kind(mode: int) -> str:
    """What a path of ``st_mode`` is that is no regular file."""
    return _KINDS.get(stat.S_IFMT(mode), "a special file")


def read_model(path: Path) -> bytes:
    """The content of a model file; raises RuntimeFailure for what the module refuses."""
    return read_bounded(path, LARGEST_FILE_BYTES, "check the path")


def read_bounded(path: Path, limit_bytes: int, next_step: str = "", *, follow_links: bool = True) -> bytes:
    """The content of a regular file of at most ``limit_bytes``.

    Args:
        next_step: what the user can do about a refusal.
        follow_links: whether the last part of ``path`` may be a symbolic link.

    Raises:
        RuntimeFailure: see the module's refusals.
    """
    flags = READ_ONLY if follow_links else READ_ONLY | getattr(os, "O_NOFOLLOW", 0)
    with _refused(path, next_step):
        try:
            descriptor = os.open(path, flags)  # a pipe opens at once, because of O_NONBLOCK
        except OSError as problem:
            if problem.errno == errno.ELOOP and not follow_links:
                raise RuntimeFailure(str(path), "is a symbolic link", next_step=next_step) from None
            raise
    try:
        return _content(descriptor, limit_bytes, str(path), next_step)
    except OSError as problem:
        raise system_error(str(path), problem) from problem
    finally:
        os.close(descriptor)


def _content(descriptor: int, limit_bytes: int, where: str, next_step: str) -> bytes:
    status, expected = os.fstat(descriptor), f"at most {limit_bytes:,} bytes"
    if not stat.S_ISREG(status.st_mode):
        raise RuntimeFailure(where, "not a regular file", got=file_kind(status.st_mode), next_step=next_step)
    if status.st_size > limit_bytes:
        raise RuntimeFailure(where, "too large", expected=expected, got=f"{status.st_size:,}", next_step=next_step)
    with open(descriptor, "rb", closefd=False) as file:
        data = file.read(status.st_size + 1)  # Python allocates as much as it is asked for
        if len(data) > status.st_size:  # it grew in the meantime
            data += file.read(limit_bytes + 1 - len(data))
    if len(data) > limit_bytes:
        raise RuntimeFailure(where, "too large", expected=expected, next_step=next_step)
    return data
