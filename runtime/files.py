"""Files and folders that appear under their name complete or not at all.

Each is written to a temporary folder beside it (:mod:`.temporaries`) and renamed at the end, so that a reader never
finds an incomplete one, also after an interrupt or on a full disk. An existing folder is replaced by exchanging the two
names in one system call (``renameat2`` with ``RENAME_EXCHANGE``: Linux with ext4, XFS, Btrfs, tmpfs and others): the
name is never missing. Where the kernel, the C library or the file system has no exchange (NFS, FAT, macOS), two renames
follow each other and the name is missing between them for some microseconds; if the second one fails, the first is
undone, and if the process is killed between them, the next one that writes to the same folder undoes it.
Data are not flushed to the disk: a power failure may lose what was written last.
A link to a file stays: the file at its end is replaced.
Refuses to create a folder that exists, to replace one with files that do not belong to it, and to put a file in the
place of a device, a pipe, a socket or a folder: a rename by root would remove ``/dev/null`` from the machine.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import RuntimeFailure, TinysceneError
from .system_errors import DISK, cause_in_system, reason
from .temporaries import FORMER, temporary_beside

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)  # EPERM: a sandbox refuses the call


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield the path to write to; it is renamed to ``path`` when the block ends, replacing an existing file.

    If the block raises, ``path`` stays as it was. Missing parent folders are created.

    Raises:
        RuntimeFailure: the file cannot be written; other errors of the block pass through.
    """
    place = place_of_file(path)
    with _temporary(place) as temporary:
        yield temporary
        os.replace(temporary, place)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it is renamed to ``path`` when the block ends.

    If the block raises, nothing is left. Missing parent folders are created.

    Raises:
        RuntimeFailure: ``path`` exists or cannot be written; other errors of the block pass through.
    """
    if os.path.lexists(path):
        raise RuntimeFailure(str(path), "already exists", next_step="remove it or give another folder")
    with _temporary(path) as temporary:
        temporary.mkdir()
        yield temporary
        os.rename(temporary, path)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes the place of ``path`` when the block ends.

    A folder that exists is replaced as a whole and then removed; see the module for how. Where ``path`` is a link to a
    folder, the folder is replaced and the link stays. If the block raises, ``path`` stays as it was.

    Raises:
        RuntimeFailure: ``path`` is a file or cannot be written; other errors of the block pass through.
    """
    place = path.resolve()
    if place.exists() and not place.is_dir():
        raise RuntimeFailure(str(path), "exists and is not a folder", next_step="give another path")
    with _temporary(place) as temporary:
        temporary.mkdir()
        yield temporary
        if place.exists():
            _replace(temporary, place)
        else:
            os.rename(temporary, place)


def require_own_files(folder: Path, own: Collection[str], expected: str) -> None:
    """Refuse to replace ``folder`` if it has other files than ``own``, or if its parent folder is missing.

    Args:
        own: names of the files that may be replaced, relative to ``folder``, with ``/`` between folders.
        expected: what the folder may be, for the message.

    Raises:
        RuntimeFailure: ``folder`` is a file, holds another file, or has no parent folder.
    """
    other = None if folder.is_dir() or not folder.exists() else folder.name
    if folder.is_dir():
        names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir())
        other = next((name for name in names if name not in own), None)
    if other is not None:
        raise RuntimeFailure(
            str(folder),
            "exists and has other files",
            expected=expected,
            got=other,
            next_step="choose another folder with --out",
        )
    if not folder.absolute().parent.is_dir():
        raise RuntimeFailure(
            str(folder), "its parent folder does not exist", next_step="make it, or choose another --out"
        )


