"""The cache folder for data that can be created again: environments, measured instruction counts."""

from __future__ import annotations

import os
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


def environment_folder(requirement: str) -> Path:
    """Folder of the Python environment for a package, such as ``tensorflow==2.21.0``; it need not exist yet."""
    return cache_folder() / requirement.replace("==", "-")


def complete_environments(distribution: str) -> list[Path]:
    """Every complete environment for a package in the cache, whatever its version."""
    return [mark.parent for mark in sorted(cache_folder().glob(f"{distribution}-*/{ENVIRONMENT_COMPLETE}"))]
