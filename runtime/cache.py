"""The cache folder for data that can be created again: environments, measured instruction counts."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import RuntimeFailure

ENVIRONMENT_COMPLETE = "complete"  # a file in the folder of an environment whose installation finished


def cache_folder() -> Path:
    """$TINYSCENE_CACHE, or ``tinyscene`` in the user's cache; it need not exist yet.

    Raises RuntimeFailure where neither is known.
    """
    folder, caches = os.environ.get("TINYSCENE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    if folder:
        return Path(folder)
    try:
        return (Path(caches) if caches else Path.home() / ".cache") / "tinyscene"
    except RuntimeError:  # HOME is not set, and the user has no entry in the list of users
        raise RuntimeFailure("cache", "no home folder", next_step="set TINYSCENE_CACHE to a folder") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Admit one thread of one process at a time to the block; the lock is the file ``path`` and ends with its process.

    Raises:
        OSError: the file cannot be opened.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def lock_of(folder: Path) -> Path:
    """The file that is locked while a folder of the cache is created; the folder around it exists afterwards."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder.with_name(f"{folder.name}.lock")


def environment_folder(requirement: str) -> Path:
    """Folder of the Python environment for a package, such as ``tensorflow==2.21.0``; it need not exist yet."""
    return cache_folder() / requirement.replace("==", "-")


def complete_environments(distribution: str) -> list[Path]:
    """Every complete environment for a package in the cache, whatever its version."""
    return [mark.parent for mark in sorted(cache_folder().glob(f"{distribution}-*/{ENVIRONMENT_COMPLETE}"))]