def require_other_file(out: Path | None, *inputs: Path | None) -> None:
    """Refuse to write to what is read, under any name: links are followed, hard links compared.

    Args:
        out: the file or folder to write, if any.
        inputs: files, or folders of which every file is an input, if any.

    Raises:
        RuntimeFailure: ``out`` is one of the inputs.
    """
    if out is None or not out.exists():
        return
    for path in inputs:
        if path is None or not path.exists():
            continue
        inside = path.is_dir() and out.is_file() and out.resolve().is_relative_to(path.resolve())
        if inside or os.path.samefile(out, path):
            raise RuntimeFailure(str(out), "is an input of this command", got=str(path), next_step="give another path")


def require_different_files(*outs: Path | None) -> None:
    """Refuse one file for two results, of which the second would replace the first; raises RuntimeFailure."""
    places = [os.path.realpath(out) for out in outs if out is not None]
    for place in places:
        if places.count(place) > 1:
            raise RuntimeFailure(place, "is given for two results", next_step="give each a file of its own")


def place_of_file(path: Path, begins: bytes = b"") -> Path:
    """Where a file named ``path`` is written: the end of a link, where nothing but a regular file is replaced.

    Args:
        begins: what a file that is replaced begins with, as ``{`` for JSON; if empty, any file is. It protects a
            checkpoint whose name was given for that of a report. An empty file is always replaced.

    Raises:
        RuntimeFailure: another kind of file is there, or links lead to one another.
    """
    place = path
    try:
        place = Path(os.path.realpath(path)) if path.is_symlink() else path
        mode = place.stat().st_mode
    except OSError as problem:
        if problem.errno == errno.ELOOP:
            raise _cannot_be_written(path, problem) from None
        return place  # missing, or nothing can be written there, which the writer finds
    if stat.S_ISDIR(mode):
        raise _cannot_be_written(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    step = "give another path"
    if not stat.S_ISREG(mode):
        what = "it is a device, a pipe or a socket, not a file"
        raise RuntimeFailure(str(path), "cannot be written", got=what, next_step=step)
    if begins and not _begins(place, begins):
        expected = f"a file that begins with {begins.decode()}"
        raise RuntimeFailure(str(path), "exists and is no such report", expected=expected, next_step=step)
    return place


def _begins(place: Path, begins: bytes) -> bool:
    try:
        with place.open("rb") as file:
            head = file.read(len(begins))
    except OSError:
        return True  # unreadable: whether it can be replaced is for the writer to find
    return head in (b"", begins)


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file; raises RuntimeFailure when it cannot be written."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, record: Mapping[str, object]) -> None:
    """Write a whole JSON file; raises RuntimeFailure when it cannot be written."""
    write_file(path, (json.dumps(record, indent=1) + "\n").encode())


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A path in a temporary folder beside ``path``; whatever is there afterwards is removed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _cannot_be_written(path, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from None
    except OSError as problem:
        raise _cannot_be_written(path, problem) from None
    folder: Path | None = None
    try:
        with temporary_beside(path) as folder:
            yield folder / path.name
    except TinysceneError:
        raise
    except Exception as failure:  # libraries make their own exceptions of a failed write
        cause = cause_in_system(failure)
        if cause is not None and (folder is None or _is_of_writing(cause, folder)):
            raise _cannot_be_written(path, cause) from failure
        raise


def _is_of_writing(problem: OSError, folder: Path) -> bool:
    """Whether the error is about the temporary folder; an error without a path is, if the disk fails."""
    if isinstance(problem.filename, str | os.PathLike):
        return Path(problem.filename).is_relative_to(folder)
    return problem.errno in DISK


def _cannot_be_written(path: Path, problem: OSError) -> RuntimeFailure:
    what, next_step = reason(problem)
    return RuntimeFailure(str(path), "cannot be written", got=what, next_step=next_step)


def _replace(temporary: Path, place: Path) -> None:
    """Put ``temporary`` under the name of the existing folder ``place``; the former one goes to the temporary folder,
    whose removal gives it its name back if the second rename fails."""
    if not _exchanged(temporary, place):
        os.rename(place, temporary.with_name(place.name + FORMER))
        os.rename(temporary, place)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two names in one step; False, with nothing changed, where that is not available."""
    renameat2: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
