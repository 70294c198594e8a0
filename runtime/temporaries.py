"""Temporary folders: removed with their block, or swept later when their process was killed.

Each is named ``NAME.tinyscene-PID-RANDOM.part`` and locked (flock) by its process. The kernel drops the lock when that
process ends, however it ends, so a reused process id, a reboot or another container is never taken for the owner.
When a process makes its first temporary folder in a place, it removes those without an owner there; if one holds the
former content of a folder that was being replaced (:mod:`.files`), that content first returns to its name.

Symbolic links, folders of other users and other names are never touched. Where the file system cannot lock folders
(NFS), nothing is swept.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path

from .errors import RuntimeFailure
from .system_errors import reason

FORMER = ".former"  # ending of the content that is being replaced
SWEPT_ENTRIES = 20_000  # of a folder; those behind are not examined
_NAME = re.compile(r"(?P<name>.+)\.tinyscene-\d+-[0-9a-f]{8}\.part", re.DOTALL)
_own: dict[Path, int | None] = {}  # temporary folders of this process, and the descriptors that hold their locks
_swept: set[Path] = set()


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """An empty folder in the system's place for temporary files, removed when the block ends.

    Raises:
        RuntimeFailure: no folder can be made there.
    """
    folder = _made_in_system_folder(name)
    try:
        yield folder
    finally:
        _remove(folder)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """An empty folder in the folder of ``path``, which must exist; removed when the block ends.

    Raises:
        OSError: it cannot be made.
    """
    folder = _made(path)
    try:
        yield folder
    finally:
        _remove(folder)


@lru_cache(maxsize=8)
def process_folder(name: str) -> Path:
    """A temporary folder that is removed when this process ends.

    Raises:
        RuntimeFailure: no folder can be made there.
    """
    return _made_in_system_folder(name)


def remove_all() -> None:
    """Remove the temporary folders of this process that still exist."""
    for folder in list(_own):
        _remove(folder)


def sweep(parent: Path) -> None:
    """Remove the temporary folders in ``parent`` whose process has ended."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in islice(entries, SWEPT_ENTRIES):
            if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(BlockingIOError):  # its process is alive
                    _sweep_one(Path(entry.path))


def _sweep_one(folder: Path) -> None:
    lock = _lock(folder)
    if lock is None:
        return
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            _return_former(folder)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _return_former(folder: Path) -> None:
    """Give a folder that was being replaced its name back, if it has none."""
    found = _NAME.fullmatch(folder.name)
    assert found is not None
    place = folder.with_name(found["name"])
    with suppress(OSError):
        if not place.exists():
            os.rename(folder / (place.name + FORMER), place)


def _made_in_system_folder(name: str) -> Path:
    parent = "temporary folder"
    try:
        parent = tempfile.gettempdir()
        return _made(Path(parent) / name)
    except OSError as problem:
        step = "free some space, or set TMPDIR to another folder"
        raise RuntimeFailure(parent, "cannot be written", got=reason(problem).what, next_step=step) from None


def _made(path: Path) -> Path:
    """Make and lock a folder beside ``path``."""
    if path.parent not in _swept:
        _swept.add(path.parent)
        sweep(path.parent)
    while True:
        folder = path.with_name(f"{path.name}.tinyscene-{os.getpid()}-{os.urandom(4).hex()}.part")
        _own[folder] = None  # before it exists, so that a signal at any moment leaves nothing
        try:
            folder.mkdir(mode=0o700)
        except OSError:
            del _own[folder]
            raise
        with suppress(BlockingIOError):
            _own[folder] = _lock(folder)
            if folder.exists():
                return folder
        _remove(folder)  # another process swept it before it was locked


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the lock of a folder; None where folders cannot be locked.

    Raises:
        BlockingIOError: another process holds the lock.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(descriptor)
        if isinstance(problem, BlockingIOError):
            raise
        return None
    return descriptor


def _remove(folder: Path) -> None:
    _return_former(folder)
    shutil.rmtree(folder, ignore_errors=True)
    descriptor = _own.pop(folder, None)
    if descriptor is not None:
        os.close(descriptor)


atexit.register(remove_all)
os.register_at_fork(after_in_child=_own.clear)
