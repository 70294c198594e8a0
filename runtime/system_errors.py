"""Errors of the operating system in the user's terms: what went wrong, and what can be done about it.

A full disk, a read-only file system, a missing permission or a limit of the process is no defect of a model file and
none of tinyscene. :func:`system_error` names it; :func:`cause_in_system` finds it below the exceptions that libraries
make of it, and in the messages of child processes such as compilers. Refuses to guess: an error that is not in the
table keeps the system's own words.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeGuard

from .errors import RuntimeFailure, TinysceneError


class Kind(NamedTuple):
    """What is wrong, and the next step."""

    what: str
    next_step: str


_CHECK = "check the path"
_SPACE = "free some space, or use another disk"
KINDS = {
    errno.ENOSPC: Kind("no space left on the disk", _SPACE),
    errno.EDQUOT: Kind("disk quota exceeded", "free some space, or ask for a larger quota"),
    errno.EFBIG: Kind("larger than the limit for files", "raise the limit with ulimit -f"),
    errno.EROFS: Kind("read-only file system", "use another folder"),
    errno.EIO: Kind("input/output error", "check the disk and its cable or network"),
    errno.EACCES: Kind("permission denied", "change its permissions, or use another path"),
    errno.EPERM: Kind("operation not permitted", "change its permissions, or use another path"),
    errno.EMFILE: Kind("too many open files", "raise the limit with ulimit -n"),
    errno.ENFILE: Kind("too many open files on this machine", "close other programs"),
    errno.ENOMEM: Kind("not enough memory", "close other programs"),
    errno.EAGAIN: Kind("no further process or thread allowed", "close other programs, or raise ulimit -u"),
    errno.ENOENT: Kind("no such file or folder", _CHECK),
    errno.ENOTDIR: Kind("a part of the path is not a folder", _CHECK),
    errno.EISDIR: Kind("is a folder, not a file", _CHECK),
    errno.ENXIO: Kind("is a socket or a device, not a file", _CHECK),
    errno.EEXIST: Kind("already exists", "remove it, or use another path"),
    errno.ENAMETOOLONG: Kind("the name is too long", "use a shorter one"),
    errno.ELOOP: Kind("symbolic links lead to one another", _CHECK),
    errno.EBADF: Kind("is closed", "open it, or redirect it to a file"),
}
# Causes outside the content of any file: a failure for one of these reasons is no defect of a model.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
ENVIRONMENT = (*DISK, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_OTHER_WORDS = {errno.EIO: ("I/O error",)}  # of other C libraries, such as that of WebAssembly
_DEEPEST = 20  # exceptions in a chain of causes


def system_error(where: str, problem: OSError) -> RuntimeFailure:
    """The failure for an error of the system at ``where``, usually a path."""
    what, next_step = reason(problem)
    return RuntimeFailure(where, what, next_step=next_step)


def reason(problem: OSError) -> Kind:
    """What is wrong and the next step; in the words of the library if its message differs from the system's."""
    code, words = problem.errno or 0, problem.strerror or str(problem) or type(problem).__name__
    if "temporary directory" in words:  # tempfile's, when no folder is usable
        return Kind(words, "set TMPDIR to a folder with free space")
    return KINDS[code] if code in KINDS and words == os.strerror(code) else Kind(words, "")


@contextmanager
def about(place: str | os.PathLike[str]) -> Iterator[None]:
    """Put the path, or the name of a stream, into an error of the block that has none, such as that of a write."""
    try:
        yield
    except OSError as problem:
        problem.filename = problem.filename or os.fspath(place)
        raise


def cause_in_system(failure: BaseException) -> OSError | None:
    """The error of the system that ``failure`` is or was raised for; None if there is none with a number."""
    for each in _chain(failure):
        if isinstance(each, OSError) and each.errno is not None:
            return each
        if isinstance(each, MemoryError):
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    return None


def corrected(failure: TinysceneError) -> TinysceneError:
    """The failure, or its cause in the system where a reader took that for a damaged file, and advised accordingly."""
    cause = cause_in_system(failure)
    if cause is None or cause.errno not in (*ENVIRONMENT, errno.EACCES) or reason(cause).what in str(failure):
        return failure
    return system_error(failure.where, cause)


def mentioned_in(text: str, code: int = 1) -> OSError | None:
    """The error of the environment that a program mentions, such as ``No space left on device``.

    ``code``: its exit code, negative for a signal; a program that writes beyond the limit for files is ended by one.
    """
    if code == -signal.SIGXFSZ:
        return OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    for number in ENVIRONMENT:
        words = (os.strerror(number), *_OTHER_WORDS.get(number, ()))
        if any(each.lower() in text.lower() for each in words):
            return OSError(number, os.strerror(number))
    return None


def is_of_environment(problem: OSError | None) -> TypeGuard[OSError]:
    """Whether this is an error of the disk or of a limit, and none of the file that was being read."""
    return problem is not None and problem.errno in ENVIRONMENT


def _chain(failure: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = failure
    for _ in range(_DEEPEST):
        if each is None:
            return
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
